//! Giving jobs to executors.

use super::SqlStore;
use super::database::{Durability, Write};
use super::job_rows;
use super::life::{Circumstances, Grant, Life};
use super::secrets;
use super::session::{Query, Session, Sql};
use super::statements::statements;
use super::token;
use super::values::micros;
use crate::error::StoreError;
use crate::model::{Change, Claimed, JobRow};
use jiff::{SignedDuration, Timestamp};
use jobs::{EndReason, Event, JobId, JobSpec, Lease};
use std::collections::BTreeMap;
use std::time::Duration;

macro_rules! oldest_queued {
    () => {
        "SELECT id FROM jobs WHERE state = 'queued' AND queue = $1 ORDER BY id LIMIT 1"
    };
}

macro_rules! oldest_to_retry {
    () => {
        "SELECT id FROM jobs WHERE state = 'errored' AND queue = $1 \
         AND retry_at <= CASE WHEN executor = $4 THEN CAST($3 AS BIGINT) ELSE $2 END ORDER BY id LIMIT 1"
    };
}

statements! {
    OLDEST_QUEUED = oldest_queued!();
    /// Others come before the executor that had it last.
    OLDEST_TO_RETRY = oldest_to_retry!();
    /// The same, and what others are just taking is stepped over: nobody waits for anybody.
    TAKE_QUEUED in sqlite = oldest_queued!(), in postgres = concat!(oldest_queued!(), " FOR UPDATE SKIP LOCKED");
    TAKE_TO_RETRY in sqlite = oldest_to_retry!(),
                  in postgres = concat!(oldest_to_retry!(), " FOR UPDATE SKIP LOCKED");
}

/// What a job is told that can't be given to anybody.
const UNREADABLE: &str = "the stored job can't be read: it was damaged, or written by another version";

pub(super) async fn claim(
    store: &SqlStore,
    queues: &[String],
    executor: &str,
    lease: Duration,
) -> Result<Option<Claimed>, StoreError> {
    let asking = Asking::new(store, queues, executor);
    let now = asking.now;
    // Idle executors ask all the time: they must not queue up with those that have something to write.
    if asking.places(&mut store.database.lookup().await?).await?.is_empty() {
        return Ok(None);
    }
    loop {
        let mut write = store.database.write(Durability::PowerLoss).await?;
        let Some(id) = asking.take(&mut write).await? else { return Ok(None) };
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
    store: &SqlStore,
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
    fn new(store: &SqlStore, queues: &'a [String], executor: &'a str) -> Self {
        let now = store.clock.now();
        let later = SignedDuration::try_from(store.retry.same_executor_later).unwrap_or(SignedDuration::MAX);
        let own = now.saturating_sub(later).unwrap_or(Timestamp::MIN);
        Self { queues, executor, now, own }
    }

    /// Where there are jobs that may be claimed, the oldest first.
    async fn places(&self, session: &mut Session) -> Result<Vec<Place<'a>>, StoreError> {
        let mut found = Vec::new();
        for queue in self.queues {
            for kind in [Kind::Queued, Kind::ToRetry] {
                let place = Place { queue, kind };
                if let Some((id,)) = self.ask(session, &place, kind.look()).optional::<(i64,)>().await? {
                    found.push((id, place));
                }
            }
        }
        found.sort_unstable_by_key(|(id, _)| *id);
        Ok(found.into_iter().map(|(_, place)| place).collect())
    }

    /// The job with the smallest id that may be claimed, and that nobody else is just taking.
    async fn take(&self, write: &mut Write<'_>) -> Result<Option<JobId>, StoreError> {
        for place in self.places(write).await? {
            if let Some((id,)) = self.ask(write, &place, place.kind.take()).optional().await? {
                return Ok(Some(JobId(id)));
            }
        }
        Ok(None)
    }

    fn ask<'c>(&self, session: &'c mut Session, place: &Place<'_>, sql: Sql) -> Query<'c> {
        let asked = session.query(sql).bind(place.queue);
        match place.kind {
            Kind::Queued => asked,
            Kind::ToRetry => asked.bind(micros(self.now)).bind(micros(self.own)).bind(self.executor),
        }
    }
}

/// Some jobs of a queue, of which one may be claimed.
struct Place<'a> {
    queue: &'a str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Queued,
    ToRetry,
}

impl Kind {
    const fn look(self) -> Sql {
        match self {
            Self::Queued => OLDEST_QUEUED,
            Self::ToRetry => OLDEST_TO_RETRY,
        }
    }

    const fn take(self) -> Sql {
        match self {
            Self::Queued => TAKE_QUEUED,
            Self::ToRetry => TAKE_TO_RETRY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::database::SqliteFile;
    use sqlx::{AssertSqlSafe, Row};

    const FILL: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
                        INSERT INTO jobs (queue, repository, commit_id, queued_at, state, finished_at) \
                        SELECT 'batches', '', '', 0, ?, 0 FROM n";

    /// Both looks walk an index in the order they want, and so stop at the first row.
    #[tokio::test]
    async fn a_long_queue_is_not_searched() {
        let (_dir, database) = SqliteFile::temporary().await;
        let mut connection = database.raw().await;
        for state in ["queued", "errored", "completed"] {
            sqlx::query(FILL).bind(state).execute(&mut *connection).await.unwrap();
        }
        sqlx::query("ANALYZE").execute(&mut *connection).await.unwrap();
        for (kind, index) in [(Kind::Queued, "jobs_queued"), (Kind::ToRetry, "jobs_errored")] {
            let statement = kind.look().sqlite;
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let mut query = sqlx::query(explain).bind("batches");
            if let Kind::ToRetry = kind {
                query = query.bind(0).bind(0).bind("exec-1");
            }
            let plan = query.fetch_all(&mut *connection).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            let expect = format!("SEARCH jobs USING COVERING INDEX {index} (queue=?)");
            assert_eq!(plan, [expect], "{statement}");
        }
    }
}
