//! What can go wrong with a sandbox. Never the job's own failure: that is an [`crate::Exit`].

use images::ImageError;
use std::path::PathBuf;

/// The machinery failed, or refused.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The image could not be had.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The job asks for what a sandbox can't or may not give.
    #[error("{0}")]
    Refused(String),
    /// A part of the host that is needed is missing or does not do.
    #[error("{0}")]
    Host(String),
    /// An operation failed.
    #[error("failed to {what}")]
    Io {
        /// What was tried, in the infinitive.
        what: String,
        /// How it failed.
        #[source]
        source: std::io::Error,
    },
    /// The disk of this host, on which all jobs' disks lie, has no room left.
    #[error("the disk of this host is full: {free} bytes are free at {}", path.display())]
    HostDiskFull {
        /// The state directory, which lies on it.
        path: PathBuf,
        /// What is free, in bytes.
        free: u64,
    },
    /// The disk of this host, on which all jobs' disks lie, has room, and holds as many files as it can.
    #[error("the disk of this host is full: it holds {used} files and can hold {limit}, at {}", path.display())]
    HostInodesFull {
        /// The state directory, which lies on it.
        path: PathBuf,
        /// How many it can hold.
        limit: u64,
        /// How many it holds.
        used: u64,
    },
    /// The OCI runtime could not start the container.
    #[error("{runtime} could not start the container: {detail}")]
    Start {
        /// The runtime's name.
        runtime: String,
        /// What it said.
        detail: String,
    },
}

impl RuntimeError {
    /// Gives an I/O error its context.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
