//! Giving jobs to executors.

use super::SqliteStore;
use super::database::{Durability, Write};
use super::job_rows;
use super::life::{Circumstances, Grant, Life};
use super::secrets;
use super::statements::statements;
use super::token;
use super::values::micros;
use crate::error::StoreError;
use crate::model::{Change, Claimed, JobRow};
use jiff::{SignedDuration, Timestamp};
use jobs::{EndReason, Event, JobId, JobSpec, Lease};
use sqlx::SqliteConnection;
use std::collections::BTreeMap;
use std::time::Duration;

statements! {
    OLDEST_QUEUED = "SELECT id FROM jobs WHERE state = 'queued' AND queue = ? ORDER BY id LIMIT 1";
    /// Others come before the executor that had it last.
    OLDEST_TO_RETRY = "SELECT id FROM jobs WHERE state = 'errored' AND queue = ?1 \
                       AND retry_at <= CASE WHEN executor = ?4 THEN ?3 ELSE ?2 END ORDER BY id LIMIT 1";
}

/// What a job is told that can't be given to anybody.
const UNREADABLE: &str = "the stored job can't be read: it was damaged, or written by another version";

pub(super) async fn claim(
    store: &SqliteStore,
    queues: &[String],
    executor: &str,
    lease: Duration,
) -> Result<Option<Claimed>, StoreError> {
    let asking = Asking::new(store, queues, executor);
    let now = asking.now;
    // Idle executors ask all the time: they must not queue up with those that have something to write.
    let mut reader = store.database.readers().acquire().await?;
    if asking.oldest(&mut reader).await?.is_none() {
        return Ok(None);
    }
    drop(reader);
    loop {
        let mut write = store.database.write(Durability::PowerLoss).await?;
        let Some(id) = asking.oldest(&mut write).await? else { return Ok(None) };
        let token = token::generate()?;
        let event = Event::Claim { executor: executor.to_owned() };
        let grant = Some(Grant { token: &token, lease });
        let with = Circumstances { now, retry: store.retry, message: None, grant };
        let life = Life::load(&mut write, id).await?.advance(&mut write, event, with).await?;
        match contents(&mut write, id).await {
            Ok((job, spec, secrets)) => {
                write.commit().await?;
                store.announce(Change::Job(id));
                return Ok(Some(Claimed { job, spec, secrets, token }));
            }
            // Left where it is, it would be found again by every claim, and block its queue for good.
            Err(StoreError::Corrupt { .. }) => fail_unreadable(store, write, life, executor, now).await?,
            Err(error) => return Err(error),
        }
    }
}

async fn contents(
    write: &mut Write<'_>,
    id: JobId,
) -> Result<(JobRow, JobSpec, BTreeMap<String, String>), StoreError> {
    let job = job_rows::load(write, id).await?;
    Ok((job, job_rows::load_spec(write, id).await?, secrets::load(write, id).await?))
}

async fn fail_unreadable(
    store: &SqliteStore,
    mut write: Write<'_>,
    life: Life,
    executor: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let id = life.id;
    let lease = Lease { epoch: life.record.epoch, executor: executor.to_owned() };
    let with = Circumstances { now, retry: store.retry, message: Some(UNREADABLE), grant: None };
    life.advance(&mut write, Event::Fail(lease, EndReason::BadJob), with).await?;
    write.commit().await?;
    tracing::error!(job = id.0, "failed a job that can't be read back");
    store.announce(Change::Job(id));
    Ok(())
}

/// Who asks for a job, and when.
struct Asking<'a> {
    queues: &'a [String],
    executor: &'a str,
    now: Timestamp,
    /// What its own latest jobs may be tried again from has to be this long ago.
    own: Timestamp,
}

impl<'a> Asking<'a> {
    fn new(store: &SqliteStore, queues: &'a [String], executor: &'a str) -> Self {
        let now = store.clock.now();
        let later = SignedDuration::try_from(store.retry.same_executor_later).unwrap_or(SignedDuration::MAX);
        let own = now.saturating_sub(later).unwrap_or(Timestamp::MIN);
        Self { queues, executor, now, own }
    }

    /// The job with the smallest id that may be claimed.
    async fn oldest(&self, connection: &mut SqliteConnection) -> Result<Option<JobId>, StoreError> {
        let mut oldest: Option<i64> = None;
        for queue in self.queues {
            let queued: Option<i64> =
                sqlx::query_scalar(OLDEST_QUEUED).bind(queue).fetch_optional(&mut *connection).await?;
            let to_retry: Option<i64> = sqlx::query_scalar(OLDEST_TO_RETRY)
                .bind(queue)
                .bind(micros(self.now))
                .bind(micros(self.own))
                .bind(self.executor)
                .fetch_optional(&mut *connection)
                .await?;
            oldest = [oldest, queued, to_retry].into_iter().flatten().min();
        }
        Ok(oldest.map(JobId))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::database::Database;
    use sqlx::{AssertSqlSafe, Row};

    const FILL: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
                        INSERT INTO jobs (queue, repository, commit_id, queued_at, state, finished_at) \
                        SELECT 'batches', '', '', 0, ?, 0 FROM n";

    /// Both looks walk an index in the order they want, and so stop at the first row.
    #[tokio::test]
    async fn a_long_queue_is_not_searched() {
        let (_dir, database) = Database::temporary().await;
        let mut write = database.write(Durability::Crash).await.unwrap();
        for state in ["queued", "errored", "completed"] {
            sqlx::query(FILL).bind(state).execute(&mut *write).await.unwrap();
        }
        sqlx::query("ANALYZE").execute(&mut *write).await.unwrap();
        for (statement, index) in [(OLDEST_QUEUED, "jobs_queued"), (OLDEST_TO_RETRY, "jobs_errored")] {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let mut query = sqlx::query(explain).bind("batches");
            if statement == OLDEST_TO_RETRY {
                query = query.bind(0).bind(0).bind("exec-1");
            }
            let plan = query.fetch_all(&mut *write).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            let expect = format!("SEARCH jobs USING COVERING INDEX {index} (queue=?)");
            assert_eq!(plan, [expect], "{statement}");
        }
    }
}
