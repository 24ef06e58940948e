//! Why an upload is not taken.

use crate::disk_floor::BelowFloor;
use crate::intake::IntakeFault;
use crate::share::Full;
use http::StatusCode;
use store::{ObjectsFault, StoreError};

/// A call about an upload was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadFault {
    /// The query does not say what to do.
    #[error("{0}")]
    Query(String),
    /// The header is no number.
    #[error("X-Uncompressed-Size is {0:?}, and no whole number of bytes")]
    UncompressedSize(String),
    /// There is no such repository.
    #[error("unknown repository {0:?}")]
    UnknownRepository(String),
    /// A job's token is good for that job's index alone.
    #[error("this token is that of job {job}, whose {what} is {own:?}, not {asked:?}")]
    NotTheJobs {
        /// The job.
        job: i64,
        /// In what they differ.
        what: &'static str,
        /// The job's.
        own: String,
        /// What was asked for.
        asked: String,
    },
    /// There is no such upload, or it is complete.
    #[error("upload not found: there is none with the id {0} that parts can be added to")]
    Unknown(i64),
    /// What stands for an upload's id can't be one.
    #[error(
        "upload not found: uploadId is {0:?}, but must be the whole number that was answered when the upload began"
    )]
    NoId(String),
    /// Parts are missing.
    #[error("the upload has {there} of its {parts} parts: send the others first")]
    Missing {
        /// How many are there.
        there: u64,
        /// How many there should be.
        parts: u64,
    },
    /// It is compressed in no way that we know.
    #[error("the index is not compressed with gzip, or damaged")]
    NotGzip,
    /// It would fill a disk.
    #[error("the index has more than {limit} bytes when it is unpacked, which is the limit")]
    UnpacksTooLarge {
        /// Bytes that it may have.
        limit: u64,
    },
    /// There are too many.
    #[error(transparent)]
    Full(#[from] Full),
    /// Too little of our disk is free.
    #[error(transparent)]
    BelowFloor(#[from] BelowFloor),
    /// Too many come at once.
    #[error("too many indexes are being uploaded: try again")]
    Busy,
    /// The body was not taken.
    #[error(transparent)]
    Intake(#[from] IntakeFault),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UploadFault {
    pub(super) fn query(told: impl Into<String>) -> Self {
        Self::Query(told.into())
    }

    /// What it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Query(_) | Self::Missing { .. } | Self::NotGzip | Self::Intake(IntakeFault::Broken) => {
                StatusCode::BAD_REQUEST
            }
            Self::NotTheJobs { .. } | Self::Store(StoreError::TooManyUploads { .. }) => StatusCode::FORBIDDEN,
            Self::UncompressedSize(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::UnknownRepository(_) | Self::Unknown(_) | Self::NoId(_) => StatusCode::NOT_FOUND,
            Self::UnpacksTooLarge { .. } | Self::Intake(IntakeFault::TooLarge { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Full(_) | Self::BelowFloor(_) | Self::Intake(IntakeFault::BelowFloor(_)) => {
                StatusCode::INSUFFICIENT_STORAGE
            }
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Intake(IntakeFault::TooSlow { .. }) => StatusCode::REQUEST_TIMEOUT,
            Self::Intake(IntakeFault::Store(fault)) | Self::Store(fault) => of_store(fault),
        }
    }
}

/// The status for a fault of the store.
pub(crate) fn of_store(fault: &StoreError) -> StatusCode {
    match fault {
        StoreError::Objects(ObjectsFault::Full { .. })
        | StoreError::TooMany { .. }
        | StoreError::TooManyOf { .. }
        | StoreError::TooManyShared { .. } => StatusCode::INSUFFICIENT_STORAGE,
        StoreError::Objects(ObjectsFault::Failed { .. }) => StatusCode::SERVICE_UNAVAILABLE,
        fault if fault.passes() => StatusCode::SERVICE_UNAVAILABLE,
        StoreError::UnknownUpload(_) => StatusCode::NOT_FOUND,
        StoreError::PartsChanged(_) => StatusCode::CONFLICT,
        StoreError::NoSuchPart { .. } | StoreError::MissingPart { .. } => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
