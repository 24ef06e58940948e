//! Entries of logs.

use jiff::Timestamp;

/// A log entry to open.
#[derive(Debug, Clone)]
pub struct NewLogEntry {
    /// What it is about, such as `setup.git.init`.
    pub key: String,
    /// The redacted argument vector, where it is about a command.
    pub command: Option<Vec<String>>,
    /// When it began; kept to the microsecond.
    pub start_time: Timestamp,
    /// How it ended, when that is known already.
    pub exit_code: Option<i32>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// Its text so far.
    pub out: String,
}

/// A log entry as it is now; its text is read apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntryRow {
    /// Its number within the epoch, from 1.
    pub entry: i64,
    /// The epoch of the try it belongs to.
    pub epoch: u32,
    /// What it is about.
    pub key: String,
    /// The redacted argument vector, where it is about a command.
    pub command: Option<Vec<String>>,
    /// When it began.
    pub start_time: Timestamp,
    /// How it ended; `None` while it runs.
    pub exit_code: Option<i32>,
    /// How long it took, in milliseconds; `None` while it runs.
    pub duration_ms: Option<i64>,
    /// Bytes of text.
    pub length: u64,
}
