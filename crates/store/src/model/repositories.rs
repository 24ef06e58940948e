//! Repositories that are mirrored.

use jiff::Timestamp;
use jobs::Namespace;

/// A repository to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRepository {
    /// Whose it is.
    pub namespace: Namespace,
    /// Its name; the namespace's only one of that name.
    pub name: String,
    /// Where it is mirrored from: a path or a URL, without credentials.
    pub source: String,
}

/// A repository that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRow {
    /// Its id, which names the mirror's directory.
    pub id: i64,
    /// Whose it is.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
    /// Where it is mirrored from.
    pub source: String,
    /// When it was added.
    pub created_at: Timestamp,
}
