//! What can be wrong with certificates that somebody named.

use std::io;
use std::path::PathBuf;

/// A file or directories that somebody named are of no use. What is wrong with the system's own
/// places is nobody's wish and only logged.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file can't be read.
    #[error("the certificate file {path} can't be read: {source}; correct the path, or take it away")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file has nothing that we could believe.
    #[error(
        "the certificate file {path} holds no usable certificate: it must have PEM blocks, BEGIN CERTIFICATE"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is no list of certificates.
    #[error("the certificate file {path} is larger than {limit} bytes: name one of certificates in PEM")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// Not one of the directories can be listed.
    #[error("of the certificate directories {paths} none can be read; correct the paths, or take them away")]
    NoDirectory {
        /// The directories, separated by colons.
        paths: String,
    },
}
