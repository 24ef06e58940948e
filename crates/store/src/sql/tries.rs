//! How earlier tries of a job ended.

use super::SqlStore;
use super::database::Durability;
use super::life::{Circumstances, Life};
use super::session::Session;
use super::statements::statements;
use super::token;
use super::values::{from_json, job_name, micros, small, timestamp, to_json};
use crate::error::StoreError;
use crate::model::TryRow;
use jobs::{JobId, Outcome, State};

/// Tries in one answer at most: the budgets of a job allow fewer.
const MAX_LISTED: i64 = 200;
/// Late calls of a try that are counted at most: whoever goes on calling writes nothing more.
const MAX_LATE_CALLS: i64 = 1_000;

statements! {
    ADD = "INSERT INTO earlier_tries (job, epoch, executor, started_at, ended_at, end_detail, message, token_hash) \
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    LIST = "SELECT epoch, executor, started_at, ended_at, end_detail, message, late_calls FROM earlier_tries \
            WHERE job = $1 ORDER BY epoch LIMIT $2";
    BY_TOKEN = "SELECT job, epoch, late_calls FROM earlier_tries WHERE token_hash = $1";
    NOTE_LATE = "UPDATE earlier_tries SET late_calls = late_calls + 1 WHERE job = $1 AND epoch = $2";
}

/// A try, as it comes out of the database.
type Found = (i64, Option<String>, Option<i64>, i64, String, Option<String>, i64);

/// A try that another one may follow.
#[derive(Debug)]
pub(super) struct Ended {
    row: TryRow,
    /// Of the token that its executor may still show, if the job was taken back rather than given back.
    token_hash: Option<Vec<u8>>,
}

/// The try that `outcome` ends, if another one may follow: then the job itself will soon say nothing of it.
pub(super) fn earlier(life: &Life, outcome: &Outcome, with: &Circumstances<'_>) -> Option<Ended> {
    let state = outcome.record.state;
    if life.record.state != State::Processing || state == State::Processing || state.is_terminal() {
        return None;
    }
    // Where its executor did not say that it failed, it goes straight back into the queue.
    let taken_back = state == State::Queued;
    let row = TryRow {
        epoch: life.record.epoch,
        executor: life.record.executor.clone(),
        started_at: life.started_at,
        ended_at: with.now,
        end: outcome.reason.as_ref()?.detail(),
        // The message is about a job that does not.
        message: with.message.filter(|_| !taken_back).map(str::to_owned),
        late_calls: 0,
    };
    Some(Ended { row, token_hash: life.token_hash.clone().filter(|_| taken_back) })
}

/// Keeps one, within a transaction.
pub(super) async fn add(session: &mut Session, job: JobId, ended: &Ended) -> Result<(), StoreError> {
    let Ended { row: ended, token_hash } = ended;
    session
        .query(ADD)
        .bind(job.0)
        .bind(i64::from(ended.epoch))
        .bind(ended.executor.as_deref())
        .bind(ended.started_at.map(micros))
        .bind(micros(ended.ended_at))
        .bind(to_json(&ended.end)?)
        .bind(ended.message.as_deref())
        .bind(token_hash.clone())
        .execute()
        .await?;
    Ok(())
}

pub(super) async fn list(store: &SqlStore, job: JobId) -> Result<Vec<TryRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let found: Vec<Found> = lookup.query(LIST).bind(job.0).bind(MAX_LISTED).all().await?;
    let read = |(epoch, executor, started_at, ended_at, end, message, late_calls): Found| {
        let name = || job_name(job);
        Ok(TryRow {
            epoch: small(epoch, "epoch", name)?,
            executor,
            started_at: started_at.map(|micros| timestamp(micros, name)).transpose()?,
            ended_at: timestamp(ended_at, name)?,
            end: from_json(&end, "end of a try", name)?,
            message,
            late_calls: small(late_calls, "late calls", name)?,
        })
    };
    found.into_iter().map(read).collect()
}

/// Notes a call with the token of a try whose job was taken back; says which try that was. `None`: the token is none.
pub(super) async fn note_late_call(
    store: &SqlStore,
    token: &str,
) -> Result<Option<(JobId, u32)>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let found: Option<(i64, i64, i64)> = lookup.query(BY_TOKEN).bind(token::hash(token)).optional().await?;
    drop(lookup);
    let Some((job, epoch, counted)) = found else { return Ok(None) };
    if counted < MAX_LATE_CALLS {
        let mut write = store.database.write(Durability::Crash).await?;
        write.query(NOTE_LATE).bind(job).bind(epoch).execute().await?;
        store.commit(write).await?;
    }
    let job = JobId(job);
    Ok(Some((job, small(epoch, "epoch", || job_name(job))?)))
}
