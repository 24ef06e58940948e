//! Opening log entries.
//!
//! A caller whose answer got lost calls again, so the second call for one try, key and start time
//! finds the entry of the first. It may have more text by then, or know the end: that is added as
//! appending would. Nothing is taken away, since a late copy of the first call may come last.

use super::super::SqlStore;
use super::super::session::Session;
use super::super::statements::statements;
use super::super::values::micros;
use super::append::{KnownEnd, set_end};
use super::commands;
use super::turn::Turn;
use crate::error::StoreError;
use crate::model::NewLogEntry;
use jobs::{JobId, Lease};

/// Log entries of one try at most.
const MAX_ENTRIES: i64 = 10_000;

statements! {
    OPENED = "SELECT entry FROM log_entries WHERE job = $1 AND epoch = $2 AND key = $3 AND start_time = $4";
    NEXT_NUMBER = "SELECT COALESCE(MAX(entry), 0) + 1 FROM log_entries WHERE job = $1 AND epoch = $2";
    INSERT = "INSERT INTO log_entries (job, epoch, entry, key, command, start_time, exit_code, duration_ms) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
}

pub(in crate::sql) async fn add(
    store: &SqlStore,
    id: JobId,
    lease: &Lease,
    entry: NewLogEntry,
) -> Result<i64, StoreError> {
    let mut turn = Turn::begin(store, id, lease).await?;
    let added = add_in(&mut turn, id, lease.epoch, entry).await;
    turn.end(added).await
}

async fn add_in(turn: &mut Turn<'_>, id: JobId, epoch: u32, entry: NewLogEntry) -> Result<i64, StoreError> {
    let start_time = micros(entry.start_time);
    let (text, ended) = (entry.out.into_bytes(), entry.exit_code.is_some());
    let write = turn.write().await?;
    let opened = write.query(OPENED).bind(id.0).bind(i64::from(epoch)).bind(&entry.key).bind(start_time);
    if let Some((number,)) = opened.optional::<(i64,)>().await? {
        turn.add_at(number, 0, text, ended).await?;
        let end = KnownEnd { exit_code: entry.exit_code, duration_ms: entry.duration_ms };
        set_end(turn.write().await?, id, epoch, number, end).await?;
        return Ok(number);
    }
    let number = next_number(write, id, epoch).await?;
    let command = commands::stored(write, (id, epoch, number), entry.command.as_ref()).await?;
    // The text goes first: the number of a row that was not committed is given again, and its file replaced.
    turn.put(number, text, ended).await?;
    turn.write()
        .await?
        .query(INSERT)
        .bind(id.0)
        .bind(i64::from(epoch))
        .bind(number)
        .bind(entry.key)
        .bind(command)
        .bind(start_time)
        .bind(entry.exit_code)
        .bind(entry.duration_ms)
        .execute()
        .await?;
    Ok(number)
}

async fn next_number(session: &mut Session, id: JobId, epoch: u32) -> Result<i64, StoreError> {
    let (number,) = session.query(NEXT_NUMBER).bind(id.0).bind(i64::from(epoch)).one().await?;
    if number > MAX_ENTRIES {
        return Err(StoreError::TooManyLogEntries { job: id, limit: MAX_ENTRIES });
    }
    Ok(number)
}
