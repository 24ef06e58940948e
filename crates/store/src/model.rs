//! Plain data in and out of the store.

mod artifacts;
mod commands;
mod secrets;
mod uploads;

pub use artifacts::{ArtifactRow, NewArtifact};
pub use commands::shortened_command;
pub use secrets::{
    AccessFilter, NewSecret, OpenedSecret, SecretAccessRow, SecretCursor, SecretFilter, SecretRow,
};
pub use uploads::{NewObject, NewUpload, UploadFilter, UploadPartRow, UploadRow};

use jiff::Timestamp;
use jobs::{Capacity, EndReason, JobId, JobSpec, Namespace, Record, State};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::additions::EndDetail;
use wire::heartbeat::Telemetry;

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

/// What a queued job waits for before anybody can be given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// That fewer jobs with its concurrency key run.
    Key,
    /// Its time.
    Until(Timestamp),
}

/// Who asks for jobs.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Of which queues.
    pub queues: Vec<String>,
    /// The executor's name.
    pub executor: String,
    /// What it gives a job.
    pub capacity: Capacity,
    /// How long what it is given stays its own without a heartbeat.
    pub lease: Duration,
    /// How many at most.
    pub most: u32,
}

/// What operators say of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueRules {
    /// Since when none of its jobs is given out; `None`: they are.
    pub paused_at: Option<Timestamp>,
    /// How many of its jobs are given out at once; `None`: any number.
    pub max_running: Option<u32>,
}

/// What is to change of a queue's rules. What is not said stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueChange {
    /// Whether none of its jobs is given out from now on. One that is paused stays so since when it was.
    pub paused: Option<bool>,
    /// How many of its jobs are given out at once; 0: any number.
    pub max_running: Option<u32>,
}

/// A queue as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRow {
    /// Its name.
    pub name: String,
    /// What operators say of it.
    pub rules: QueueRules,
    /// Jobs that wait to be given out.
    pub queued: u64,
    /// Those of them that can't be yet: see [`Hold`].
    pub held: u64,
    /// Jobs that executors have.
    pub running: u64,
    /// Jobs that wait for another try.
    pub errored: u64,
    /// Of the jobs that are next in their lanes, when the one was queued that waits for longest.
    pub oldest_queued_at: Option<Timestamp>,
    /// What of all this could not be read, and was left out.
    pub unreadable: u64,
}

/// What there is at one moment, for whoever watches. None of it is read, so no row can be in its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Executors that are remembered, those that can't be read among them.
    pub executors: u64,
    /// Secrets that are kept.
    pub secrets: u64,
    /// Repositories.
    pub repositories: u64,
    /// Bytes of the database.
    pub database_bytes: u64,
    /// Connections to the database that are open.
    pub connections: u32,
    /// Those of them that nobody uses.
    pub idle_connections: u32,
    /// Connections at most.
    pub max_connections: u32,
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

/// What a heartbeat is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// Jobs that still belong to the executor.
    pub known: Vec<JobId>,
    /// Jobs to stop; they are in `known` as well.
    pub cancel: Vec<JobId>,
}

/// A log entry to open.
#[derive(Debug, Clone)]
pub struct NewLogEntry {
    /// What it is about, such as `setup.git.init`.
    pub key: String,
    /// The redacted argument vector, where it is about a command.
    pub command: Option<Vec<String>>,
    /// When it began; kept to the microsecond.
    pub start_time: Timestamp,
    /// How it ended, when that is known already.
    pub exit_code: Option<i32>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// Its text so far.
    pub out: String,
}

/// A log entry as it is now; its text is read apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntryRow {
    /// Its number within the epoch, from 1.
    pub entry: i64,
    /// The epoch of the try it belongs to.
    pub epoch: u32,
    /// What it is about.
    pub key: String,
    /// The redacted argument vector, where it is about a command.
    pub command: Option<Vec<String>>,
    /// When it began.
    pub start_time: Timestamp,
    /// How it ended; `None` while it runs.
    pub exit_code: Option<i32>,
    /// How long it took, in milliseconds; `None` while it runs.
    pub duration_ms: Option<i64>,
    /// Bytes of text.
    pub length: u64,
}

/// Bytes that the smallest file counts for: its row, its inode and its place in a directory are not free
/// either, and thus the number of files is bounded by their size.
pub const FILE_CHARGE: u64 = 64 << 10;

/// An uploaded file to note, after its content was put in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Its id: 32 hexadecimal digits, never used before.
    pub id: String,
    /// What it was called where it came from; for people.
    pub name: String,
    /// Bytes of its content.
    pub size: u64,
    /// SHA-256 of its content: 64 hexadecimal digits.
    pub sha256: String,
    /// When it was last changed; kept to the microsecond.
    pub modified_at: Timestamp,
    /// Whose it is.
    pub namespace: Namespace,
    /// The object that its content is, which was noted before; `None` where that is kept elsewhere.
    pub object: Option<String>,
}

/// An uploaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// Its id.
    pub id: String,
    /// What it was called where it came from.
    pub name: String,
    /// Bytes of its content.
    pub size: u64,
    /// SHA-256 of its content: 64 hexadecimal digits.
    pub sha256: String,
    /// When it was last changed.
    pub modified_at: Timestamp,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
    /// Whose it is.
    pub namespace: Namespace,
    /// The object that its content is; `None` where that is kept elsewhere.
    pub object: Option<String>,
}

/// An executor that was heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorRow {
    /// Its name; unique.
    pub name: String,
    /// The queues it serves.
    pub queues: Vec<String>,
    /// Its surroundings.
    pub telemetry: Telemetry,
    /// When it was first heard of.
    pub first_seen_at: Timestamp,
    /// When it was last heard of.
    pub last_seen_at: Timestamp,
    /// What it gives a job, as far as it told.
    pub capacity: Capacity,
    /// Since when it is given no jobs, if it is not.
    pub maintenance_at: Option<Timestamp>,
}

/// A repository to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRepository {
    /// Whose it is.
    pub namespace: Namespace,
    /// Its name; the namespace's only one of that name.
    pub name: String,
    /// Where it is mirrored from: a path or a URL, without credentials.
    pub source: String,
}

/// A repository that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRow {
    /// Its id, which names the mirror's directory.
    pub id: i64,
    /// Whose it is.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
    /// Where it is mirrored from.
    pub source: String,
    /// When it was added.
    pub created_at: Timestamp,
}

/// Something happened that somebody may wait for. A hint, not a record: read the store for the truth.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// A queue has a job to claim.
    Queued(String),
    /// A job's state changed.
    Job(JobId),
    /// A job's log grew.
    Log(JobId),
    /// What operators say of queues or executors changed: there may be jobs to claim.
    Rules,
}
