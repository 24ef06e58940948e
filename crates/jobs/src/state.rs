//! The life of a job.
//!
//! ```text
//!            claim                    complete
//!  queued ───────────▶ processing ──────────────▶ completed
//!    ▲  │                │  │  │
//!    │  │ cancel         │  │  └─ fail ─────────▶ failed      (canceled, if a cancel was asked for)
//!    │  └──▶ canceled    │  └──── err ──────────▶ errored     (failed once the retries are spent;
//!    │                   │                                     canceled, if a cancel was asked for)
//!    ├── stall, release ─┘                        failed      (stalled once too often)
//!    └───── claim from errored, after its pause: straight to processing
//! ```
//!
//! Three budgets bound this, each of its own: an executor that is lost costs a *reset*, one that could not run the job
//! for reasons of its own a *fault*, and a try that the job itself brought to a bad end a *failure*.
//!
//! Each claim begins a new *epoch* with a new lease. Whatever carries an older epoch, or comes from
//! another executor, is [`Rejected`]; so at most one terminal result is ever accepted.

use crate::policy::RetryPolicy;
use crate::reason::{Canceler, EndReason};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Claims of one job that may be taken back free of charge because their executor never heard of them.
/// From then on such a claim costs as much as one whose executor fell silent: a job that can't be
/// delivered at all must come to an end as well.
pub const MAX_FREE_CLAIMS: u32 = 100;

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for an executor.
    Queued,
    /// An executor holds it.
    Processing,
    /// Ended well.
    Completed,
    /// Ended badly; may be tried again.
    Errored,
    /// Ended badly, for good.
    Failed,
    /// Stopped because somebody asked for it.
    Canceled,
}

impl State {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Processing, Self::Completed, Self::Errored, Self::Failed, Self::Canceled];

    /// Nothing happens to the job any more.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }

    /// The state's name, as stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Errored => "errored",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for State {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown state {text:?}: it must be one of {names}")
        })
    }
}

/// Proof of who may write to a job: the executor that claimed it, in the epoch of that claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Counted up with every claim, from 1.
    pub epoch: u32,
    /// The executor's name.
    pub executor: String,
}

/// The part of a job that decides what may happen to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it is.
    pub state: State,
    /// Its latest claim's epoch; 0 before the first.
    pub epoch: u32,
    /// Its latest holder.
    pub executor: Option<String>,
    /// How often it went back to the queue because its executor fell silent.
    pub resets: u32,
    /// How often it went back because the infrastructure failed.
    pub faults: u32,
    /// How often it ended badly.
    pub failures: u32,
    /// Who asked first for it to stop, if anybody did.
    pub canceler: Option<Canceler>,
}

impl Record {
    /// A job that was just submitted.
    pub const fn new() -> Self {
        Self {
            state: State::Queued,
            epoch: 0,
            executor: None,
            resets: 0,
            faults: 0,
            failures: 0,
            canceler: None,
        }
    }

    /// The tries so far, the running one included.
    pub const fn attempt(&self) -> u32 {
        self.epoch
    }

    /// Whether somebody asked for it to stop.
    pub const fn cancel_requested(&self) -> bool {
        self.canceler.is_some()
    }

    /// How many of its retries are used, where it ended for `end`, if it did. Its last end is charged to it as well, but there
    /// was no retry after it.
    pub fn retries_used(&self, end: Option<&EndReason>) -> u32 {
        match self.state {
            // That its executor was lost is charged elsewhere.
            State::Failed if matches!(end, Some(EndReason::ExecutorLost { .. })) => self.failures,
            State::Failed => self.failures.saturating_sub(1),
            // It may have ended by itself at the same time, and never tells.
            State::Canceled => self.failures.min(self.epoch.saturating_sub(1)),
            _ => self.failures,
        }
    }

    fn held_by(&self, lease: &Lease) -> bool {
        self.state == State::Processing
            && self.epoch == lease.epoch
            && self.executor.as_deref() == Some(lease.executor.as_str())
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

/// What can happen to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An executor takes it. Only the caller knows the time, so it vouches that a retry is due.
    Claim {
        /// The executor's name.
        executor: String,
    },
    /// Its executor says it ended well.
    Complete(Lease),
    /// Its executor says it ended badly and may be tried again.
    Error(Lease, EndReason),
    /// Its executor says it ended badly, for good.
    Fail(Lease, EndReason),
    /// Its executor fell silent for longer than the lease lasts.
    Stall {
        /// The epoch whose heartbeat is overdue.
        epoch: u32,
        /// How long that lease lasted.
        lease: Duration,
    },
    /// The claim's answer never reached its executor, so nothing was begun.
    Release(Lease),
    /// Somebody wants it stopped.
    Cancel(Canceler),
}

/// The job after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What to store.
    pub record: Record,
    /// Why it ended, or its try did; `None` where neither has.
    pub reason: Option<EndReason>,
    /// How long it waits before its next try, if there will be one and it has to.
    pub pause: Option<Duration>,
}

impl Outcome {
    /// It goes on, or nothing came of it.
    const fn of(record: Record) -> Self {
        Self { record, reason: None, pause: None }
    }
}

/// The event does not apply; the job is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The job already ended.
    #[error("the job is already {0}")]
    Ended(State),
    /// The job is not waiting to be claimed.
    #[error("the job is {0}, not queued")]
    NotQueued(State),
    /// The writer's lease is not the current one.
    #[error("the lease is not held: another claim followed, or the job is not processing")]
    LeaseLost,
}

/// Decides what `event` makes of `record`. Total, deterministic, without side effects.
pub fn transition(record: &Record, event: Event, retry: RetryPolicy) -> Result<Outcome, Rejected> {
    if record.state.is_terminal() {
        return Err(match event {
            Event::Complete(_)
            | Event::Error(..)
            | Event::Fail(..)
            | Event::Stall { .. }
            | Event::Release(_) => Rejected::LeaseLost,
            Event::Claim { .. } | Event::Cancel(_) => Rejected::Ended(record.state),
        });
    }
    match event {
        Event::Claim { executor } => claim(record, executor),
        Event::Complete(lease) => {
            held(record, &lease)?;
            Ok(end(record, State::Completed, EndReason::Succeeded))
        }
        Event::Error(lease, reason) => {
            held(record, &lease)?;
            match reason {
                // Told by whoever found what was left: the same as silence, only sooner.
                EndReason::ExecutorLost { .. } => stall(record, lease.epoch, None, retry),
                reason => Ok(error(record, reason, retry)),
            }
        }
        Event::Fail(lease, reason) => {
            held(record, &lease)?;
            let mut record = record.clone();
            record.failures += 1;
            Ok(stopped_or(&record, State::Failed, reason))
        }
        Event::Stall { epoch, lease } => stall(record, epoch, Some(lease), retry),
        Event::Release(lease) => {
            held(record, &lease)?;
            release(record, retry)
        }
        Event::Cancel(canceler) => Ok(cancel(record, canceler)),
    }
}

fn held(record: &Record, lease: &Lease) -> Result<(), Rejected> {
    if record.held_by(lease) { Ok(()) } else { Err(Rejected::LeaseLost) }
}

fn claim(record: &Record, executor: String) -> Result<Outcome, Rejected> {
    if !matches!(record.state, State::Queued | State::Errored) {
        return Err(Rejected::NotQueued(record.state));
    }
    let epoch = record.epoch + 1;
    let record = Record { state: State::Processing, epoch, executor: Some(executor), ..record.clone() };
    Ok(Outcome::of(record))
}

fn error(record: &Record, reason: EndReason, retry: RetryPolicy) -> Outcome {
    if record.cancel_requested() {
        return stopped_or(record, State::Failed, reason);
    }
    let is_fault = reason.is_infrastructure();
    if is_fault && record.faults < retry.max_faults {
        let record = Record { faults: record.faults + 1, ..record.clone() };
        let pause = pause_after(&reason, record.faults, retry);
        return again(record, reason, pause);
    }
    let record = Record { failures: record.failures + 1, ..record.clone() };
    // What is left of the one budget is not there for the other.
    if !is_fault && retry.may_retry(record.failures) {
        return again(record, reason, retry.retry_after);
    }
    stopped_or(&record, State::Failed, reason)
}

/// Other executors can take over at once from one that leaves.
fn pause_after(reason: &EndReason, fault: u32, retry: RetryPolicy) -> Duration {
    match reason {
        EndReason::ExecutorStopped => Duration::ZERO,
        _ => retry.pause_after(fault),
    }
}

fn again(record: Record, reason: EndReason, pause: Duration) -> Outcome {
    let record = Record { state: State::Errored, ..record };
    Outcome { record, reason: Some(reason), pause: Some(pause) }
}

/// Cancelled means cancelled: a job whose executor died after the cancel is not run again.
fn stall(
    record: &Record,
    epoch: u32,
    lease: Option<Duration>,
    retry: RetryPolicy,
) -> Result<Outcome, Rejected> {
    if record.state != State::Processing || record.epoch != epoch {
        return Err(Rejected::LeaseLost);
    }
    let lost = EndReason::ExecutorLost { lease };
    if record.cancel_requested() || record.resets >= retry.max_resets {
        return Ok(stopped_or(record, State::Failed, lost));
    }
    let record = Record { state: State::Queued, resets: record.resets + 1, ..record.clone() };
    Ok(Outcome { record, reason: Some(lost), pause: None })
}

/// The epoch stays, so whatever may still come of the claim is refused, and the next one is another.
fn release(record: &Record, retry: RetryPolicy) -> Result<Outcome, Rejected> {
    if record.cancel_requested() || record.epoch > MAX_FREE_CLAIMS {
        return stall(record, record.epoch, None, retry);
    }
    Ok(Outcome::of(Record { state: State::Queued, ..record.clone() }))
}

/// Who asked first did it.
fn cancel(record: &Record, canceler: Canceler) -> Outcome {
    let canceler = record.canceler.clone().unwrap_or(canceler);
    let record = Record { canceler: Some(canceler.clone()), ..record.clone() };
    if record.state == State::Processing {
        return Outcome::of(record);
    }
    end(&record, State::Canceled, EndReason::Canceled(canceler))
}

fn stopped_or(record: &Record, state: State, reason: EndReason) -> Outcome {
    match &record.canceler {
        Some(canceler) => end(record, State::Canceled, EndReason::Canceled(canceler.clone())),
        None => end(record, state, reason),
    }
}

fn end(record: &Record, state: State, reason: EndReason) -> Outcome {
    Outcome { record: Record { state, ..record.clone() }, reason: Some(reason), pause: None }
}
