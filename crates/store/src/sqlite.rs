//! The store in one SQLite file, with log texts in files beside it.
use std::path::PathBuf;
use std::sync::Arc;
/// How to open a [`SqliteStore`].
pub struct SqliteOptions {
    /// Directory of the database and of the log texts.
    pub dir: PathBuf,
    /// Where time comes from.
    pub clock: Arc<dyn jobs::Clock>,
    /// How often jobs are tried.
    pub retry: jobs::RetryPolicy,
    /// Bytes of log text of one job's try at most.
    pub max_log_bytes: u64,
}
/// The store in one SQLite file.
pub struct SqliteStore {}
