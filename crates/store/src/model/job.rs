//! Jobs, from their submission to their end.

use jiff::Timestamp;
use jobs::{EndReason, JobId, JobSpec, Record, State};
use secrecy::SecretString;
use std::collections::BTreeMap;
use wire::additions::EndDetail;

/// A job to submit. Names and sizes have been checked.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// What the user asked for. Its secrets are kept apart and dropped when the job ends.
    pub spec: JobSpec,
    /// The commit that `spec.rev` named at submission; empty without a repository.
    pub commit: String,
    /// Whose it is: owners take turns. The key of a [`jobs::Namespace`]; empty for the global one.
    pub owner: String,
    /// The same key of the same owner means the same submission made again.
    pub idempotency_key: Option<String>,
}

/// What was asked for, as it was stored by a server of any version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSpec {
    /// What this server knows of it, without the secrets.
    pub spec: JobSpec,
    /// Whether only a newer server knows all that matters: this one may show it, and act on it in no way.
    pub is_for_newer: bool,
}

/// What a queued job waits for before anybody can be given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// That fewer jobs with its concurrency key run.
    Key,
    /// Its time.
    Until(Timestamp),
}

/// A job as it is now. What was asked for beyond this may be megabytes, and is [`crate::Store::spec`].
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// Whose it is, as it was submitted: see [`NewJob::owner`].
    pub owner: String,
    /// Its repository's name, if it has one.
    pub repo: Option<String>,
    /// The revision that was asked for.
    pub rev: Option<String>,
    /// The commit to check out; empty without a repository.
    pub commit: String,
    /// State, epoch, holder and counters.
    pub record: Record,
    /// How often it is tried again after it failed by its own fault: see [`jobs::JobSpec::retries`].
    pub retries: u32,
    /// Why it ended, or why its latest try did that it waits to follow with another.
    pub end: Option<EndDetail>,
    /// What the executor said went wrong, for people.
    pub message: Option<String>,
    /// When it was (last) queued.
    pub queued_at: Timestamp,
    /// When its latest try began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// From when on it may be tried again, where it waits for that.
    pub retry_at: Option<Timestamp>,
    /// When its executor was last heard of it.
    pub last_heartbeat_at: Option<Timestamp>,
    /// Where it is among its owner's: see [`jobs::dispatch`].
    pub priority: i32,
    /// What it waits for before anybody can be given it, if it does.
    pub hold: Option<Hold>,
}

/// A try that another one followed, or may follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TryRow {
    /// Its number, from 1.
    pub epoch: u32,
    /// Which executor had it.
    pub executor: Option<String>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Why it ended.
    pub end: EndDetail,
    /// What its executor said went wrong, for people.
    pub message: Option<String>,
    /// How many calls of its executor came after the job had been taken back, and were refused.
    pub late_calls: u32,
}

/// Which jobs to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only of this queue.
    pub queue: Option<String>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only of this owner.
    pub owner: Option<String>,
    /// Only with a smaller id: the cursor of the next page.
    pub before: Option<JobId>,
    /// How many at most.
    pub limit: u32,
}

/// A job that was just claimed.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The job, in its new epoch.
    pub job: JobRow,
    /// What the user asked for, without the secrets.
    pub spec: JobSpec,
    /// Its secrets: variable name and value.
    pub secrets: BTreeMap<String, SecretString>,
    /// The job token of this epoch: 40 hex digits. Only its hash is stored.
    pub token: String,
}

/// A job whose token was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldJob {
    /// The job.
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// Whose it is: see [`NewJob::owner`].
    pub owner: String,
    /// Its repository's name; empty without one.
    pub repository: String,
    /// The epoch that the token belongs to.
    pub epoch: u32,
    /// The executor that claimed it.
    pub executor: String,
}

/// How an executor says a job ended.
#[derive(Debug, Clone)]
pub enum Finish {
    /// It succeeded.
    Complete,
    /// It did not, and may be tried again.
    Error {
        /// Why, for programs.
        reason: EndReason,
        /// Why, for people.
        message: String,
    },
    /// It did not, for good.
    Fail {
        /// Why, for programs.
        reason: EndReason,
        /// Why, for people.
        message: String,
    },
}

/// How many jobs of a queue ended in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedRow {
    /// The queue.
    pub queue: String,
    /// The state.
    pub state: State,
    /// How many.
    pub count: u64,
}
