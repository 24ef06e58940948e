//! What changes about a job over its life, apart from what was asked for.

use super::database::Write;
use super::decided::Decided;
use super::news::News;
use super::session::Row;
use super::values::{job_name, small, span, timestamp, to_json};
use super::{token, tries};
use crate::error::StoreError;
use jiff::{SignedDuration, Timestamp};
use jobs::{Canceler, Event, JobId, Judgement, Outcome, Record, RetryPolicy, State, transition};
use std::time::Duration;

/// The columns that [`Life::read`] needs.
macro_rules! life_columns {
    () => {
        life_columns!("message")
    };
    // With what is to be had of the message.
    ($message:literal) => {
        concat!(
            "id, state, epoch, executor, resets, faults, failures, cancel_requested, canceler, end_detail, ",
            $message,
            ", queued_at, started_at, finished_at, retry_at, last_heartbeat_at, lease, token_hash, queue, lane, rank, key, retries"
        )
    };
}
pub(super) use life_columns;

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
    pub(super) lease: i64,
    pub(super) token_hash: Option<Vec<u8>>,
    /// How often it asks to be tried again after a failure of its own.
    pub(super) retries: u32,
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
    /// Its queue.
    pub(super) fn queue(&self) -> &str {
        &self.place.queue
    }

    /// How long its latest claim lasts without a heartbeat.
    pub(super) fn lease(&self) -> Duration {
        Duration::from_micros(self.lease.unsigned_abs())
    }

    /// Whether its latest claim is over, by a clock that may be wrong by `tolerance`.
    pub(super) fn is_over(&self, at: Judgement, tolerance: Duration) -> bool {
        let lease = jobs::counted(self.lease(), tolerance);
        self.record.state == State::Processing
            && self.last_heartbeat_at.is_some_and(|renewed| at.is_over(renewed, lease))
    }

    /// Decides what `event` makes of the job.
    pub(super) fn decide(self, event: Event, with: &Circumstances<'_>) -> Result<Decided, StoreError> {
        let (old_state, old_epoch) = (self.record.state, self.record.epoch);
        let outcome = transition(&self.record, event, with.retry.with_retries(self.retries))?;
        let earlier = tries::earlier(&self, &outcome, with);
        Ok(Decided { life: self.after(outcome, with)?, old_state, old_epoch, earlier })
    }

    /// What it has in common with jobs of which only so many may run at once.
    pub(super) fn key(&self) -> Option<&str> {
        self.place.key.as_deref()
    }

    /// Has those told who wait for such a change.
    pub(super) fn tell(&self, write: &mut Write<'_>) {
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
            state: state.parse().map_err(|_| StoreError::corrupt(name(), "state"))?,
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
            retries: number("retries")?,
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
