//! What every store does.

mod identity;
mod people;
mod results;

pub use identity::{AuditLog, Identities};
pub use people::People;
pub use results::Results;

use crate::error::StoreError;
use crate::model::{
    AccessFilter, Asking, Census, Change, Claimed, EndedRow, ExecutorRow, FileRow, Finish, HeartbeatAnswer,
    HeldJob, JobFilter, JobRow, LogEntryRow, NewFile, NewJob, NewLogEntry, NewRepository, NewSecret,
    OpenedSecret, QueueChange, QueueRow, RepositoryRow, RunningRow, SecretAccessRow, SecretFilter, SecretRow,
    StoredSpec, TryRow,
};
use async_trait::async_trait;
use jiff::Timestamp;
use jobs::secrets::Scope;
use jobs::{Canceler, Capacity, JobId, JobSpec, Judgement, Lease, Namespace};
use secrecy::SecretString;
use std::time::Duration;
use tokio::sync::broadcast;
use wire::additions::TakesNone;
use wire::heartbeat::Telemetry;

type Result<T> = std::result::Result<T, StoreError>;

/// Everything the control plane remembers.
///
/// Writes that come from an executor carry its [`Lease`]; under an older epoch, or another
/// executor's name, they are refused with [`jobs::Rejected::LeaseLost`] and change nothing.
///
/// A caller that stops waiting for a call can't know whether it happened, and nobody may have been
/// told of it. Drive every write to its end.
#[async_trait]
pub trait Store: Identities + AuditLog + People + Results {
    /// Puts a job into its queue, and keeps the uploaded files it names. Durable when this returns. A
    /// file that is not there is [`StoreError::UnknownFile`]; a queue that holds as many jobs as one may is
    /// [`StoreError::QueueFull`], [`StoreError::QueuePortion`] where it holds as many of the job's namespace, and
    /// [`StoreError::QueueReserved`] where no more is left than what is the global one's.
    async fn submit(&self, job: NewJob) -> Result<JobId>;

    /// Of each of these, an idempotency key and what is asked for with it, the job that came of that submission, if there
    /// was one; [`StoreError::KeyReused`] where something else was asked for. Ask before anything that a job names is looked
    /// up, which may be gone by now.
    async fn submitted(&self, owner: &str, asked: &[(&str, &JobSpec)]) -> Result<Vec<Result<Option<JobId>>>>;

    /// Looks whether the database answers, and how much else it has to do is no matter: see
    /// [`StoreError::Busy`] for what others are told then.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownSealingKey`] or [`StoreError::WrongSealingKey`] where another server seals with a key that this one
    /// does not have: of jobs it gives out only those whose secrets it can open.
    async fn answers(&self) -> Result<()>;

    /// One job; [`StoreError::UnknownJob`] where there is none with this id.
    async fn job(&self, id: JobId) -> Result<JobRow>;

    /// What the user asked for, without the secrets.
    ///
    /// # Errors
    ///
    /// [`StoreError::NewerSpec`] where only newer servers know what that means.
    async fn spec(&self, id: JobId) -> Result<JobSpec>;

    /// The same to be shown, as far as this server knows what it means.
    async fn stored_spec(&self, id: JobId) -> Result<StoredSpec>;

    /// How the tries of a job ended that others followed, or may follow; oldest first.
    async fn earlier_tries(&self, id: JobId) -> Result<Vec<TryRow>>;

    /// Jobs, newest first; a few hundred at most, whatever the limit. Of a message longer than 512 characters each has those, and
    /// a mark: [`Self::job`] has all of it.
    async fn jobs(&self, filter: JobFilter) -> Result<Vec<JobRow>>;

    /// Puts several jobs into their queues, as [`Self::submit`] does: all of them, or none.
    async fn submit_all(&self, jobs: Vec<NewJob>) -> Result<Vec<JobId>>;

    /// Gives the jobs that are next to an executor, each with a new epoch and token: see [`jobs::dispatch`] for the order.
    /// Not those that need what it has not, nor any of a queue that is paused or has as many running as it may, nor any to
    /// an executor in maintenance.
    ///
    /// Claimable is what is queued and not held, and what errored when its pause is over; for the executor that had it
    /// last, that is a little later. [`Self::release_due`] tells of the latter.
    async fn claim(&self, asking: &Asking) -> Result<Vec<Claimed>>;

    /// Lets go of jobs whose time has come; says how many. Tells here, by a [`Change`], where pauses before another try are over.
    /// Call it every second or so, on every server.
    async fn release_due(&self) -> Result<u64>;

    /// Gives places of concurrency keys to those that wait for one where nobody did so when it became free, because a
    /// change that was under way came to nothing; says to how many. Call it every minute or so.
    async fn hand_on_places(&self) -> Result<u64>;

    /// Forgets combinations of queue, owner and needs that no job has which waits or runs; says how many. A few are kept, and
    /// a call may leave some to the next one. Call it every minute or so.
    async fn forget_lanes(&self) -> Result<u64>;

    /// What there is at this moment.
    async fn census(&self) -> Result<Census>;

    /// A queue: what operators say of it, and what it holds. Nothing is counted beyond `most`, and no row that can't be read
    /// is in its way.
    async fn queue(&self, name: &str, most: u64) -> Result<QueueRow>;

    /// How many jobs ended since then that had begun, by queue and state; no more than `most` that ended are looked at.
    async fn ended_since(&self, since: Timestamp, most: u64) -> Result<Vec<EndedRow>>;

    /// Says how a queue's jobs are given out from now on.
    async fn change_queue(&self, name: &str, change: QueueChange) -> Result<()>;

    /// Since when an executor is given no jobs; `None`: it is from now on.
    async fn set_maintenance(&self, executor: &str, since: Option<Timestamp>) -> Result<()>;

    /// Takes back a claim that its executor never heard of: the job is queued again at once, and its
    /// token is dead. Should the executor have heard of it after all, nothing that it does counts.
    async fn release(&self, id: JobId, lease: &Lease) -> Result<JobRow>;

    /// Renews the leases of those `ids` that `executor` holds, and says which those are. From now on they last for
    /// `lease`, unless they lasted longer already: the executor may not hear that they are shorter.
    async fn heartbeat(&self, executor: &str, ids: &[JobId], lease: Duration) -> Result<HeartbeatAnswer>;

    /// Ends the held job, or its try. Its token is dead when this returns; unless it will be tried
    /// again, its secrets are gone too. Nothing is added to its log any more.
    async fn finish(&self, id: JobId, lease: &Lease, finish: Finish) -> Result<JobRow>;

    /// Ends several at once, as [`Self::finish`] does each. That one is refused is nothing to the others.
    async fn finish_all(&self, ends: Vec<(JobId, Lease, Finish)>) -> Result<Vec<Result<JobRow>>>;

    /// Stops a queued job at once, and asks for a running one to stop. Who asked first is noted. One that has ended is
    /// [`jobs::Rejected::Ended`].
    async fn cancel(&self, id: JobId, canceler: Canceler) -> Result<JobRow>;

    /// Takes back every job whose lease is over; returns those jobs.
    async fn reset_stalled(&self, at: Judgement) -> Result<Vec<JobRow>>;

    /// Removes jobs that ended before `cutoff`, with all that is kept of them: tries, logs, what was asked
    /// for. Says how many; a call may leave some to the next one: it is done when it says 0.
    async fn forget_jobs(&self, cutoff: Timestamp) -> Result<u64>;

    /// The job that a token (not its hash) belongs to, while it is processing.
    async fn job_by_token(&self, token: &str) -> Result<Option<HeldJob>>;

    /// Notes a call with the token of a try whose job was taken back, so that [`Store::earlier_tries`] tells of it; says
    /// which try that was. `None` for what is no such token.
    async fn note_late_call(&self, token: &str) -> Result<Option<(JobId, u32)>>;

    /// The job `executor` holds under `id`, for callers that authenticate as the executor itself.
    async fn job_by_holder(&self, id: JobId, executor: &str) -> Result<Option<HeldJob>>;

    /// Opens a log entry and returns its number. The same key and start time, to the microsecond,
    /// mean the same call made again: it returns the same number, and adds to the entry what it
    /// knows more than the first. A try that has as many entries as one may is [`StoreError::TooManyLogEntries`].
    async fn add_log_entry(&self, id: JobId, lease: &Lease, entry: NewLogEntry) -> Result<i64>;

    /// Replaces a log entry as a whole. `entry.out` is the whole text so far.
    async fn put_log_entry(&self, id: JobId, lease: &Lease, number: i64, entry: NewLogEntry) -> Result<()>;

    /// Adds text at a byte offset and sets what is known of the end; returns the new length. Text
    /// before the current end is skipped; a gap is [`StoreError::LogGap`], and text that the job's logs have no room for
    /// [`StoreError::LogFull`].
    #[expect(clippy::too_many_arguments, reason = "the fields of the request, each named at the call")]
    async fn append_log(
        &self,
        id: JobId,
        lease: &Lease,
        number: i64,
        offset: u64,
        text: &str,
        exit_code: Option<i32>,
        duration_ms: Option<i64>,
    ) -> Result<u64>;

    /// A job's log entries, in order, of one epoch or (`None`) of the latest, even if that has ended.
    async fn log_entries(&self, id: JobId, epoch: Option<u32>) -> Result<Vec<LogEntryRow>>;

    /// The first `most` entries of one epoch whose numbers are above `after`, in order, without their commands, which may be
    /// megabytes.
    async fn log_outline(&self, id: JobId, epoch: u32, after: i64, most: u32) -> Result<Vec<LogEntryRow>>;

    /// The command of one of them, where there is such an entry and it is about one.
    async fn log_command(&self, id: JobId, epoch: u32, number: i64) -> Result<Option<Vec<String>>>;

    /// One of them; [`StoreError::UnknownLogEntry`] where there is none of that number.
    async fn log_entry(&self, id: JobId, epoch: Option<u32>, number: i64) -> Result<LogEntryRow>;

    /// Up to `max` bytes of an entry's text from `offset`, but at least one whole character; ends at a
    /// character boundary. Empty at the end of the text.
    async fn read_log(&self, id: JobId, epoch: u32, number: i64, offset: u64, max: usize) -> Result<Vec<u8>>;

    /// Notes an uploaded file. Durable when this returns.
    async fn add_file(&self, file: NewFile) -> Result<FileRow>;

    /// An uploaded file by its id.
    async fn file(&self, id: &str) -> Result<Option<FileRow>>;

    /// The uploaded file `id`, if `job` names it.
    async fn job_file(&self, job: JobId, id: &str) -> Result<Option<FileRow>>;

    /// Bytes of all uploaded files together, each counted as [`FILE_CHARGE`](crate::FILE_CHARGE) at least.
    async fn files_size(&self) -> Result<u64>;

    /// The same of those of one namespace.
    async fn files_size_of(&self, namespace: &Namespace) -> Result<u64>;

    /// Forgets files that were uploaded before `cutoff` and that no job names which has not ended, or
    /// ended at `cutoff` or later; returns their ids. A call may leave some to the next one: it is
    /// done when none is returned.
    async fn forget_files(&self, cutoff: Timestamp) -> Result<Vec<String>>;

    /// Notes that an executor was heard of, and why it asks for no jobs, if it does not. Queues are sorted by the caller.
    async fn upsert_executor(
        &self,
        name: &str,
        queues: &[String],
        telemetry: &Telemetry,
        takes_none: Option<TakesNone>,
    ) -> Result<()>;

    /// Notes what an executor gives a job, if it was heard of; says whether it was.
    async fn note_capacity(&self, executor: &str, capacity: &Capacity) -> Result<bool>;

    /// Forgets executors that were last heard of before `cutoff` and are not in maintenance; says how many.
    async fn forget_executors(&self, cutoff: Timestamp) -> Result<u64>;

    /// Executors, most recently heard of first.
    async fn executors(&self) -> Result<Vec<ExecutorRow>>;

    /// The same of those that serve a queue.
    async fn executors_serving(&self, queue: &str) -> Result<Vec<ExecutorRow>>;

    /// One executor; [`StoreError::UnknownExecutor`] where none of that name was heard of.
    async fn executor(&self, name: &str) -> Result<ExecutorRow>;

    /// What each of these executors runs, in their order: how many jobs, and of those the latest few. More than ten thousand
    /// are not counted.
    async fn running_of(&self, executors: &[String], most: u32) -> Result<Vec<RunningRow>>;

    /// Has `holder` do something that one server at a time does for all, for so long from now on or until it gives it up; says
    /// whether it may. It stays whose it is: call it again well before that time is over.
    async fn hold_duty(&self, name: &str, holder: &str, term: Duration) -> Result<bool>;

    /// Leaves to others what `holder` did for all, if it did.
    async fn give_up_duty(&self, name: &str, holder: &str) -> Result<()>;

    /// Adds a repository; [`StoreError::RepositoryExists`] where its namespace has one of that name.
    async fn add_repository(&self, repository: NewRepository) -> Result<RepositoryRow>;

    /// Keeps what a repository's source asks for, in place of what may be there: sealed, as secrets are.
    async fn put_repository_credentials(&self, repository: i64, credentials: &SecretString) -> Result<()>;

    /// What a repository's source asks for, if that is known.
    async fn repository_credentials(&self, repository: i64) -> Result<Option<SecretString>>;

    /// A namespace's repository by its name.
    async fn repository(&self, of: &Namespace, name: &str) -> Result<Option<RepositoryRow>>;

    /// The repositories of that name in all namespaces, the global one's first.
    async fn repositories_named(&self, name: &str) -> Result<Vec<RepositoryRow>>;

    /// All repositories, by namespace and name.
    async fn repositories(&self) -> Result<Vec<RepositoryRow>>;

    /// Forgets a repository; says whether there was one.
    async fn remove_repository(&self, of: &Namespace, name: &str) -> Result<bool>;

    /// Keeps a secret; one with the same key, scope and namespace is [`StoreError::SecretExists`].
    async fn add_secret(&self, secret: NewSecret) -> Result<SecretRow>;

    /// Keeps a secret in place of the one that may be there; says whether there was none.
    async fn put_secret(&self, secret: NewSecret) -> Result<(SecretRow, bool)>;

    /// A secret by its id, without its value.
    async fn secret(&self, id: &str) -> Result<Option<SecretRow>>;

    /// Secrets without their values; a few hundred at most, whatever the limit.
    async fn secrets(&self, filter: SecretFilter) -> Result<Vec<SecretRow>>;

    /// Forgets a secret; says whether there was one. Who was given it stays known.
    async fn remove_secret(&self, id: &str) -> Result<bool>;

    /// Which of these keys jobs of a queue and namespace would find secrets under.
    async fn known_secrets(
        &self,
        scope: Scope,
        namespace: &Namespace,
        keys: &[String],
    ) -> Result<Vec<String>>;

    /// The values of secrets that a held job asks for, as far as they are there: those of its queue, of its own namespace
    /// before global ones. That it was given them is noted when this returns.
    async fn open_secrets(&self, id: JobId, lease: &Lease, keys: &[String]) -> Result<Vec<OpenedSecret>>;

    /// Who was given which secret, newest first; a few hundred at most, whatever the limit.
    async fn secret_accesses(&self, filter: AccessFilter) -> Result<Vec<SecretAccessRow>>;

    /// Forgets who was given secrets before `cutoff`, and of more than about `most` such notes the oldest; says of how
    /// many. A call may leave some to the next one: it is done when it says 0.
    async fn forget_secret_accesses(&self, cutoff: Timestamp, most: u64) -> Result<u64>;

    /// Hears of changes from now on. Subscribe first, look second, then wait.
    fn changes(&self) -> broadcast::Receiver<Change>;
}
