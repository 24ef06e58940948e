//! Files that jobs leave.

use super::NewObject;
use jiff::Timestamp;

/// A file that a job leaves, to note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewArtifact {
    /// Of which artifact of its job's specification it is.
    pub name: String,
    /// Where it was, below the workspace.
    pub path: String,
    /// Its content.
    pub object: NewObject,
}

/// A file that a job left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRow {
    /// Which try left it.
    pub epoch: u32,
    /// What it is.
    pub of: NewArtifact,
    /// When it came.
    pub created_at: Timestamp,
}
