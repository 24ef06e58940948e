//! The public API under `/api/v1`: its types, shared by server and client. JSON with camelCase keys.

mod executions;
mod identity;
mod results;
mod secrets;
mod submissions;
mod users;

pub use executions::{ResultsView, StepResultView};
pub use identity::{
    ActView, CreateRegistration, CreateToken, CreatedRegistration, CreatedToken, IdentityView,
    RegistrationView, TokenView, WhoamiView,
};
pub use results::{ArtifactView, FileView, UploadView};
pub use secrets::{SecretAccessView, SecretView, SetSecret};
pub use submissions::{JobFault, MOST_JOBS, SubmitJob, SubmitJobs, SubmittedJobs};
pub use users::{CreateUser, SetPassword, UserView};

use jiff::Timestamp;
use jobs::{Blame, Canceler, Capacity, Namespace, Needs, Role, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::additions::EndDetail;

/// `POST /api/v1/jobs` answers 201 with this; `GET /api/v1/jobs/{id}` and the list carry it too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// The job's id.
    pub id: i64,
    /// Whose it is.
    #[serde(default)]
    pub namespace: Namespace,
    /// Its queue.
    pub queue: String,
    /// Where it is in its life.
    pub state: State,
    /// Why it ended: a name out of the closed set; `null` while it has not.
    pub reason: Option<String>,
    /// The evidence for `reason`.
    pub end: Option<EndDetail>,
    /// Whose fault the end was; `null` while it has not ended.
    pub blame: Option<Blame>,
    /// What went wrong, for people. Of a long one lists have the first 512 characters and `…`.
    pub message: Option<String>,
    /// Somebody asked for it to stop.
    pub cancel_requested: bool,
    /// Who that was, as far as is known.
    #[serde(default)]
    pub canceler: Option<Canceler>,
    /// The tries so far, the running one included.
    pub attempt: u32,
    /// The executor that runs or ran it.
    pub executor: Option<String>,
    /// The repository, if it has one.
    pub repository: Option<String>,
    /// The revision that was asked for.
    pub rev: Option<String>,
    /// The commit that `rev` named at submission.
    pub commit: Option<String>,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// When its latest try began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// From when on it may be tried again, if it has errored; for the executor that had it, a little later.
    #[serde(default)]
    pub retry_at: Option<Timestamp>,
    /// How often it is tried again after it failed by its own fault.
    #[serde(default)]
    pub retries: u32,
    /// How many of these tries there were.
    #[serde(default)]
    pub retries_used: u32,
    /// Where it is among its owner's jobs: one level counts as five minutes of waiting.
    #[serde(default)]
    pub priority: i32,
    /// It waits for this time.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    /// It waits until fewer jobs with its concurrency key run.
    #[serde(default)]
    pub waits_for_key: bool,
    /// What it needs of its executor. `null` in lists, and where it needs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
    /// How many jobs with its concurrency key run at once. `null` in lists, and where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencyView>,
    /// Its steps, those begun as well as those to come. Empty in lists, and where the state is told of a job that is followed.
    #[serde(default)]
    pub steps: Vec<StepView>,
    /// How tries ended that others followed, or may follow; oldest first. Empty in lists.
    #[serde(default)]
    pub earlier_tries: Vec<TryView>,
}

/// What a job shares with others, and how many of them run at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConcurrencyView {
    /// What the jobs have in common.
    pub key: String,
    /// How many at once.
    pub limit: u32,
}

/// A try of a job that another one followed, or may follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TryView {
    /// Its number, from 1.
    pub attempt: u32,
    /// Which executor had it.
    pub executor: Option<String>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Why it ended: a name out of the closed set.
    pub reason: String,
    /// The evidence for `reason`.
    pub end: EndDetail,
    /// Whose fault it was.
    pub blame: Blame,
    /// What went wrong, for people.
    pub message: Option<String>,
    /// How many calls of its executor came after the job had been taken back: it may have gone on meanwhile.
    #[serde(default)]
    pub late_calls: u32,
}

/// One step of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Its name, or its index.
    pub key: String,
    /// Its image.
    pub image: String,
    /// How it ended; `null` while it has not, and where its command came to no exit code: because its image
    /// was not to be had, for instance.
    pub exit_code: Option<i32>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// How long it took, in milliseconds; `null` while it has not ended.
    pub duration_ms: Option<i64>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Pass it as `cursor` to get the next page; `null` on the last.
    pub next_cursor: Option<String>,
}

/// One log entry of `GET /api/v1/jobs/{id}/logs`, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogEntryView {
    /// Which try of the job it belongs to.
    pub attempt: u32,
    /// Its number within the try, from 1.
    pub entry: i64,
    /// What it is about, such as `step.docker.build`.
    pub key: String,
    /// The redacted argument vector.
    pub command: Option<Vec<String>>,
    /// When it began.
    pub started_at: Timestamp,
    /// How it ended; `null` while it runs, -1 if its command came to no exit code.
    pub exit_code: Option<i32>,
    /// How long it took, in milliseconds; `null` while it runs.
    pub duration_ms: Option<i64>,
    /// Bytes of text.
    pub length: u64,
}

/// The events of `GET /api/v1/jobs/{id}/logs/stream` (Server-Sent Events). The SSE `event` field is
/// the `type`, the `id` field is the cursor to resume from (`Last-Event-ID`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum LogEvent {
    /// The job's state changed, or this is its state as the stream begins: without its steps, with how earlier tries ended.
    State(Box<JobView>),
    /// An entry was opened (its `exitCode` is `null`), or it ended, after all of its text.
    Entry(LogEntryView),
    /// Text was added to an entry.
    #[serde(rename_all = "camelCase")]
    Text {
        /// Which try.
        attempt: u32,
        /// Which entry.
        entry: i64,
        /// Where the text begins, in bytes.
        offset: u64,
        /// The text; it ends at a character boundary.
        text: String,
    },
    /// The job with its steps: it has ended, and all its text was sent. The stream ends after this.
    End(Box<JobView>),
}

/// `POST /api/v1/repositories`: adds a repository; the answer is a [`RepositoryView`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddRepository {
    /// Its name; jobs and clone URLs use it.
    pub name: String,
    /// Whose it is to be; those of who adds it unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Where to mirror it from: an absolute path on the server, or an `https`, `http`, `ssh` or `git` URL.
    pub source: String,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryView {
    /// Whose it is.
    #[serde(default)]
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
    /// Where it is mirrored from, without credentials.
    pub source: String,
    /// When it was added.
    pub created_at: Timestamp,
}

/// An executor that was heard of, in `GET /api/v1/executors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorView {
    /// Its name.
    pub name: String,
    /// The queues it serves.
    pub queues: Vec<String>,
    /// Heard of within three heartbeats, or within its lease where that is shorter. The jobs of one that is silent stay its own until their leases are over.
    pub active: bool,
    /// Its version.
    pub version: String,
    /// Operating system and architecture.
    pub platform: String,
    /// The version of its git; empty where it was not told.
    #[serde(default)]
    pub git_version: String,
    /// The version of its Docker engine; empty where it was not told.
    #[serde(default)]
    pub docker_version: String,
    /// The version of its `src`; empty where it was not told.
    #[serde(default)]
    pub src_version: String,
    /// When it was first heard of.
    pub first_seen_at: Timestamp,
    /// When it was last heard of.
    pub last_seen_at: Timestamp,
    /// How many jobs it runs now; of more than 10,000 that many.
    #[serde(default)]
    pub running: u64,
    /// The latest twelve of them at most.
    #[serde(default)]
    pub jobs: Vec<i64>,
    /// What it gives a job, as far as it told.
    #[serde(default)]
    pub capacity: Capacity,
    /// Since when it is given no jobs; `null`: it is.
    #[serde(default)]
    pub maintenance_at: Option<Timestamp>,
    /// Why it asks for no jobs, as it says itself while it is active: `draining` (it was told to leave, and waits for those it has),
    /// `disk-floor` (its disk has less room than is to stay free there); `null`: it asks, or does not say.
    #[serde(default)]
    pub takes_none: Option<String>,
}

/// `PATCH /api/v1/executors/{name}`; the answer is an [`ExecutorView`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeExecutor {
    /// Whether it is given no jobs from now on. Those it has go on.
    pub maintenance: bool,
}

/// A queue, in `GET /api/v1/queues` and `GET /api/v1/queues/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// Since when none of its jobs is given out; `null`: they are.
    pub paused_at: Option<Timestamp>,
    /// How many of its jobs are given out at once; `null`: any number.
    pub max_running: Option<u32>,
    /// Jobs that wait to be given out.
    pub queued: u64,
    /// Those of them that wait for their time, or for others with their concurrency key.
    pub held: u64,
    /// Jobs that executors have.
    pub running: u64,
    /// Jobs that wait for another try.
    pub errored: u64,
    /// When the oldest was queued that waits for an executor alone.
    pub oldest_queued_at: Option<Timestamp>,
    /// Jobs that ran and ended within the last hour, of 20,000 that ended in all queues together.
    #[serde(default)]
    pub ended_within_hour: u64,
    /// Those of them that failed.
    #[serde(default)]
    pub failed_within_hour: u64,
}

/// `PATCH /api/v1/queues/{name}`: what is left out stays; the answer is a [`QueueView`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeQueue {
    /// Whether its jobs are given out from now on. Those that run go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// How many of its jobs are given out at once; 0: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
}

/// `GET /api/v1/jobs/{id}/explain`: why a job waits, or why it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainView {
    /// The job.
    pub job: JobView,
    /// What stands between it and an executor, what has to go first before the rest. Empty for a job that does not wait.
    pub obstacles: Vec<ObstacleView>,
}

/// One thing that a job waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObstacleView {
    /// A stable name of its kind, such as `queue_paused`.
    pub code: String,
    /// The same for people.
    pub text: String,
}

/// A route of this API and what it asks of its caller: see [`crate::routes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteView {
    /// The HTTP method.
    pub method: String,
    /// The path, with its parameters in braces.
    pub path: String,
    /// What the caller must at least be.
    pub role: Role,
    /// Whether the caller must be of the global namespace.
    pub global: bool,
}

/// `GET /api/v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionView {
    /// The version of the server.
    pub version: String,
}

/// The code of what lies on the disk of another server. Behind a balancer the next connection may meet that one.
pub const RESULT_ELSEWHERE: &str = "result_elsewhere";

/// An error, as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Stable name of the kind of error, such as `unknown_job`.
    pub code: String,
    /// The HTTP status.
    pub status: u16,
    /// A few words.
    pub title: String,
    /// What, which value, which rule, what to do.
    pub detail: String,
    /// Of several jobs those that can't be submitted. Only where the code is `invalid_jobs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobFault>,
}
