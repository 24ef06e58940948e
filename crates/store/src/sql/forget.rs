//! Removing jobs that ended long ago, with everything that is kept of them.
//!
//! The texts of their logs go first, and for good, before the rows that lead to them: whoever dies in the
//! middle leaves rows, which the next call finds again, and never a file that nobody would look for. Objects are noted as of
//! no use where they were named, and removed later: see `loose.rs`.

use super::SqlStore;
use super::database::Durability;
use super::logs;
use super::session::Session;
use super::statements::statements;
use super::values::micros;
use crate::error::StoreError;
use jiff::Timestamp;
use jobs::JobId;
use std::time::{Duration, Instant};

/// Jobs that one call removes.
const MAX_FORGOTTEN_AT_ONCE: i64 = 100;
/// Log entries, or pieces of their texts, that one statement removes.
const MAX_ENTRIES_AT_ONCE: i64 = 200;
/// After this time a transaction makes way for other writers. A job may be megabytes, which are
/// overwritten, so a number of jobs would say little about it.
const MAX_TURN: Duration = Duration::from_millis(50);

statements! {
    /// Without statistics SQLite would rather read all that has ended.
    ENDED in sqlite = "SELECT id FROM jobs INDEXED BY jobs_ended \
                       WHERE state IN ('completed', 'failed', 'canceled') AND finished_at < $1 \
                       ORDER BY finished_at LIMIT $2",
          in postgres = "SELECT id FROM jobs WHERE state IN ('completed', 'failed', 'canceled') AND finished_at < $1 \
                         ORDER BY finished_at LIMIT $2";
    FORGET_ENTRIES = "DELETE FROM log_entries WHERE job = $1 AND (epoch, entry) IN ( \
                          SELECT epoch, entry FROM log_entries WHERE job = $1 LIMIT $2)";
    FORGET_TEXTS = "DELETE FROM log_texts WHERE job = $1 AND (epoch, entry, start_at) IN ( \
                        SELECT epoch, entry, start_at FROM log_texts WHERE job = $1 LIMIT $2)";
    LET_GO = "INSERT INTO loose_objects (key, remove_at) \
              SELECT object, CAST($2 AS BIGINT) FROM sealed_logs WHERE job = $1 \
              UNION ALL SELECT object, CAST($2 AS BIGINT) FROM artifacts WHERE job = $1 ON CONFLICT (key) DO NOTHING";
    /// What else belongs to it goes along.
    FORGET in sqlite = "DELETE FROM jobs WHERE id = $1",
           in postgres = "WITH asked_for AS (DELETE FROM job_specs WHERE job = $1) DELETE FROM jobs WHERE id = $1";
}

pub(super) async fn forget(store: &SqlStore, cutoff: Timestamp) -> Result<u64, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let ended = lookup.query(ENDED).bind(micros(cutoff)).bind(MAX_FORGOTTEN_AT_ONCE);
    let ended: Vec<(i64,)> = ended.all().await?;
    drop(lookup);
    if ended.is_empty() {
        return Ok(0);
    }
    let mut left = store.logs.remove(ended.into_iter().map(|(id,)| JobId(id)).collect()).await?;
    let forgotten = left.len() as u64;
    // The last one goes first, and jobs are locked in the order of their numbers.
    left.sort_unstable_by(|a, b| b.cmp(a));
    while !left.is_empty() {
        let mut write = store.database.write(Durability::Crash).await?;
        take_turn(&mut write, micros(store.clock.now()), &mut left).await?;
        store.commit(write).await?;
        store.sums.artifacts.removed();
    }
    Ok(forgotten)
}

/// Removes rows until time is up or none is left.
async fn take_turn(write: &mut Session, now: i64, left: &mut Vec<JobId>) -> Result<(), StoreError> {
    let began = Instant::now();
    while let Some(id) = left.last() {
        logs::lock_job(write, *id).await?;
        let texts = write.query(FORGET_TEXTS).bind(id.0).bind(MAX_ENTRIES_AT_ONCE).execute().await?;
        let entries = write.query(FORGET_ENTRIES).bind(id.0).bind(MAX_ENTRIES_AT_ONCE).execute().await?;
        if texts.max(entries) < MAX_ENTRIES_AT_ONCE.unsigned_abs() {
            write.query(LET_GO).bind(id.0).bind(now).execute().await?;
            write.query(FORGET).bind(id.0).execute().await?;
            left.pop();
        }
        if began.elapsed() >= MAX_TURN {
            break;
        }
    }
    Ok(())
}
