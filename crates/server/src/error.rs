//! Why a server does not start.

use crate::listener::TlsError;
use crate::scaling::ScalingError;
use crate::secret_keys::SecretKeysError;
use crate::site_config::SiteConfigError;
use std::net::SocketAddr;
use std::path::PathBuf;
use store::StoreError;

/// The server could not be started, or broke.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A file or directory of ours can't be used.
    #[error("can't use {path}; name a directory that can be written to with --data-dir")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The API token's file holds no token.
    #[error(
        "{path} holds no API token of at least 20 characters: delete the file, and the next start writes a \
             new one"
    )]
    ApiToken {
        /// The file.
        path: PathBuf,
    },
    /// The site configuration can't be used.
    #[error(transparent)]
    SiteConfig(#[from] SiteConfigError),
    /// The keys for secrets can't be used.
    #[error(transparent)]
    SecretKeys(#[from] SecretKeysError),
    /// A bucket is configured, and nobody said who we are there.
    #[error(
        "the site configuration names an object store, but not who we are there: put ACCESS_KEY_ID:SECRET_ACCESS_KEY into \
         EXECUTOR_SERVER_S3_CREDENTIALS, or into a file that --s3-credentials-file names"
    )]
    NoS3Credentials,
    /// The store can't be opened.
    #[error(transparent)]
    Store(StoreError),
    /// The database's address can't be read.
    #[error(transparent)]
    DatabaseUrl(StoreError),
    /// Connections can't be made safe.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Clouds can't be told how long the queues are.
    #[error(transparent)]
    Scaling(#[from] ScalingError),
    /// The uploaded files can't be looked through.
    #[error("can't use the uploaded files in the data directory: {0}")]
    Files(String),
    /// There is no usable git.
    #[error("git can't be run: {0}. Install git 2.30 or newer and make sure that it is on the PATH")]
    Git(String),
    /// The address is taken, or not ours.
    #[error("can't listen on {addr}; choose another address or port with --listen")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A part of the server panicked.
    #[error("the server broke: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

impl From<StoreError> for ServerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DatabaseUrl => Self::DatabaseUrl(error),
            _ => Self::Store(error),
        }
    }
}
