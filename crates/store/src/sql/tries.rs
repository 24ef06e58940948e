//! How earlier tries of a job ended.

use super::SqlStore;
use super::life::{Circumstances, Life};
use super::session::Session;
use super::statements::statements;
use super::values::{from_json, job_name, micros, small, timestamp, to_json};
use crate::error::StoreError;
use crate::model::TryRow;
use jobs::{JobId, Outcome, State};

/// Tries in one answer at most: the budgets of a job allow fewer.
const MAX_LISTED: i64 = 200;

statements! {
    ADD = "INSERT INTO earlier_tries (job, epoch, executor, started_at, ended_at, end_detail, message) \
           VALUES ($1, $2, $3, $4, $5, $6, $7)";
    LIST = "SELECT epoch, executor, started_at, ended_at, end_detail, message FROM earlier_tries \
            WHERE job = $1 ORDER BY epoch LIMIT $2";
}

/// A try, as it comes out of the database.
type Found = (i64, Option<String>, Option<i64>, i64, String, Option<String>);

/// The try that `outcome` ends, if another one may follow: then the job itself will soon say nothing of it.
pub(super) fn earlier(life: &Life, outcome: &Outcome, with: &Circumstances<'_>) -> Option<TryRow> {
    let state = outcome.record.state;
    if life.record.state != State::Processing || state == State::Processing || state.is_terminal() {
        return None;
    }
    Some(TryRow {
        epoch: life.record.epoch,
        executor: life.record.executor.clone(),
        started_at: life.started_at,
        ended_at: with.now,
        end: outcome.reason.as_ref()?.detail(),
        // Where it goes straight back into the queue, the message is about a job that does not.
        message: with.message.filter(|_| state == State::Errored).map(str::to_owned),
    })
}

/// Keeps one, within a transaction.
pub(super) async fn add(session: &mut Session, job: JobId, ended: &TryRow) -> Result<(), StoreError> {
    session
        .query(ADD)
        .bind(job.0)
        .bind(i64::from(ended.epoch))
        .bind(ended.executor.as_deref())
        .bind(ended.started_at.map(micros))
        .bind(micros(ended.ended_at))
        .bind(to_json(&ended.end)?)
        .bind(ended.message.as_deref())
        .execute()
        .await?;
    Ok(())
}

pub(super) async fn list(store: &SqlStore, job: JobId) -> Result<Vec<TryRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let found: Vec<Found> = lookup.query(LIST).bind(job.0).bind(MAX_LISTED).all().await?;
    let read = |(epoch, executor, started_at, ended_at, end, message): Found| {
        let name = || job_name(job);
        Ok(TryRow {
            epoch: small(epoch, "epoch", name)?,
            executor,
            started_at: started_at.map(|micros| timestamp(micros, name)).transpose()?,
            ended_at: timestamp(ended_at, name)?,
            end: from_json(&end, "end of a try", name)?,
            message,
        })
    };
    found.into_iter().map(read).collect()
}
