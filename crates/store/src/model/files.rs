//! Files that were uploaded for jobs.

use jiff::Timestamp;
use jobs::Namespace;

/// Bytes that the smallest file counts for: its row, its inode and its place in a directory are not free
/// either, and thus the number of files is bounded by their size.
pub const FILE_CHARGE: u64 = 64 << 10;

/// An uploaded file to note, after its content was put in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Its id: 32 hexadecimal digits, never used before.
    pub id: String,
    /// What it was called where it came from; for people.
    pub name: String,
    /// Bytes of its content.
    pub size: u64,
    /// SHA-256 of its content: 64 hexadecimal digits.
    pub sha256: String,
    /// When it was last changed; kept to the microsecond.
    pub modified_at: Timestamp,
    /// Whose it is.
    pub namespace: Namespace,
    /// The object that its content is, which was noted before; `None` where that is kept elsewhere.
    pub object: Option<String>,
}

/// An uploaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// Its id.
    pub id: String,
    /// What it was called where it came from.
    pub name: String,
    /// Bytes of its content.
    pub size: u64,
    /// SHA-256 of its content: 64 hexadecimal digits.
    pub sha256: String,
    /// When it was last changed.
    pub modified_at: Timestamp,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
    /// Whose it is.
    pub namespace: Namespace,
    /// The object that its content is; `None` where that is kept elsewhere.
    pub object: Option<String>,
}
