//! Writing log entries.

use super::queue::Queue;
use super::{Failure, job_call, payload};
use crate::app::App;
use crate::auth::job::{Scope, authenticate};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use jobs::Lease;
use store::{NewLogEntry, StoreError};
use wire::additions::{AppendLog, AppendedLog};
use wire::{JobId, LogEntry, LogEntryUpdate};

/// Opens an entry; the answer is its number, bare.
pub(super) async fn add(
    State(app): State<App>,
    Queue(queue): Queue,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let caller = authenticate(&app, &headers, Scope::Queue(&queue)).await?;
    let entry: LogEntry = payload::read(&app, body, app.limits.log_body).await?;
    let lease = job_call::lease(&app, caller, &queue, entry.job_id, &entry.executor_name).await?;
    let (id, lease) = (entry.job_id, lease.ok_or_else(Failure::unknown_job)?);
    let store = app.store.clone();
    let added = app.see_through(async move { store.add_log_entry(id, &lease, stored(entry)).await }).await?;
    let number = added.map_err(|fault| failure("dbworkerstore.AddExecutionLogEntry", &fault))?;
    Ok(Json(number).into_response())
}

/// Replaces an entry as a whole.
pub(super) async fn update(
    State(app): State<App>,
    Queue(queue): Queue,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Failure> {
    let caller = authenticate(&app, &headers, Scope::Queue(&queue)).await?;
    let LogEntryUpdate { entry_id, entry } = payload::read(&app, body, app.limits.log_body).await?;
    let lease = job_call::lease(&app, caller, &queue, entry.job_id, &entry.executor_name).await?;
    let (id, lease) = (entry.job_id, lease.ok_or_else(Failure::unknown_job)?);
    let store = app.store.clone();
    app.see_through(async move { store.put_log_entry(id, &lease, entry_id, stored(entry)).await })
        .await?
        .map_err(|fault| failure("dbworkerstore.UpdateExecutionLogEntry", &fault))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Adds text to an entry at an offset; the answer tells where the entry ends.
pub(super) async fn append(
    State(app): State<App>,
    Queue(queue): Queue,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let caller = authenticate(&app, &headers, Scope::Queue(&queue)).await?;
    let append: AppendLog = payload::read(&app, body, app.limits.log_body).await?;
    let lease = job_call::lease(&app, caller, &queue, append.job_id, &append.executor_name).await?;
    let lease = lease.ok_or_else(Failure::unknown_job)?;
    let running = app.clone();
    let appended =
        app.see_through(async move { append_text(&running, append.job_id, &lease, &append).await });
    match appended.await? {
        Ok(length) => Ok(Json(AppendedLog { length }).into_response()),
        Err(StoreError::LogGap { length, .. }) => {
            Ok((StatusCode::CONFLICT, Json(AppendedLog { length })).into_response())
        }
        Err(fault) => Err(failure("dbworkerstore.AppendExecutionLog", &fault)),
    }
}

async fn append_text(app: &App, id: JobId, lease: &Lease, append: &AppendLog) -> Result<u64, StoreError> {
    let AppendLog { entry_id, offset, chunk, exit_code, duration_ms, .. } = append;
    app.store.append_log(id, lease, *entry_id, *offset, chunk, *exit_code, *duration_ms).await
}

fn stored(entry: LogEntry) -> NewLogEntry {
    NewLogEntry {
        key: entry.key,
        command: entry.command,
        start_time: entry.start_time,
        exit_code: entry.exit_code,
        duration_ms: entry.duration_ms,
        out: entry.out,
    }
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
