//! Files: those that jobs are given, and those that they leave.

use jiff::Timestamp;
use jobs::Namespace;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file that was uploaded: the answer to `POST /api/v1/files?name=&modifiedAt=`, whose body is the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileView {
    /// What a job names it by, in `files[].upload`.
    pub id: String,
    /// What it was called where it came from.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
    /// When it was last changed: `modifiedAt` of the upload, or else when it was uploaded.
    pub modified_at: Timestamp,
}

/// A file that a job left, in `GET /api/v1/jobs/{id}/artifacts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactView {
    /// Which try left it.
    pub attempt: u32,
    /// Of which artifact of the job it is.
    pub name: String,
    /// Where it was, below the workspace.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of them, in hexadecimal digits.
    pub sha256: String,
    /// When it came.
    pub created_at: Timestamp,
}

/// An index that a job uploaded, in `GET /api/v1/uploads`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UploadView {
    /// Its id.
    pub id: i64,
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
    /// What it is.
    pub content_type: String,
    /// Its bytes when it is unpacked, as it was told.
    pub uncompressed_size: Option<u64>,
    /// Its bytes, compressed with gzip.
    pub size: u64,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it was complete.
    pub finished_at: Option<Timestamp>,
}
