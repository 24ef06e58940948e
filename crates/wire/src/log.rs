//! Log entries: one per command or stage of a job.

use crate::JobId;
use crate::lenient::{null_as_default, shortened_command};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What stands in a command in place of what was left out.
pub const LEFT_OUT: &str = "…";

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
    #[serde(default, deserialize_with = "shortened_command")]
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
#[serde(rename_all = "camelCase", from = "Update")]
pub struct LogEntryUpdate {
    /// The entry's number, as the call that opened it answered.
    pub entry_id: i64,
    /// Its new content.
    #[serde(flatten)]
    pub entry: LogEntry,
}

/// The same as it is read. What is read flattened is all kept first, whatever it is; this is read key by key.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    entry_id: i64,
    #[serde(default, deserialize_with = "null_as_default")]
    executor_name: String,
    job_id: JobId,
    #[serde(default, deserialize_with = "null_as_default")]
    key: String,
    #[serde(default, deserialize_with = "shortened_command")]
    command: Option<Vec<String>>,
    start_time: Timestamp,
    #[serde(default)]
    exit_code: Option<i32>,
    #[serde(default, deserialize_with = "null_as_default")]
    out: String,
    #[serde(default)]
    duration_ms: Option<i64>,
}

impl From<Update> for LogEntryUpdate {
    fn from(update: Update) -> Self {
        let Update { entry_id, executor_name, job_id, key, command, start_time, exit_code, out, duration_ms } =
            update;
        let entry = LogEntry { executor_name, job_id, key, command, start_time, exit_code, out, duration_ms };
        Self { entry_id, entry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn entry(command: &Value) -> String {
        let entry = json!({"entryId": 3, "executorName": "e", "jobId": 7, "key": "k", "command": command,
                           "startTime": "2023-01-02T03:04:05Z", "out": null, "more": [[], {}]});
        entry.to_string()
    }

    #[test]
    fn of_a_command_with_ever_so_many_arguments_the_beginning_is_read() {
        for (sent, read) in [(0, 0), (2, 2), (10_000, 10_000), (10_001, 10_001), (400_000, 10_001)] {
            let text = entry(&json!(vec!["x"; sent]));
            let added: LogEntry = serde_json::from_str(&text).unwrap();
            let update: LogEntryUpdate = serde_json::from_str(&text).unwrap();
            assert_eq!((update.entry_id, &update.entry), (3, &added));
            let command = added.command.unwrap();
            assert_eq!(command.len(), read, "{sent}");
            assert_eq!(command.last().is_some_and(|last| last == "…"), sent > 10_000, "{sent}");
        }
        assert_eq!(serde_json::from_str::<LogEntry>(&entry(&Value::Null)).unwrap().command, None);
        assert!(serde_json::from_str::<LogEntry>(&entry(&json!([1]))).is_err());
        assert!(serde_json::from_str::<LogEntryUpdate>(&entry(&json!("x"))).is_err());
    }
}
