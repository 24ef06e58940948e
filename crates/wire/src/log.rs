//! Log entries: one per command or stage of a job.

use crate::JobId;
use crate::lenient::null_as_default;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Opens an entry. The answer is its number, a bare JSON integer, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// The executor that runs the job.
    #[serde(default, deserialize_with = "null_as_default")]
    pub executor_name: String,
    /// The job.
    pub job_id: JobId,
    /// What the entry is about, such as `setup.git.init` or `step.docker.0`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub key: String,
    /// The redacted argument vector; `null` where the entry is not about a command.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// When it began.
    pub start_time: Timestamp,
    /// How it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The whole redacted output so far, each line after `stdout: ` or `stderr: `.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub out: String,
    /// How long it took in milliseconds; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
}

/// Replaces an entry as a whole, so that it can be repeated safely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntryUpdate {
    /// The entry's number, as the call that opened it answered.
    pub entry_id: i64,
    /// Its new content.
    #[serde(flatten)]
    pub entry: LogEntry,
}
