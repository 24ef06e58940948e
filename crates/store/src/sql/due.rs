//! Jobs that are not to be run before a time, and those whose pause before another try is over.

use super::SqlStore;
use super::database::Durability;
use super::keys;
use super::news::News;
use super::session::Session;
use super::statements::statements;
use super::values::{micros, span, to_json};
use crate::error::StoreError;
use crate::model::Change;
use jiff::Timestamp;
use std::sync::atomic::Ordering;
use wire::paths::QUEUES;

/// Jobs that are let go in one transaction.
const MAX_AT_ONCE: i64 = 200;

macro_rules! due {
    ($jobs:literal) => {
        concat!(
            "SELECT id, queue, lane, rank, key, key_limit FROM ",
            $jobs,
            " \
         WHERE held = 'time' AND state = 'queued' AND due_at <= $1 ORDER BY due_at, id LIMIT $2"
        )
    };
}

/// Which of some queues have jobs whose pauses ended in between: for others, and for the executors that had them last.
macro_rules! over {
    ($asked:literal, $jobs:literal) => {
        concat!(
            "SELECT asked.queue FROM (",
            $asked,
            ") AS asked WHERE EXISTS (SELECT 1 FROM ",
            $jobs,
            " WHERE queue = asked.queue AND state = 'errored' AND retry_at > $2 AND retry_at <= $3) OR EXISTS (SELECT 1 FROM ",
            $jobs,
            " WHERE queue = asked.queue AND state = 'errored' AND retry_at > $4 AND retry_at <= $5)"
        )
    };
}

statements! {
    OVER in sqlite = over!("SELECT value AS queue FROM json_each($1)", "jobs INDEXED BY jobs_paused"),
         in postgres = over!("SELECT value AS queue FROM json_array_elements_text($1::json)", "jobs");
    /// Without statistics SQLite would rather read all that is queued.
    LOOK in sqlite = "SELECT id FROM jobs INDEXED BY jobs_due \
                      WHERE held = 'time' AND state = 'queued' AND due_at <= $1 LIMIT 1",
         in postgres = "SELECT id FROM jobs WHERE held = 'time' AND state = 'queued' AND due_at <= $1 LIMIT 1";
    DUE in sqlite = due!("jobs INDEXED BY jobs_due"), in postgres = concat!(due!("jobs"), " FOR UPDATE SKIP LOCKED");
    HOLD = "UPDATE jobs SET held = $1 WHERE id = $2";
}

/// A job whose time has come.
type Due = (i64, String, i64, i64, Option<String>, Option<i64>);

/// Lets go of those whose time has come; says how many.
pub(super) async fn release(store: &SqlStore) -> Result<u64, StoreError> {
    let now = store.clock.now();
    tell_again(store, now).await?;
    let mut released = 0;
    // The usual answer is "none": it costs the writers nothing.
    while any(&mut store.database.lookup().await?, now).await? {
        let mut write = store.database.write(Durability::PowerLoss).await?;
        let due: Vec<Due> = write.query(DUE).bind(micros(now)).bind(MAX_AT_ONCE).all().await?;
        // Another server has them in hand.
        if due.is_empty() {
            break;
        }
        released += due.len() as u64;
        keys::lock(&mut write, &due.iter().filter_map(|(.., key, _)| key.as_deref()).collect()).await?;
        for (id, queue, lane, rank, key, limit) in due {
            let held = match key.zip(limit) {
                Some((key, limit)) if !keys::has_room(&mut write, &key, limit).await? => Some("key"),
                _ => None,
            };
            write.query(HOLD).bind(held).bind(id).execute().await?;
            if held.is_none() {
                write.tell(News::Queued { queue, lane, rank });
            }
        }
        store.commit(write).await?;
    }
    Ok(released)
}

/// Tells those who wait for jobs where pauses ended since this was last done. Nothing is written: a job is claimable by the time
/// alone, and every server does this for its own.
async fn tell_again(store: &SqlStore, now: Timestamp) -> Result<(), StoreError> {
    let now = micros(now);
    let told = store.pauses_told.load(Ordering::Acquire);
    let later = span(store.retry.same_executor_later);
    let mut lookup = store.database.lookup().await?;
    let over = lookup.query(OVER).bind(to_json(&QUEUES)?).bind(told).bind(now);
    let over = over.bind(told.saturating_sub(later)).bind(now.saturating_sub(later));
    for (queue,) in over.all::<(String,)>().await? {
        store.announce_here(Change::Queued(queue));
    }
    store.pauses_told.store(now, Ordering::Release);
    Ok(())
}

async fn any(session: &mut Session, now: Timestamp) -> Result<bool, StoreError> {
    Ok(session.query(LOOK).bind(micros(now)).optional::<(i64,)>().await?.is_some())
}
