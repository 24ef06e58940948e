//! Writing log entries.

use super::job_call::JobCall;
use super::{Failure, bounds};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use store::{NewLogEntry, StoreError};
use wire::additions::{AppendLog, AppendedLog};
use wire::{LogEntry, LogEntryUpdate};

/// Opens an entry; the answer is its number, bare.
pub(super) async fn add(
    State(app): State<App>,
    JobCall { id, lease, body: entry, slot }: JobCall<LogEntry>,
) -> Result<Response, Failure> {
    let (store, entry) = (app.store.clone(), stored(entry)?);
    app.metrics.log_came(entry.out.len());
    let added = app.see_through(async move {
        let _slot = slot;
        store.add_log_entry(id, &lease, entry).await
    });
    let number = added.await?.map_err(|fault| failure("dbworkerstore.AddExecutionLogEntry", &fault))?;
    Ok(Json(number).into_response())
}

/// Replaces an entry as a whole.
pub(super) async fn update(
    State(app): State<App>,
    JobCall { id, lease, body: LogEntryUpdate { entry_id, entry }, slot }: JobCall<LogEntryUpdate>,
) -> Result<StatusCode, Failure> {
    let (store, entry) = (app.store.clone(), stored(entry)?);
    app.metrics.log_came(entry.out.len());
    let put = app.see_through(async move {
        let _slot = slot;
        store.put_log_entry(id, &lease, entry_id, entry).await
    });
    put.await?.map_err(|fault| failure("dbworkerstore.UpdateExecutionLogEntry", &fault))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Adds text to an entry at an offset; the answer tells where the entry ends.
pub(super) async fn append(
    State(app): State<App>,
    JobCall { id, lease, body: append, slot }: JobCall<AppendLog>,
) -> Result<Response, Failure> {
    let store = app.store.clone();
    app.metrics.log_came(append.chunk.len());
    let appended = app.see_through(async move {
        let _slot = slot;
        let AppendLog { entry_id, offset, chunk, exit_code, duration_ms, .. } = append;
        store.append_log(id, &lease, entry_id, offset, &chunk, exit_code, duration_ms).await
    });
    match appended.await? {
        Ok(length) => Ok(Json(AppendedLog { length }).into_response()),
        Err(StoreError::LogGap { length, .. }) => {
            Ok((StatusCode::CONFLICT, Json(AppendedLog { length })).into_response())
        }
        Err(fault) => Err(failure("dbworkerstore.AppendExecutionLog", &fault)),
    }
}

fn stored(entry: LogEntry) -> Result<NewLogEntry, Failure> {
    bounds::check_key(&entry.key)?;
    Ok(NewLogEntry {
        key: entry.key,
        command: entry.command.map(bounds::command),
        start_time: entry.start_time,
        exit_code: entry.exit_code,
        duration_ms: entry.duration_ms,
        out: entry.out,
    })
}

fn failure(operation: &str, fault: &StoreError) -> Failure {
    match fault {
        StoreError::UnknownJob(_) | StoreError::UnknownLogEntry { .. } | StoreError::Rejected(_) => {
            Failure::unknown_job()
        }
        StoreError::LogFull { .. } => Failure::error(StatusCode::PAYLOAD_TOO_LARGE, fault.to_string()),
        _ => Failure::store(operation, fault),
    }
}
