//! Indexes that jobs upload.

use jiff::Timestamp;
use jobs::{JobId, Namespace};

/// An index that begins to be uploaded. Names and sizes have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUpload {
    /// Whose it is: its repository's.
    pub namespace: Namespace,
    /// Its repository's name.
    pub repository: String,
    /// The commit that was indexed.
    pub commit: String,
    /// The directory that was indexed; empty for all of the repository.
    pub root: String,
    /// What made it; may be empty.
    pub indexer_name: String,
    /// That one's version; may be empty.
    pub indexer_version: String,
    /// The job that it says it came of, if it does.
    pub associated_index_id: Option<i64>,
    /// The job by whose token it comes; none where an executor's secret was shown.
    pub by_job: Option<JobId>,
    /// What it is.
    pub content_type: String,
    /// Bytes when unpacked, as it was told.
    pub uncompressed_size: Option<u64>,
    /// In how many parts it comes.
    pub parts: u32,
}

/// An object that was made and is to be named by a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewObject {
    /// Its key, of [`crate::Results::new_object`].
    pub key: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of them: 64 hexadecimal digits.
    pub sha256: String,
}

/// An index that was uploaded, or is being.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    /// Its id.
    pub id: i64,
    /// What was told of it.
    pub of: NewUpload,
    /// Bytes of the parts that are there.
    pub size: u64,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it was complete; `None`: parts may still come.
    pub finished_at: Option<Timestamp>,
}

/// A part of an index that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPartRow {
    /// Its number, from 0.
    pub part: u32,
    /// Where its content is.
    pub object: NewObject,
}

/// Which uploads to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct UploadFilter {
    /// Only of this namespace.
    pub namespace: Option<Namespace>,
    /// Only of this repository.
    pub repository: Option<String>,
    /// Only those that say that they came of this job.
    pub job: Option<JobId>,
    /// Only with a smaller id: the cursor of the next page.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: u32,
}
