//! Storing what was decided of jobs, of one or of many in the same few statements.

use super::SqlStore;
use super::database::Write;
use super::keys;
use super::life::Life;
use super::news::News;
use super::statements::statements;
use super::values::{micros, to_json};
use super::{secrets, tries};
use crate::error::StoreError;
use jobs::{Rejected, State};
use serde::Serialize;
use std::collections::BTreeSet;

macro_rules! save {
    ($rows:literal, $token:literal) => {
        concat!(
            "UPDATE jobs SET state = new.state, epoch = new.epoch, executor = new.executor, resets = new.resets, \
                 faults = new.faults, failures = new.failures, cancel_requested = new.cancel_requested, \
                 canceler = new.canceler, end_detail = new.end_detail, message = new.message, \
                 queued_at = new.queued_at, started_at = new.started_at, finished_at = new.finished_at, \
                 retry_at = new.retry_at, last_heartbeat_at = new.last_heartbeat_at, lease = new.lease, token_hash = ",
            $token,
            " FROM (",
            $rows,
            ") AS new WHERE jobs.id = new.id AND jobs.state = new.old_state AND jobs.epoch = new.old_epoch"
        )
    };
}

statements! {
    /// State and epoch once more as the condition: a second line of defence behind `transition`.
    SAVE in sqlite = save!(
             "SELECT value->>'id' AS id, value->>'old_state' AS old_state, value->>'old_epoch' AS old_epoch, \
              value->>'state' AS state, value->>'epoch' AS epoch, value->>'executor' AS executor, \
              value->>'resets' AS resets, value->>'faults' AS faults, value->>'failures' AS failures, \
              value->>'cancel_requested' AS cancel_requested, value->>'canceler' AS canceler, \
              value->>'end_detail' AS end_detail, value->>'message' AS message, value->>'queued_at' AS queued_at, \
              value->>'started_at' AS started_at, value->>'finished_at' AS finished_at, value->>'retry_at' AS retry_at, \
              value->>'last_heartbeat_at' AS last_heartbeat_at, value->>'lease' AS lease, \
              value->>'token_hash' AS token_hash FROM json_each($1)",
             "unhex(new.token_hash)"
         ),
         in postgres = save!(
             "SELECT * FROM json_to_recordset($1::json) AS rows (id BIGINT, old_state TEXT, old_epoch BIGINT, state TEXT, \
              epoch BIGINT, executor TEXT, resets BIGINT, faults BIGINT, failures BIGINT, cancel_requested BOOLEAN, \
              canceler TEXT, end_detail TEXT, message TEXT, queued_at BIGINT, started_at BIGINT, finished_at BIGINT, \
              retry_at BIGINT, last_heartbeat_at BIGINT, lease BIGINT, token_hash TEXT)",
             "decode(new.token_hash, 'hex')"
         );
}

/// What is to become of a job.
pub(super) struct Decided {
    /// The job as it will be.
    pub(super) life: Life,
    /// What it has to be still.
    pub(super) old_state: State,
    pub(super) old_epoch: u32,
    /// The try that ended, if another one may follow.
    pub(super) earlier: Option<tries::Ended>,
}

/// A row as the statement takes it; its keys are the columns' names.
#[derive(Serialize)]
struct Saved<'a> {
    id: i64,
    old_state: &'static str,
    old_epoch: u32,
    state: &'static str,
    epoch: u32,
    executor: Option<&'a str>,
    resets: u32,
    faults: u32,
    failures: u32,
    cancel_requested: bool,
    canceler: Option<String>,
    end_detail: Option<&'a str>,
    message: Option<&'a str>,
    queued_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    retry_at: Option<i64>,
    last_heartbeat_at: Option<i64>,
    lease: i64,
    token_hash: Option<String>,
}

impl Decided {
    fn leaves_its_executor(&self) -> bool {
        self.old_state == State::Processing && self.life.record.state != State::Processing
    }

    fn saved(&self) -> Result<Saved<'_>, StoreError> {
        let life = &self.life;
        let record = &life.record;
        Ok(Saved {
            id: life.id.0,
            old_state: self.old_state.name(),
            old_epoch: self.old_epoch,
            state: record.state.name(),
            epoch: record.epoch,
            executor: record.executor.as_deref(),
            resets: record.resets,
            faults: record.faults,
            failures: record.failures,
            cancel_requested: record.cancel_requested(),
            canceler: record.canceler.as_ref().map(to_json).transpose()?,
            end_detail: life.end_json.as_deref(),
            message: life.message.as_deref(),
            queued_at: micros(life.queued_at),
            started_at: life.started_at.map(micros),
            finished_at: life.finished_at.map(micros),
            retry_at: life.retry_at.map(micros),
            last_heartbeat_at: life.last_heartbeat_at.map(micros),
            lease: life.lease,
            token_hash: life.token_hash.as_deref().map(hex::encode),
        })
    }
}

/// Stores all of it, or nothing: [`Rejected::LeaseLost`] where one job is not what it was. No job may come twice.
pub(super) async fn store_all(
    store: &SqlStore,
    write: &mut Write<'_>,
    decided: &[Decided],
) -> Result<(), StoreError> {
    if decided.is_empty() {
        return Ok(());
    }
    let rows: Vec<Saved<'_>> = decided.iter().map(Decided::saved).collect::<Result<_, _>>()?;
    let changed = write.query(SAVE).bind(to_json(&rows)?).execute().await?;
    if changed != decided.len() as u64 {
        return Err(Rejected::LeaseLost.into());
    }
    for Decided { life, earlier, .. } in decided {
        if let Some(earlier) = earlier {
            tries::add(write, life.id, earlier).await?;
        }
    }
    let ended: Vec<&Life> =
        decided.iter().map(|decided| &decided.life).filter(|life| life.record.state.is_terminal()).collect();
    if !ended.is_empty() {
        secrets::drop_all(write, ended.iter().map(|life| life.id).collect()).await?;
    }
    let keys = ended.iter().filter_map(|life| life.key()).collect();
    keys::lock(write, &keys).await?;
    for key in keys {
        keys::hand_on(write, key).await?;
    }
    for Decided { life, .. } in decided {
        life.tell(write);
    }
    let left =
        decided.iter().filter(|decided| decided.leaves_its_executor()).map(|decided| decided.life.queue());
    for queue in left.collect::<BTreeSet<_>>() {
        if store.lanes.may_be_limited(queue) {
            write.tell(News::Room(queue.to_owned()));
        }
    }
    Ok(())
}
