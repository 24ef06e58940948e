//! Writing log entries.

use super::job_call::JobCall;
use super::{Failure, bounds};
use crate::app::App;
use crate::disk_floor::Growing;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jobs::{JobId, Lease};
use store::{NewLogEntry, Store, StoreError};
use wire::additions::{AppendLog, AppendedLog, OUTPUT_REFUSED};
use wire::{LogEntry, LogEntryUpdate};

/// What stands in the place of text that stock executors sent while the disk had too little room. They send all of it again with
/// each update, which takes the place of this.
const NOT_KEPT: &str =
    "\n[executor: the output from here on was not kept: the disk of the control plane has too little room]\n";

/// Opens an entry; the answer is its number, bare.
pub(super) async fn add(
    State(app): State<App>,
    JobCall { id, lease, body: entry, is_ours, slot }: JobCall<LogEntry>,
) -> Result<Response, Failure> {
    let (store, mut entry) = (app.store.clone(), stored(entry)?);
    app.metrics.log_came(entry.out.len());
    if let Err(below) = app.disk_floor.check(Growing::Database)
        && !entry.out.is_empty()
    {
        match (is_ours, entry.exit_code) {
            // It comes again, and has all of its text until then.
            (true, Some(_)) => return Err(below.into()),
            // What was not kept comes again when more is appended.
            (true, None) => entry.out.clear(),
            // The job would fail without the entry.
            (false, _) => NOT_KEPT.clone_into(&mut entry.out),
        }
    }
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
    JobCall { id, lease, body: LogEntryUpdate { entry_id, entry }, slot, .. }: JobCall<LogEntryUpdate>,
) -> Result<StatusCode, Failure> {
    let (store, entry) = (app.store.clone(), stored(entry)?);
    app.metrics.log_came(entry.out.len());
    let below = app.disk_floor.check(Growing::Database).is_err();
    let put = app.see_through(async move {
        let _slot = slot;
        if below {
            return put_without_text(&*store, id, &lease, entry_id, &entry).await;
        }
        store.put_log_entry(id, &lease, entry_id, entry).await
    });
    put.await?.map_err(|fault| failure("dbworkerstore.UpdateExecutionLogEntry", &fault))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Adds text to an entry at an offset; the answer tells where the entry ends.
pub(super) async fn append(
    State(app): State<App>,
    JobCall { id, lease, body: append, slot, .. }: JobCall<AppendLog>,
) -> Result<Response, Failure> {
    let store = app.store.clone();
    app.metrics.log_came(append.chunk.len());
    let below = app.disk_floor.check(Growing::Database).err();
    let appended = app.see_through(async move {
        let _slot = slot;
        if let Some(below) = below.filter(|_| !append.chunk.is_empty())
            && !is_last_word(&*store, id, &lease, &append).await
        {
            // Whoever holds the job no more is told that.
            store.append_log(id, &lease, append.entry_id, 0, "", None, None).await?;
            return Ok(Err(below));
        }
        let AppendLog { entry_id, offset, chunk, exit_code, duration_ms, .. } = append;
        store.append_log(id, &lease, entry_id, offset, &chunk, exit_code, duration_ms).await.map(Ok)
    });
    match appended.await? {
        Ok(Ok(length)) => Ok(Json(AppendedLog { length }).into_response()),
        // Text waits on the executor's disk, within its own limits, until there is room or its patience is over.
        Ok(Err(below)) => Err(below.into()),
        Err(StoreError::LogGap { length, .. }) => {
            Ok((StatusCode::CONFLICT, Json(AppendedLog { length })).into_response())
        }
        Err(fault) => Err(failure("dbworkerstore.AppendExecutionLog", &fault)),
    }
}

/// Takes all of an entry but its text, of which no more is kept, and says so where it ends.
async fn put_without_text(
    store: &dyn Store,
    id: JobId,
    lease: &Lease,
    number: i64,
    entry: &NewLogEntry,
) -> Result<(), StoreError> {
    let length = store.append_log(id, lease, number, 0, "", None, None).await?;
    let unmarked = length.saturating_sub(NOT_KEPT.len() as u64);
    let end = store.read_log(id, lease.epoch, number, unmarked, NOT_KEPT.len()).await?;
    let is_marked = end == NOT_KEPT.as_bytes();
    let mark = if !is_marked && entry.out.len() as u64 > length { NOT_KEPT } else { "" };
    store.append_log(id, lease, number, length, mark, entry.exit_code, entry.duration_ms).await.map(drop)
}

/// Whether this is what executors of ours say, once, of an entry of which no more is taken.
async fn is_last_word(store: &dyn Store, id: JobId, lease: &Lease, append: &AppendLog) -> bool {
    if append.chunk != OUTPUT_REFUSED || append.exit_code.is_none() {
        return false;
    }
    let known = store.log_entry(id, Some(lease.epoch), append.entry_id).await;
    known.is_ok_and(|entry| entry.exit_code.is_none())
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
