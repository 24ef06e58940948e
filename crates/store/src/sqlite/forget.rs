//! Removing jobs that ended long ago, with everything that is kept of them.
//!
//! The texts of their logs go first, and for good, before the rows that lead to them: whoever dies in the
//! middle leaves rows, which the next call finds again, and never a file that nobody would look for.

use super::SqliteStore;
use super::database::Durability;
use super::statements::statements;
use super::values::micros;
use crate::error::StoreError;
use jiff::Timestamp;
use jobs::JobId;
use sqlx::SqliteConnection;
use std::time::{Duration, Instant};

/// Jobs that one call removes.
const MAX_FORGOTTEN_AT_ONCE: u32 = 100;
/// Log entries that one statement removes.
const MAX_ENTRIES_AT_ONCE: u32 = 200;
/// After this time a transaction makes way for other writers. A job may be megabytes, which are
/// overwritten, so a number of jobs would say little about it.
const MAX_TURN: Duration = Duration::from_millis(50);

statements! {
    ENDED = "SELECT id FROM jobs WHERE state IN ('completed', 'failed', 'canceled') AND finished_at < ? \
             ORDER BY finished_at LIMIT ?";
    FORGET_ENTRIES = "DELETE FROM log_entries WHERE job = ?1 AND (epoch, entry) IN ( \
                          SELECT epoch, entry FROM log_entries WHERE job = ?1 LIMIT ?2)";
    /// What else belongs to it goes along.
    FORGET = "DELETE FROM jobs WHERE id = ?";
}

pub(super) async fn forget(store: &SqliteStore, cutoff: Timestamp) -> Result<u64, StoreError> {
    let ended = sqlx::query_scalar(ENDED).bind(micros(cutoff)).bind(MAX_FORGOTTEN_AT_ONCE);
    let ended: Vec<i64> = ended.fetch_all(store.database.readers()).await?;
    if ended.is_empty() {
        return Ok(0);
    }
    let mut left = store.logs.remove(ended.into_iter().map(JobId).collect()).await?;
    let forgotten = left.len() as u64;
    while !left.is_empty() {
        let mut write = store.database.write(Durability::Crash).await?;
        take_turn(&mut write, &mut left).await?;
        write.commit().await?;
    }
    Ok(forgotten)
}

/// Removes rows until time is up or none is left.
async fn take_turn(write: &mut SqliteConnection, left: &mut Vec<JobId>) -> Result<(), StoreError> {
    let began = Instant::now();
    while let Some(id) = left.last() {
        let entries = sqlx::query(FORGET_ENTRIES).bind(id.0).bind(MAX_ENTRIES_AT_ONCE);
        if entries.execute(&mut *write).await?.rows_affected() < u64::from(MAX_ENTRIES_AT_ONCE) {
            sqlx::query(FORGET).bind(id.0).execute(&mut *write).await?;
            left.pop();
        }
        if began.elapsed() >= MAX_TURN {
            break;
        }
    }
    Ok(())
}
