//! What operators say of queues and executors.

use super::SqlStore;
use super::database::{Durability, Write};
use super::news::News;
use super::statements::statements;
use super::values::{micros, timestamp};
use crate::error::StoreError;
use crate::model::{QueueRow, QueueRules};
use jiff::Timestamp;

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

/// How many jobs of `queue` may be given out in this transaction, up to `most`.
pub(super) async fn room(
    store: &SqlStore,
    write: &mut Write<'_>,
    queue: &str,
    most: usize,
) -> Result<usize, StoreError> {
    let Some(limit) = store.lanes.max_running(queue) else { return Ok(most) };
    write.query(LOCK).bind(queue).execute().await?;
    let (running,): (i64,) = write.query(RUNNING).bind(queue).bind(limit).one().await?;
    Ok(usize::try_from(limit - running).unwrap_or_default().min(most))
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
