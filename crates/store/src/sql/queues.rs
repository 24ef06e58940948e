//! What operators say of queues and executors.

use super::SqlStore;
use super::database::{Durability, Write};
use super::news::News;
use super::session::Session;
use super::statements::statements;
use super::values::{micros, timestamp};
use crate::error::StoreError;
use crate::model::{QueueRow, QueueRules};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What a queue holds: jobs that wait, of them those that are held, jobs that run, jobs that are to be tried again, and
/// since when the oldest waits that could be claimed.
macro_rules! counts {
    ($queued:literal) => {
        concat!(
            "SELECT COALESCE(",
            $queued,
            ", 0), \
             (SELECT COUNT(*) FROM jobs WHERE queue = $1 AND state = 'queued' AND held IS NOT NULL), \
             (SELECT COUNT(*) FROM jobs WHERE queue = $1 AND state = 'processing'), \
             (SELECT COUNT(*) FROM jobs WHERE queue = $1 AND state = 'errored'), \
             (SELECT MIN(queued_at) FROM jobs WHERE id = \
                 (SELECT MIN(id) FROM jobs WHERE queue = $1 AND state = 'queued' AND held IS NULL))"
        )
    };
}
statements! {
    SET = "INSERT INTO queues (name, paused_at, max_running) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
           SET paused_at = excluded.paused_at, max_running = excluded.max_running";
    GET = "SELECT paused_at, max_running FROM queues WHERE name = $1";
    COUNTS in sqlite = counts!("(SELECT queued FROM queue_lengths WHERE queue = $1)"),
           in postgres = counts!("(SELECT COUNT(*) FROM jobs WHERE queue = $1 AND state = 'queued')");
    MAINTENANCE = "UPDATE executors SET maintenance_at = $1 WHERE name = $2";
    /// Whoever gives out a job of a limited queue does so alone.
    LOCK in sqlite = "SELECT 1 WHERE $1 IS NOT NULL",
         in postgres = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtextextended($1, 1))) AS locked";
    RUNNING = "SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE queue = $1 AND state = 'processing' LIMIT $2) AS running";
}

/// Those of `queues` that run as many jobs as they may. Without a lock: it may have changed by the time it is told.
pub(super) async fn full(store: &SqlStore, queues: BTreeSet<&str>) -> Result<BTreeSet<String>, StoreError> {
    let limits = queues.into_iter().filter_map(|queue| Some((queue, store.lanes.max_running(queue)?)));
    let limits: Vec<(&str, i64)> = limits.collect();
    let mut full = BTreeSet::new();
    if !limits.is_empty() {
        let mut lookup = store.database.lookup().await?;
        for (queue, limit) in limits {
            if running(&mut lookup, queue, limit).await? >= limit {
                full.insert(queue.to_owned());
            }
        }
    }
    Ok(full)
}

/// How many jobs of each of these queues may be given out in this transaction, up to `most`.
pub(super) async fn room<'q>(
    store: &SqlStore,
    write: &mut Write<'_>,
    queues: BTreeSet<&'q str>,
    most: usize,
) -> Result<BTreeMap<&'q str, usize>, StoreError> {
    let mut room = BTreeMap::new();
    // In one order, so that nobody waits in a circle.
    for queue in queues {
        let Some(limit) = store.lanes.max_running(queue) else {
            room.insert(queue, most);
            continue;
        };
        write.query(LOCK).bind(queue).execute().await?;
        let left = limit - running(write, queue, limit).await?;
        room.insert(queue, usize::try_from(left).unwrap_or_default().min(most));
    }
    Ok(room)
}

/// How many jobs of `queue` run, up to `most`.
async fn running(session: &mut Session, queue: &str, most: i64) -> Result<i64, StoreError> {
    let (running,): (i64,) = session.query(RUNNING).bind(queue).bind(most).one().await?;
    Ok(running)
}

pub(super) async fn set_rules(store: &SqlStore, queue: &str, rules: QueueRules) -> Result<(), StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let set =
        write.query(SET).bind(queue).bind(rules.paused_at.map(micros)).bind(rules.max_running.map(i64::from));
    set.execute().await?;
    write.tell(News::Rules);
    store.commit(write).await
}

pub(super) async fn get(store: &SqlStore, queue: &str) -> Result<QueueRow, StoreError> {
    let row = || format!("queue {queue:?}");
    let time = |micros: Option<i64>| micros.map(|micros| timestamp(micros, row)).transpose();
    let mut lookup = store.database.lookup().await?;
    let rules: Option<(Option<i64>, Option<i64>)> = lookup.query(GET).bind(queue).optional().await?;
    let (paused_at, max_running) = rules.unwrap_or_default();
    let (queued, held, running, errored, oldest): (i64, i64, i64, i64, Option<i64>) =
        lookup.query(COUNTS).bind(queue).one().await?;
    Ok(QueueRow {
        name: queue.to_owned(),
        rules: QueueRules {
            paused_at: time(paused_at)?,
            max_running: max_running.and_then(|limit| u32::try_from(limit).ok()),
        },
        queued: queued.unsigned_abs(),
        held: held.unsigned_abs(),
        running: running.unsigned_abs(),
        errored: errored.unsigned_abs(),
        oldest_queued_at: time(oldest)?,
    })
}

/// Since when `executor` is given nothing; `None`: it is given jobs again.
pub(super) async fn set_maintenance(
    store: &SqlStore,
    executor: &str,
    since: Option<Timestamp>,
) -> Result<(), StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    if write.query(MAINTENANCE).bind(since.map(micros)).bind(executor).execute().await? == 0 {
        return Err(StoreError::UnknownExecutor(executor.to_owned()));
    }
    write.tell(News::Rules);
    store.commit(write).await
}
