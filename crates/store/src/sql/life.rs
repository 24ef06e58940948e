//! What changes about a job over its life, apart from what was asked for.

use super::database::Write;
use super::keys;
use super::news::News;
use super::secrets;
use super::session::{Row, Session};
use super::statements::statements;
use super::values::{job_name, micros, small, span, timestamp, to_json};
use super::{token, tries};
use crate::error::StoreError;
use jiff::{SignedDuration, Timestamp};
use jobs::{Canceler, Event, JobId, Judgement, Outcome, Record, Rejected, RetryPolicy, State, transition};
use std::time::Duration;

/// The columns that [`Life::read`] needs.
macro_rules! life_columns {
    () => {
        "id, state, epoch, executor, resets, faults, failures, cancel_requested, canceler, end_detail, \
         message, queued_at, started_at, finished_at, retry_at, last_heartbeat_at, lease, token_hash, \
         queue, lane, rank, key"
    };
}
pub(super) use life_columns;

statements! {
    /// Nobody else changes it before this transaction is over: SQLite has one writer anyway.
    LOAD in sqlite = concat!("SELECT ", life_columns!(), " FROM jobs WHERE id = $1"),
         in postgres = concat!("SELECT ", life_columns!(), " FROM jobs WHERE id = $1 FOR UPDATE");
    /// State and epoch once more as the condition: a second line of defence behind `transition`.
    SAVE = "UPDATE jobs SET state = $1, epoch = $2, executor = $3, resets = $4, faults = $5, failures = $6, \
            cancel_requested = $7, canceler = $8, end_detail = $9, message = $10, queued_at = $11, started_at = $12, \
            finished_at = $13, retry_at = $14, last_heartbeat_at = $15, lease = $16, token_hash = $17 \
            WHERE id = $18 AND state = $19 AND epoch = $20";
}

/// A job's life so far.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) id: JobId,
    pub(super) record: Record,
    /// Left as it is: a job with a damaged one must not be stuck.
    pub(super) end_json: Option<String>,
    pub(super) message: Option<String>,
    pub(super) queued_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) retry_at: Option<Timestamp>,
    pub(super) last_heartbeat_at: Option<Timestamp>,
    /// Microseconds.
    lease: i64,
    token_hash: Option<Vec<u8>>,
    /// Where it waits, and where it will again.
    place: Place,
}

/// Where a job waits.
#[derive(Debug, Clone)]
struct Place {
    queue: String,
    lane: i64,
    rank: i64,
    key: Option<String>,
}

/// What an event brings along besides itself.
pub(super) struct Circumstances<'a> {
    pub(super) now: Timestamp,
    pub(super) retry: RetryPolicy,
    /// What to tell people, should the event end the job or its try.
    pub(super) message: Option<&'a str>,
    /// What a claim gives.
    pub(super) grant: Option<Grant<'a>>,
}

/// What an executor gets with a job.
#[derive(Clone, Copy)]
pub(super) struct Grant<'a> {
    /// The job token.
    pub(super) token: &'a str,
    /// How long the claim lasts without a heartbeat.
    pub(super) lease: Duration,
}

impl Life {
    /// Loads one, within the transaction that is to change it.
    pub(super) async fn load(write: &mut Write<'_>, id: JobId) -> Result<Self, StoreError> {
        let row = write.query(LOAD).bind(id.0).row().await?;
        Self::read(&row.ok_or(StoreError::UnknownJob(id))?)
    }

    /// Its queue.
    pub(super) fn queue(&self) -> &str {
        &self.place.queue
    }

    /// How long its latest claim lasts without a heartbeat.
    pub(super) fn lease(&self) -> Duration {
        Duration::from_micros(self.lease.unsigned_abs())
    }

    /// Whether its latest claim is over.
    pub(super) fn is_over(&self, at: Judgement) -> bool {
        self.record.state == State::Processing
            && self.last_heartbeat_at.is_some_and(|renewed| at.is_over(renewed, self.lease()))
    }

    /// Decides what `event` makes of the job, and stores that.
    pub(super) async fn advance(
        self,
        write: &mut Write<'_>,
        event: Event,
        with: Circumstances<'_>,
    ) -> Result<Self, StoreError> {
        let (old_state, old_epoch) = (self.record.state, self.record.epoch);
        let outcome = transition(&self.record, event, with.retry)?;
        let earlier = tries::earlier(&self, &outcome, &with);
        let life = self.after(outcome, &with)?;
        let changed = life.save(write, old_state, old_epoch).await?;
        if changed != 1 {
            return Err(Rejected::LeaseLost.into());
        }
        if let Some(earlier) = earlier {
            tries::add(write, life.id, &earlier).await?;
        }
        if life.record.state.is_terminal() {
            secrets::drop_all(write, life.id).await?;
            if let Some(key) = &life.place.key {
                keys::hand_on(write, key).await?;
            }
        }
        life.tell(write);
        Ok(life)
    }

    fn tell(&self, write: &mut Write<'_>) {
        if matches!(self.record.state, State::Queued | State::Errored) {
            let Place { queue, lane, rank, .. } = self.place.clone();
            write.tell(News::Queued { queue, lane, rank });
        }
        write.tell(News::Job(self.id));
    }

    fn after(mut self, outcome: Outcome, with: &Circumstances<'_>) -> Result<Self, StoreError> {
        let claimed = outcome.record.epoch != self.record.epoch;
        let reset = outcome.record.resets != self.record.resets;
        self.record = outcome.record;
        match self.record.state {
            State::Processing if claimed => {
                self.end_json = None;
                self.message = None;
                self.started_at = Some(with.now);
                self.finished_at = None;
                self.retry_at = None;
                self.last_heartbeat_at = Some(with.now);
                self.token_hash = with.grant.map(|grant| token::hash(grant.token));
                self.lease = with.grant.map_or(self.lease, |grant| span(grant.lease));
            }
            // A cancel was asked for: all else goes on.
            State::Processing => {}
            State::Queued => {
                // A job that nobody ever got was queued all the time.
                if reset {
                    self.queued_at = with.now;
                }
                self.started_at = None;
                self.token_hash = None;
            }
            State::Completed | State::Errored | State::Failed | State::Canceled => {
                self.end_json = outcome.reason.map(|reason| to_json(&reason.detail())).transpose()?;
                if let Some(message) = with.message {
                    self.message = Some(message.to_owned());
                }
                self.finished_at = Some(with.now);
                self.retry_at = outcome.pause.map(|pause| later(with.now, pause));
                self.token_hash = None;
            }
        }
        Ok(self)
    }

    async fn save(&self, session: &mut Session, old_state: State, old_epoch: u32) -> Result<u64, StoreError> {
        session
            .query(SAVE)
            .bind(self.record.state.name())
            .bind(i64::from(self.record.epoch))
            .bind(self.record.executor.as_deref())
            .bind(i64::from(self.record.resets))
            .bind(i64::from(self.record.faults))
            .bind(i64::from(self.record.failures))
            .bind(self.record.cancel_requested())
            .bind(self.record.canceler.as_ref().map(to_json).transpose()?)
            .bind(self.end_json.as_deref())
            .bind(self.message.as_deref())
            .bind(micros(self.queued_at))
            .bind(self.started_at.map(micros))
            .bind(self.finished_at.map(micros))
            .bind(self.retry_at.map(micros))
            .bind(self.last_heartbeat_at.map(micros))
            .bind(self.lease)
            .bind(self.token_hash.as_deref())
            .bind(self.id.0)
            .bind(old_state.name())
            .bind(i64::from(old_epoch))
            .execute()
            .await
    }

    /// Reads the columns of [`life_columns`].
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let id = JobId(row.get("id")?);
        let name = || job_name(id);
        let state: String = row.get("state")?;
        let number = |column| small(row.get(column)?, column, name);
        let time = |column| -> Result<Option<Timestamp>, StoreError> {
            let micros: Option<i64> = row.get(column)?;
            micros.map(|micros| timestamp(micros, name)).transpose()
        };
        let record = Record {
            state: state.parse().map_err(|_| StoreError::Corrupt { row: name(), what: "state" })?,
            epoch: number("epoch")?,
            executor: row.get("executor")?,
            resets: number("resets")?,
            faults: number("faults")?,
            failures: number("failures")?,
            canceler: canceler(row)?,
        };
        Ok(Self {
            id,
            record,
            end_json: row.get("end_detail")?,
            message: row.get("message")?,
            queued_at: timestamp(row.get("queued_at")?, name)?,
            started_at: time("started_at")?,
            finished_at: time("finished_at")?,
            retry_at: time("retry_at")?,
            last_heartbeat_at: time("last_heartbeat_at")?,
            lease: row.get("lease")?,
            token_hash: row.get("token_hash")?,
            place: Place {
                queue: row.get("queue")?,
                lane: row.get("lane")?,
                rank: row.get("rank")?,
                key: row.get("key")?,
            },
        })
    }
}

/// Who asked for a job to stop. That somebody did must not get lost with who it was.
fn canceler(row: &Row) -> Result<Option<Canceler>, StoreError> {
    let requested: bool = row.get("cancel_requested")?;
    let noted: Option<String> = row.get("canceler")?;
    let read = |json: String| serde_json::from_str(&json).ok();
    Ok(requested.then(|| noted.and_then(read).unwrap_or_default()))
}

fn later(time: Timestamp, pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    time.saturating_add(pause).unwrap_or(Timestamp::MAX)
}
