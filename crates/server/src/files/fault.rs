//! Why an upload is not taken.

use crate::disk_floor::BelowFloor;
use crate::share::Full;
use std::io;
use std::time::Duration;
use store::{FILE_CHARGE, ObjectsFault, StoreError};

/// A file was not received, kept or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileFault {
    /// It is too large.
    #[error("the file is larger than {limit} bytes, which is the limit for one file")]
    TooLarge {
        /// Bytes that one file may have.
        limit: u64,
    },
    /// It comes too slowly, or not at all.
    #[error(
        "the file did not arrive in time: some of it every {} seconds, after that {rate} bytes a second, all of it \
             within {} seconds",
        .idle.as_secs(),
        .whole.as_secs()
    )]
    TooSlow {
        /// How long nothing may come.
        idle: Duration,
        /// Bytes a second that must have come on average once that time is over.
        rate: u64,
        /// How long all of it may take.
        whole: Duration,
    },
    /// The connection broke, or what came is no proper body.
    #[error("the file could not be read to its end")]
    Broken,
    /// Too many come at once.
    #[error("too many files are being uploaded: try again")]
    Busy,
    /// There are too many already, or will be when those that are arriving are there.
    #[error("{0}; each counts for {FILE_CHARGE} bytes at least")]
    Full(#[from] Full),
    /// Too little of our disk is free.
    #[error(transparent)]
    BelowFloor(#[from] BelowFloor),
    /// Our disk failed.
    #[error("the server's disk failed: {0}")]
    Io(#[from] io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ObjectsFault> for FileFault {
    fn from(fault: ObjectsFault) -> Self {
        Self::Store(fault.into())
    }
}
