//! Opening log entries.

use super::super::SqliteStore;
use super::super::database::Durability;
use super::super::statements::statements;
use super::super::values::{micros, to_json};
use super::files::TryFiles;
use super::lease::check_lease;
use crate::error::StoreError;
use crate::model::{Change, NewLogEntry};
use jobs::{JobId, Lease};

/// Log entries of one try at most.
const MAX_ENTRIES: i64 = 10_000;

statements! {
    NEXT_NUMBER = "SELECT COALESCE(MAX(entry), 0) + 1 FROM log_entries WHERE job = ? AND epoch = ?";
    INSERT = "INSERT INTO log_entries (job, epoch, entry, key, command, start_time, exit_code, duration_ms) \
              VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
}

pub(in crate::sqlite) async fn add(
    store: &SqliteStore,
    id: JobId,
    lease: &Lease,
    entry: NewLogEntry,
) -> Result<i64, StoreError> {
    let command = entry.command.as_ref().map(to_json).transpose()?;
    let held = store.logs.hold(id, lease.epoch).await;
    let mut write = store.database.write(Durability::PowerLoss).await?;
    check_lease(&mut write, id, lease).await?;
    let number: i64 =
        sqlx::query_scalar(NEXT_NUMBER).bind(id.0).bind(lease.epoch).fetch_one(&mut *write).await?;
    if number > MAX_ENTRIES {
        return Err(StoreError::TooManyLogEntries { job: id, limit: MAX_ENTRIES });
    }
    // The text goes first: a number whose row was not committed is given again, its file replaced.
    let text = entry.out.into_bytes();
    let ended = entry.exit_code.is_some();
    let work = move |files: &mut TryFiles| {
        files.put(number, &text)?;
        if ended { files.sync(number) } else { Ok(()) }
    };
    let (held, ()) = held.run(work).await?;
    sqlx::query(INSERT)
        .bind(id.0)
        .bind(lease.epoch)
        .bind(number)
        .bind(entry.key)
        .bind(command)
        .bind(micros(entry.start_time))
        .bind(entry.exit_code)
        .bind(entry.duration_ms)
        .execute(&mut *write)
        .await?;
    write.commit().await?;
    drop(held);
    store.announce(Change::Log(id));
    Ok(number)
}
