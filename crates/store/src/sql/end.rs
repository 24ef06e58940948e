//! How jobs and their tries end: well, badly, by order, because their executor fell silent, or because it
//! never heard of them.

use super::SqlStore;
use super::database::{Durability, Write};
use super::job_rows;
use super::life::{Circumstances, Life};
use super::session::Session;
use super::statements::statements;
use super::values::micros;
use crate::error::StoreError;
use crate::model::{Finish, JobRow};
use jobs::{Canceler, Event, JobId, Judgement, Lease};

/// Bytes kept of what an executor says went wrong.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Stalled jobs that are reset in one transaction: everybody else waits for its end.
const MAX_RESET_AT_ONCE: i64 = 200;
/// The words that existing tools know.
const GAVE_UP: &str = "job processor died while handling this message too many times";

statements! {
    /// As [`Judgement::is_over`] has it.
    STALLED in sqlite = "SELECT id FROM jobs INDEXED BY jobs_lease_ends \
                         WHERE state = 'processing' AND last_heartbeat_at + lease < $1 AND lease <= $2 \
                         ORDER BY last_heartbeat_at + lease, id LIMIT $3",
            in postgres = "SELECT id FROM jobs \
                           WHERE state = 'processing' AND last_heartbeat_at + lease < $1 AND lease <= $2 \
                           ORDER BY last_heartbeat_at + lease, id LIMIT $3";
}

pub(super) async fn finish(
    store: &SqlStore,
    id: JobId,
    lease: &Lease,
    finish: Finish,
) -> Result<JobRow, StoreError> {
    // Whatever of the log is still being written goes before; nothing comes after.
    let quiet = store.logs.hold(id, lease.epoch).await;
    let (event, message) = match finish {
        Finish::Complete => (Event::Complete(lease.clone()), None),
        Finish::Error { reason, message } => (Event::Error(lease.clone(), reason), Some(message)),
        Finish::Fail { reason, message } => (Event::Fail(lease.clone(), reason), Some(message)),
    };
    let message = message.as_deref().map(capped);
    let job = apply(store, id, event, message).await?;
    drop(quiet);
    store.logs.forget(id, lease.epoch);
    Ok(job)
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
    let life = Life::load(write, id).await?;
    // That it was given up is not said of a job that somebody stopped.
    let gave_up = matches!(event, Event::Release(_)) && life.record.cancel_requested();
    let message = message.filter(|_| !gave_up);
    let with = Circumstances { now: store.clock.now(), retry: store.retry, message, grant: None };
    life.advance(write, event, with).await?;
    job_rows::load(write, id).await
}

pub(super) async fn reset_stalled(store: &SqlStore, at: Judgement) -> Result<Vec<JobRow>, StoreError> {
    let mut reset = Vec::new();
    // The usual answer is "none": it costs the writers nothing.
    while !stalled(&mut store.database.lookup().await?, at).await?.is_empty() {
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
    for id in stalled(&mut write, at).await? {
        let life = Life::load(&mut write, id).await?;
        // Where several write at once, it may just have been heard of, or have ended.
        if !life.is_over(at) {
            continue;
        }
        let event = Event::Stall { epoch: life.record.epoch, lease: life.lease() };
        let message = (!life.record.cancel_requested()).then_some(GAVE_UP);
        let with = Circumstances { now, retry: store.retry, message, grant: None };
        life.advance(&mut write, event, with).await?;
        match job_rows::load(&mut write, id).await {
            Ok(job) => reset.push(job),
            // It was told by the look-up itself; the other jobs are not to suffer from it.
            Err(StoreError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    store.commit(write).await?;
    Ok(reset)
}

async fn stalled(session: &mut Session, at: Judgement) -> Result<Vec<JobId>, StoreError> {
    let (now, attentive) = (micros(at.now), micros(at.attentive_since));
    let stalled = session.query(STALLED).bind(now).bind(now - attentive).bind(MAX_RESET_AT_ONCE);
    Ok(stalled.all::<(i64,)>().await?.into_iter().map(|(id,)| JobId(id)).collect())
}

/// The beginning of a message that is too long.
fn capped(message: &str) -> &str {
    let fits = |end: &usize| *end <= MAX_MESSAGE_BYTES;
    let ends = message.char_indices().map(|(start, character)| start + character.len_utf8());
    let end = ends.take_while(fits).last().unwrap_or(0);
    &message[..end]
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
        let query = sqlx::query(explain).bind(0).bind(0).bind(0);
        let plan = query.fetch_all(&mut *database.raw().await).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        assert_eq!(plan, ["SEARCH jobs USING INDEX jobs_lease_ends (<expr><?)"]);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(capped("short"), "short");
        let long = format!("x{}", "ä".repeat(MAX_MESSAGE_BYTES));
        assert_eq!(capped(&long).len(), MAX_MESSAGE_BYTES - 1);
    }
}
