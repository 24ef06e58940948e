//! Lanes and rules in the database.

use super::SqlStore;
use super::database::Durability;
use super::lanes::{LaneRow, Rules};
use super::session::Session;
use super::statements::statements;
use super::values::to_json;
use super::versions;
use crate::error::StoreError;
use std::collections::HashSet;

/// So many are kept though no job is in them: most will be filled again.
const FEW: i64 = 256;
/// Lanes that one call forgets at most.
const MAX_FORGOTTEN_AT_ONCE: i64 = 1_000;

/// That no job is in a lane which may still be given out.
macro_rules! unused {
    ($running:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM jobs WHERE lane = lanes.id AND state = 'queued' AND held IS NULL) \
             AND NOT EXISTS (SELECT 1 FROM jobs WHERE lane = lanes.id AND state = 'queued' AND held IS NOT NULL) \
             AND NOT EXISTS (SELECT 1 FROM jobs WHERE lane = lanes.id AND state = 'errored') \
             AND id NOT IN (SELECT lane FROM ",
            $running,
            " WHERE state = 'processing')"
        )
    };
}
macro_rules! unused_of_many {
    ($running:literal) => {
        concat!(
            "SELECT id FROM lanes WHERE (SELECT COUNT(*) FROM lanes) > $1 AND ",
            unused!($running),
            " ORDER BY id LIMIT $2"
        )
    };
}

statements! {
    EVERY = "SELECT id, queue, owner, needs FROM lanes ORDER BY id";
    UNUSED in sqlite = unused_of_many!("jobs INDEXED BY jobs_lease_ends"), in postgres = unused_of_many!("jobs");
    /// Nobody submits meanwhile: see `submit`. SQLite has one writer anyway.
    LOCK in sqlite = "SELECT 1",
         in postgres = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(1700, 3)) AS locked";
    FORGET in sqlite = concat!(
               "DELETE FROM lanes WHERE id IN (SELECT value FROM json_each($1)) AND ",
               unused!("jobs INDEXED BY jobs_lease_ends"), " RETURNING id"
           ),
           in postgres = concat!(
               "DELETE FROM lanes WHERE id IN (SELECT value::bigint FROM json_array_elements_text($1::json)) AND ",
               unused!("jobs"), " RETURNING id"
           );
    QUEUES = "SELECT name, paused_at, max_running FROM queues";
    IN_MAINTENANCE = "SELECT name FROM executors WHERE maintenance_at IS NOT NULL";
}

/// Reads lanes and rules where that is due.
pub(super) async fn refresh(store: &SqlStore) -> Result<(), StoreError> {
    if !store.lanes.is_stale() {
        return Ok(());
    }
    let _turn = store.lanes.turn_to_read().await;
    if !store.lanes.is_stale() {
        return Ok(());
    }
    let since = store.lanes.since();
    let mut lookup = store.database.lookup().await?;
    let rows: Vec<(i64, String, String, String)> = lookup.query(EVERY).all().await?;
    let rules = rules(&mut lookup).await?;
    // One that can't be read is nothing to the others: a later version wrote it, or it is damaged, which was told.
    let (mut lanes, mut unread) = (Vec::with_capacity(rows.len()), HashSet::new());
    for (id, queue, owner, needs) in rows {
        match versions::read_needs(id, &needs) {
            Some((needs, version)) => lanes.push(LaneRow { id, queue, owner, needs, version }),
            None => _ = unread.insert(id),
        }
    }
    if !unread.is_empty() {
        tracing::debug!(
            lanes = unread.len(),
            "jobs are passed over, since this server can't read what they need"
        );
    }
    store.lanes.learn(lanes, unread, rules, since);
    Ok(())
}

/// Forgets lanes that no job is in; says how many. A few are kept.
pub(super) async fn forget(store: &SqlStore) -> Result<u64, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let unused: Vec<(i64,)> = lookup.query(UNUSED).bind(FEW).bind(MAX_FORGOTTEN_AT_ONCE).all().await?;
    drop(lookup);
    if unused.is_empty() {
        return Ok(0);
    }
    let unused: Vec<i64> = unused.into_iter().map(|(id,)| id).collect();
    let mut write = store.database.write(Durability::Crash).await?;
    write.query(LOCK).execute().await?;
    let forgotten: Vec<(i64,)> = write.query(FORGET).bind(to_json(&unused)?).all().await?;
    store.commit(write).await?;
    store.lanes.forget(&forgotten.iter().map(|(id,)| *id).collect());
    Ok(forgotten.len() as u64)
}

async fn rules(lookup: &mut Session) -> Result<Rules, StoreError> {
    let mut rules = Rules::default();
    let queues: Vec<(String, Option<i64>, Option<i64>)> = lookup.query(QUEUES).all().await?;
    for (name, paused_at, max_running) in queues {
        if let Some(max_running) = max_running {
            rules.max_running.insert(name.clone(), max_running);
        }
        if paused_at.is_some() {
            rules.paused.insert(name);
        }
    }
    let away: Vec<(String,)> = lookup.query(IN_MAINTENANCE).all().await?;
    rules.in_maintenance = away.into_iter().map(|(name,)| name).collect();
    Ok(rules)
}
