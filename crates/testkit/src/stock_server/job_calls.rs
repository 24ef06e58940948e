//! Log entries and final calls.

use super::answer::Answer;
use super::instance::{Entry, Instance, State};
use serde_json::Value;

pub(super) fn exists(call: &str) -> bool {
    matches!(
        call,
        "addExecutionLogEntry" | "updateExecutionLogEntry" | "markComplete" | "markErrored" | "markFailed"
    )
}

pub(super) fn serve(instance: &mut Instance, queue: &str, call: &str, body: &Value) -> Answer {
    let key = (queue.to_owned(), body["jobId"].as_i64().unwrap_or_default());
    let executor = body["executorName"].as_str().unwrap_or_default();
    let found = instance.records.get_mut(&key);
    let found = found.filter(|record| record.owner == executor && record.state == State::Processing);
    let logs = call.ends_with("ExecutionLogEntry");
    let Some(record) = found else {
        let not_found = || Answer::status(404).body("null");
        return if logs { Answer::error(500, "unknown job") } else { not_found() };
    };
    match call {
        "addExecutionLogEntry" => {
            record.entries.push(entry(body, 0));
            Answer::text(record.entries.len().to_string())
        }
        "updateExecutionLogEntry" => {
            // Numbers begin with 1.
            let number = body["entryId"].as_u64().and_then(|number| usize::try_from(number).ok());
            let Some(old) = number.and_then(|number| record.entries.get_mut(number.checked_sub(1)?)) else {
                return Answer::error(500, "unknown job");
            };
            let new = entry(body, old.updates + 1);
            let grown =
                new.out.starts_with(&old.out) && new.key == old.key && new.start_time == old.start_time;
            if !grown {
                instance.objections.push(format!("{call}: {new:?} took the place of {old:?}"));
            }
            *old = new;
            Answer::status(204)
        }
        mark => {
            record.state = match mark {
                "markComplete" => State::Completed,
                _ if record.cancel => State::Canceled,
                "markErrored" => State::Errored,
                _ => State::Failed,
            };
            record.message = body["errorMessage"].as_str().map(str::to_owned);
            record.token = None;
            Answer::status(204)
        }
    }
}

fn entry(body: &Value, updates: usize) -> Entry {
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    Entry {
        key: text("key"),
        command: body["command"].clone(),
        start_time: text("startTime"),
        out: text("out"),
        exit_code: body["exitCode"].as_i64(),
        duration_ms: body["durationMs"].as_i64(),
        updates,
    }
}
