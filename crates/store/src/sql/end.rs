//! How jobs and their tries end: well, badly, by order, because their executor fell silent, or because it
//! never heard of them.

use super::SqlStore;
use super::database::{Durability, Write};
use super::decided;
use super::job_rows::{self, Loaded};
use super::life::Circumstances;
use super::session::Session;
use super::shared_time;
use super::statements::statements;
use super::values::{micros, span};
use crate::error::StoreError;
use crate::model::{Finish, JobRow};
use jobs::{Canceler, Event, JobId, Judgement, Lease, Rejected};
use std::collections::HashMap;

/// Bytes kept of what an executor says went wrong.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Stalled jobs that are reset in one transaction: everybody else waits for its end.
const MAX_RESET_AT_ONCE: i64 = 200;
/// The words that existing tools know.
const GAVE_UP: &str = "job processor died while handling this message too many times";

statements! {
    /// As [`Judgement::is_over`] has it of leases as [`jobs::counted`] has them.
    STALLED in sqlite = "SELECT id FROM jobs INDEXED BY jobs_lease_ends \
                         WHERE state = 'processing' AND last_heartbeat_at + lease < $1 \
                         AND last_heartbeat_at + lease + max(0, $4 - lease / $5) < $1 \
                         AND lease + max(0, $4 - lease / $5) <= $2 \
                         ORDER BY last_heartbeat_at + lease, id LIMIT $3",
            in postgres = "SELECT id FROM jobs \
                           WHERE state = 'processing' AND last_heartbeat_at + lease < $1 \
                           AND last_heartbeat_at + lease + GREATEST(0, $4 - lease / $5) < $1 \
                           AND lease + GREATEST(0, $4 - lease / $5) <= $2 \
                           ORDER BY last_heartbeat_at + lease, id LIMIT $3";
}

/// Which job is to end, whose it is, and how it ended.
pub(super) type End = (JobId, Lease, Finish);

pub(super) async fn finish(
    store: &SqlStore,
    id: JobId,
    lease: &Lease,
    finish: Finish,
) -> Result<JobRow, StoreError> {
    let finished = store.ends.call((id, lease.clone(), finish), |ends| finish_each(store, ends)).await;
    finished.unwrap_or_else(|| Err(StoreError::stopped()))
}

/// All in one transaction, or else each in one of its own, so that what is wrong with one is nothing to the others.
async fn finish_each(store: &SqlStore, ends: Vec<End>) -> Vec<Result<JobRow, StoreError>> {
    if ends.len() > 1
        && let Ok(finished) = finish_all(store, ends.clone()).await
    {
        return finished;
    }
    let mut finished = Vec::with_capacity(ends.len());
    for end in ends {
        let (id, alone) = (end.0, finish_all(store, vec![end]).await);
        let alone = alone.and_then(|mut alone| alone.pop().unwrap_or(Err(StoreError::UnknownJob(id))));
        finished.push(alone);
    }
    finished
}

/// Each by itself: that one is refused is nothing to the others.
pub(super) async fn finish_all(
    store: &SqlStore,
    ends: Vec<End>,
) -> Result<Vec<Result<JobRow, StoreError>>, StoreError> {
    // Whatever of the logs is still being written goes before; nothing comes after.
    let mut quiet = Vec::with_capacity(ends.len());
    let mut tries: Vec<(JobId, u32)> = ends.iter().map(|(id, lease, _)| (*id, lease.epoch)).collect();
    tries.sort_unstable();
    tries.dedup();
    for (id, epoch) in &tries {
        quiet.push(store.logs.hold(*id, *epoch).await);
    }
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let finished = decide_and_store(store, &mut write, ends).await;
    let finished = store.settle(write, finished).await?;
    drop(quiet);
    for job in finished.iter().flatten() {
        store.logs.forget(job.id, job.record.epoch);
    }
    Ok(finished)
}

async fn decide_and_store(
    store: &SqlStore,
    write: &mut Write<'_>,
    ends: Vec<End>,
) -> Result<Vec<Result<JobRow, StoreError>>, StoreError> {
    let ids: Vec<JobId> = ends.iter().map(|(id, ..)| *id).collect();
    let mut loaded = HashMap::new();
    for job in job_rows::load_all(write, &ids).await? {
        let job = job?;
        loaded.insert(job.life.id, job);
    }
    let now = store.clock.now();
    let (mut decided, mut finished) = (Vec::with_capacity(ends.len()), Vec::with_capacity(ends.len()));
    for (id, lease, finish) in ends {
        // One that comes twice has ended by the first.
        let Some(Loaded { life, fixed }) = loaded.remove(&id) else {
            let twice = ids.iter().filter(|other| **other == id).count() > 1;
            let fault = if twice { Rejected::LeaseLost.into() } else { StoreError::UnknownJob(id) };
            finished.push(Err(fault));
            continue;
        };
        let (event, message) = match finish {
            Finish::Complete => (Event::Complete(lease), None),
            Finish::Error { reason, message } => (Event::Error(lease, reason), Some(message)),
            Finish::Fail { reason, message } => (Event::Fail(lease, reason), Some(message)),
        };
        let message = message.map(|message| capped(&message));
        let with = Circumstances { now, retry: store.retry, message: message.as_deref(), grant: None };
        finished.push(life.decide(event, &with).and_then(|end| {
            let row = fixed.row_of(end.life.clone());
            decided.push(end);
            row
        }));
    }
    decided::store_all(store, write, &decided).await?;
    Ok(finished)
}

pub(super) async fn release(store: &SqlStore, id: JobId, lease: &Lease) -> Result<JobRow, StoreError> {
    let job = apply(store, id, Event::Release(lease.clone()), Some(GAVE_UP)).await?;
    store.logs.forget(id, lease.epoch);
    Ok(job)
}

pub(super) async fn cancel(store: &SqlStore, id: JobId, canceler: Canceler) -> Result<JobRow, StoreError> {
    apply(store, id, Event::Cancel(canceler), None).await
}

async fn apply(
    store: &SqlStore,
    id: JobId,
    event: Event,
    message: Option<&str>,
) -> Result<JobRow, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let applied = advance(store, &mut write, id, event, message).await;
    store.settle(write, applied).await
}

async fn advance(
    store: &SqlStore,
    write: &mut Write<'_>,
    id: JobId,
    event: Event,
    message: Option<&str>,
) -> Result<JobRow, StoreError> {
    let Loaded { life, fixed } = job_rows::load_to_change(write, id).await?;
    // That it was given up is not said of a job that somebody stopped.
    let gave_up = matches!(event, Event::Release(_)) && life.record.cancel_requested();
    let message = message.filter(|_| !gave_up);
    let with = Circumstances { now: store.clock.now(), retry: store.retry, message, grant: None };
    let decided = life.decide(event, &with)?;
    decided::store_all(store, write, std::slice::from_ref(&decided)).await?;
    fixed.row_of(decided.life)
}

pub(super) async fn reset_stalled(store: &SqlStore, at: Judgement) -> Result<Vec<JobRow>, StoreError> {
    let mut reset = Vec::new();
    // The usual answer is "none": it costs the writers nothing.
    while !stalled(store, &mut store.database.lookup().await?, at).await?.is_empty() {
        let batch = reset_batch(store, at).await?;
        for job in &batch {
            store.logs.forget(job.id, job.record.epoch);
        }
        reset.extend(batch);
    }
    Ok(reset)
}

async fn reset_batch(store: &SqlStore, at: Judgement) -> Result<Vec<JobRow>, StoreError> {
    let now = store.clock.now();
    let mut reset = Vec::new();
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let stalled = stalled(store, &mut write, at).await?;
    let mut decided = Vec::new();
    for job in job_rows::load_all(&mut write, &stalled).await? {
        let Loaded { life, fixed } = job?;
        // Where several write at once, it may just have been heard of, or have ended.
        if !life.is_over(at, store.clock.tolerance()) {
            continue;
        }
        let event = Event::Stall { epoch: life.record.epoch, lease: life.lease() };
        let message = (!life.record.cancel_requested()).then_some(GAVE_UP);
        let with = Circumstances { now, retry: store.retry, message, grant: None };
        let stall = life.decide(event, &with)?;
        // One that can't be told in full is told by the look-up itself; the others are not to suffer from it.
        reset.extend(fixed.row_of(stall.life.clone()).ok());
        decided.push(stall);
    }
    // After those were loaded: whoever renewed one in another era told of that era first.
    shared_time::check_judge(store, &mut write, at).await?;
    decided::store_all(store, &mut write, &decided).await?;
    store.commit(write).await?;
    Ok(reset)
}

async fn stalled(store: &SqlStore, session: &mut Session, at: Judgement) -> Result<Vec<JobId>, StoreError> {
    let (now, attentive) = (micros(at.now), micros(at.attentive_since));
    let stalled = session.query(STALLED).bind(now).bind(now - attentive).bind(MAX_RESET_AT_ONCE);
    let stalled = stalled.bind(span(store.clock.tolerance())).bind(i64::from(jobs::TOLERATED_PART));
    Ok(stalled.all::<(i64,)>().await?.into_iter().map(|(id,)| JobId(id)).collect())
}

/// A message, or the beginning of one that is too long. PostgreSQL's texts have no NUL.
fn capped(message: &str) -> String {
    let fits = |end: &usize| *end <= MAX_MESSAGE_BYTES;
    let ends = message.char_indices().map(|(start, character)| start + character.len_utf8());
    let end = ends.take_while(fits).last().unwrap_or(0);
    message[..end].replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::database::SqliteFile;
    use sqlx::{AssertSqlSafe, Row};

    /// The look that is made all the time walks an index in the order of leases' ends.
    #[tokio::test]
    async fn the_many_that_run_are_not_searched_for_the_few_that_are_lost() {
        let (_dir, database) = SqliteFile::temporary().await;
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", STALLED.sqlite));
        let query = sqlx::query(explain).bind(0).bind(0).bind(0).bind(0).bind(1);
        let plan = query.fetch_all(&mut *database.raw().await).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        assert_eq!(plan, ["SEARCH jobs USING INDEX jobs_lease_ends (<expr><?)"]);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(capped("short"), "short");
        assert_eq!(capped("a\0b"), "a\u{fffd}b");
        let long = format!("x{}", "ä".repeat(MAX_MESSAGE_BYTES));
        assert_eq!(capped(&long).len(), MAX_MESSAGE_BYTES - 1);
    }
}
