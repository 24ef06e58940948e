//! Jobs of which only so many may be given out at once.
//!
//! A job with a key either has one of the key's places, from its submission, or from when one becomes free, to its end;
//! or it is *held*, and claims don't see it. So claims need not know of keys. Who gives or takes a place has the key's
//! lock until its transaction is over; whose row is locked by somebody else at that moment is passed over, so that nobody
//! waits in a circle.

use super::SqlStore;
use super::database::{Durability, Write};
use super::news::News;
use super::session::Session;
use super::statements::statements;
use super::values::to_json;
use crate::error::StoreError;
use std::collections::BTreeSet;

macro_rules! next {
    () => {
        "SELECT id, queue, lane, rank, key_limit FROM jobs WHERE key = $1 AND held = 'key' AND state = 'queued' \
         ORDER BY rank, id LIMIT 1"
    };
}
/// Keys of which the first that waits could have a place: from one key to the next, not over all that wait.
macro_rules! stuck {
    ($jobs:literal) => {
        concat!(
            "WITH RECURSIVE keys (key) AS ( \
                 SELECT (SELECT key FROM ",
            $jobs,
            " WHERE held = 'key' AND state = 'queued' ORDER BY key LIMIT 1) \
                 UNION ALL \
                 SELECT (SELECT key FROM ",
            $jobs,
            " WHERE held = 'key' AND state = 'queued' AND key > keys.key \
                     ORDER BY key LIMIT 1) FROM keys WHERE keys.key IS NOT NULL) \
             SELECT keys.key FROM keys WHERE keys.key IS NOT NULL AND \
                 (SELECT COUNT(*) FROM jobs WHERE jobs.key = keys.key AND held IS NULL \
                     AND state IN ('queued', 'processing', 'errored')) \
                 < (SELECT key_limit FROM ",
            $jobs,
            " WHERE jobs.key = keys.key AND held = 'key' AND state = 'queued' \
                     ORDER BY rank, id LIMIT 1) \
             LIMIT $1"
        )
    };
}

/// Keys whose places are handed on in one transaction.
const MAX_AT_ONCE: i64 = 200;

statements! {
    /// All in one order, so that nobody waits in a circle. SQLite has one writer anyway.
    LOCK in sqlite = "SELECT 1 WHERE $1 IS NOT NULL",
         in postgres = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(hash) FROM ( \
                            SELECT DISTINCT hashtextextended(value, 0) AS hash \
                            FROM json_array_elements_text($1::json) AS keys (value) ORDER BY hash) AS hashes) AS locked";
    /// Up to a limit, which is the second argument; and whether anybody waits for a place.
    TAKEN = "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE key = $1 AND held IS NULL \
                 AND state IN ('queued', 'processing', 'errored') LIMIT $2) AS taken), \
             EXISTS (SELECT 1 FROM jobs WHERE key = $1 AND held = 'key' AND state = 'queued')";
    NEXT in sqlite = next!(), in postgres = concat!(next!(), " FOR UPDATE SKIP LOCKED");
    LET_GO = "UPDATE jobs SET held = NULL WHERE id = $1";
    STUCK in sqlite = stuck!("jobs INDEXED BY jobs_wait_for_place"), in postgres = stuck!("jobs");
}

/// What a key is stored as: everybody's own.
pub(super) fn of(owner: &str, key: &str) -> String {
    format!("{owner}\u{1f}{key}")
}

/// Locks these keys until the transaction is over. Who needs several locks them by one call.
pub(super) async fn lock(session: &mut Session, keys: &BTreeSet<&str>) -> Result<(), StoreError> {
    if !keys.is_empty() {
        session.query(LOCK).bind(to_json(keys)?).execute().await?;
    }
    Ok(())
}

/// Whether a job of `key`, which is locked, may have a place at once. Where others wait for one it waits behind them,
/// whatever its own limit is: else those with a low limit might wait for ever.
pub(super) async fn has_room(session: &mut Session, key: &str, limit: i64) -> Result<bool, StoreError> {
    let (taken, others_wait) = taken(session, key, limit).await?;
    Ok(taken < limit && !others_wait)
}

async fn taken(session: &mut Session, key: &str, limit: i64) -> Result<(i64, bool), StoreError> {
    session.query(TAKEN).bind(key).bind(limit).one().await
}

/// Gives the places of `key`, which is locked, that are free to those that wait for them; says to how many.
pub(super) async fn hand_on(write: &mut Write<'_>, key: &str) -> Result<u64, StoreError> {
    let mut handed_on = 0;
    loop {
        let next: Option<(i64, String, i64, i64, i64)> = write.query(NEXT).bind(key).optional().await?;
        let Some((id, queue, lane, rank, limit)) = next else { return Ok(handed_on) };
        if taken(write, key, limit).await?.0 >= limit {
            return Ok(handed_on);
        }
        write.query(LET_GO).bind(id).execute().await?;
        write.tell(News::Queued { queue, lane, rank });
        handed_on += 1;
    }
}

/// Hands on the places that nobody took: who was next was just being changed by somebody who came to nothing.
pub(super) async fn hand_on_all(store: &SqlStore) -> Result<u64, StoreError> {
    let mut handed_on = 0;
    loop {
        // The usual answer is "none": it costs the writers nothing.
        let stuck: Vec<(String,)> =
            store.database.lookup().await?.query(STUCK).bind(MAX_AT_ONCE).all().await?;
        let stuck: BTreeSet<&str> = stuck.iter().map(|(key,)| key.as_str()).collect();
        if stuck.is_empty() {
            return Ok(handed_on);
        }
        let mut write = store.database.write(Durability::PowerLoss).await?;
        lock(&mut write, &stuck).await?;
        let before = handed_on;
        for key in stuck {
            handed_on += hand_on(&mut write, key).await?;
        }
        store.commit(write).await?;
        // Somebody still has them in hand.
        if handed_on == before {
            return Ok(handed_on);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::database::SqliteFile;

    /// However many wait for a place, they are not walked over to count those who have one.
    #[tokio::test]
    async fn neither_who_waits_nor_other_jobs_are_searched() {
        let (_dir, database) = SqliteFile::temporary().await;
        assert_eq!(database.plan(NEXT).await, ["SEARCH jobs USING INDEX jobs_wait_for_place (key=?)"]);
        assert!(database.plan(TAKEN).await.iter().any(|line| line.ends_with("INDEX jobs_placed (key=?)")));
        // It stops at the first.
        let first = "SCAN jobs USING COVERING INDEX jobs_wait_for_place";
        let stuck = database.plan(STUCK).await;
        assert!(stuck.iter().all(|line| line == first || !line.contains("SCAN jobs")), "{stuck:#?}");
    }
}
