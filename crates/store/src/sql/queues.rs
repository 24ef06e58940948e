//! What operators say of queues and executors.

use super::SqlStore;
use super::database::{Durability, Write};
use super::news::News;
use super::session::Session;
use super::statements::statements;
use super::values::{micros, timestamp};
use crate::error::StoreError;
use crate::model::{EndedRow, QueueChange, QueueRow, QueueRules};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// When a job can have been queued that one can read of: from 1970 until the year 9999, in microseconds.
macro_rules! readable {
    () => {
        "BETWEEN 0 AND 253402207200999999"
    };
}
/// What a queue holds, each number up to a limit: jobs that wait, of them those that are held, jobs that run, and jobs that
/// are to be tried again; of those that are next in their lanes, when the one was queued that waits for longest, and how many
/// have no such time that can be read.
macro_rules! counts {
    ($queued:literal) => {
        concat!(
            "SELECT COALESCE(",
            $queued,
            ", 0), \
             (SELECT COUNT(*) FROM (SELECT 1 FROM lanes JOIN jobs ON jobs.lane = lanes.id WHERE lanes.queue = $1 \
                 AND jobs.state = 'queued' AND jobs.held IS NOT NULL LIMIT $2) AS held), \
             (SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE queue = $1 AND state = 'processing' LIMIT $2) AS running), \
             (SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE queue = $1 AND state = 'errored' LIMIT $2) AS errored), \
             MIN(CASE WHEN at ",
            readable!(),
            " THEN at END), COALESCE(SUM(CASE WHEN at NOT ",
            readable!(),
            " THEN 1 END), 0) \
             FROM (SELECT (SELECT queued_at FROM jobs WHERE lane = lanes.id AND state = 'queued' AND held IS NULL \
                 ORDER BY rank, id LIMIT 1) AS at FROM lanes WHERE queue = $1) AS next"
        )
    };
}
statements! {
    /// What is not said stays; it stays paused since when it was.
    CHANGE = "INSERT INTO queues (name, paused_at, max_running) \
              VALUES ($1, CASE WHEN $2 = 1 THEN CAST($3 AS BIGINT) END, NULLIF(CAST($4 AS BIGINT), 0)) \
              ON CONFLICT (name) DO UPDATE SET paused_at = CASE WHEN $2 = 1 THEN COALESCE(queues.paused_at, $3) \
                  WHEN $2 = 0 THEN NULL ELSE queues.paused_at END, \
              max_running = CASE WHEN $4 IS NULL THEN queues.max_running ELSE NULLIF($4, 0) END";
    GET = "SELECT paused_at, max_running FROM queues WHERE name = $1";
    COUNTS in sqlite = counts!("(SELECT MIN(queued, $2) FROM queue_lengths WHERE queue = $1)"),
           in postgres = counts!(
               "(SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE queue = $1 AND state = 'queued' LIMIT $2) AS queued)"
           );
    /// Nobody ever had one without an epoch. Such jobs are looked at all the same, as there may be any number of them.
    ENDED = "SELECT queue, state, COUNT(*) FROM (SELECT queue, state, epoch FROM jobs \
             WHERE state IN ('completed', 'failed', 'canceled') AND finished_at >= $1 LIMIT $2) AS ended \
             WHERE epoch > 0 GROUP BY queue, state ORDER BY queue, state";
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

pub(super) async fn change(store: &SqlStore, queue: &str, change: QueueChange) -> Result<(), StoreError> {
    if change == QueueChange::default() {
        return Ok(());
    }
    let mut write = store.database.write(Durability::PowerLoss).await?;
    write
        .query(CHANGE)
        .bind(queue)
        .bind(change.paused.map(i64::from))
        .bind(micros(store.clock.now()))
        .bind(change.max_running.map(i64::from))
        .execute()
        .await?;
    write.tell(News::Rules);
    store.commit(write).await
}

pub(super) async fn get(store: &SqlStore, queue: &str, most: u64) -> Result<QueueRow, StoreError> {
    let row = || format!("queue {queue:?}");
    let mut lookup = store.database.lookup().await?;
    let rules: Option<(Option<i64>, Option<i64>)> = lookup.query(GET).bind(queue).optional().await?;
    let (paused_at, max_running) = rules.unwrap_or_default();
    let (queued, held, running, errored, oldest, unreadable): (i64, i64, i64, i64, Option<i64>, i64) =
        lookup.query(COUNTS).bind(queue).bind(i64::try_from(most).unwrap_or(i64::MAX)).one().await?;
    let mut unreadable = unreadable.unsigned_abs();
    let mut time = |micros: i64| {
        timestamp(micros, row).unwrap_or_else(|_| {
            unreadable += 1;
            Timestamp::UNIX_EPOCH
        })
    };
    // It is paused all the same.
    let paused_at = paused_at.map(&mut time);
    let oldest_queued_at = oldest.map(&mut time);
    Ok(QueueRow {
        name: queue.to_owned(),
        rules: QueueRules { paused_at, max_running: max_running.and_then(|limit| u32::try_from(limit).ok()) },
        queued: queued.unsigned_abs(),
        held: held.unsigned_abs(),
        running: running.unsigned_abs(),
        errored: errored.unsigned_abs(),
        oldest_queued_at,
        unreadable,
    })
}

pub(super) async fn ended_since(
    store: &SqlStore,
    since: Timestamp,
    most: u64,
) -> Result<Vec<EndedRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows: Vec<(String, String, i64)> = lookup.query(ENDED).bind(micros(since)).bind(most).all().await?;
    let read = |(queue, state, count): (String, String, i64)| {
        let state = state.parse().map_err(|_| StoreError::corrupt(format!("jobs of {queue:?}"), "state"))?;
        Ok(EndedRow { queue, state, count: count.unsigned_abs() })
    };
    rows.into_iter().map(read).collect()
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
