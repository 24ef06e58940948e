//! Calls about a job that an executor holds: who calls, what it says, and whether it may.

use super::queue::Queue;
use super::{Failure, payload};
use crate::app::App;
use crate::auth::job::{Caller, Scope, authenticate};
use crate::auth::prefers;
use crate::config::Limits;
use crate::peer::Peer;
use crate::slots::Turn;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::StatusCode;
use jobs::{JobId, Lease};
use serde::de::DeserializeOwned;
use store::HeldJob;
use wire::additions::{AppendLog, LATE_PREFERENCE};
use wire::{LogEntry, LogEntryUpdate, Mark, MarkWithError};

/// A call that was understood, from a caller that holds the job it is about.
pub(super) struct JobCall<T> {
    pub(super) id: JobId,
    /// The lease to write with.
    pub(super) lease: Lease,
    pub(super) body: T,
    /// Whether the caller knows our additions to the protocol.
    pub(super) is_ours: bool,
    /// If the body is large: to be held for as long as that is in memory.
    pub(super) slot: Option<Turn>,
}

/// The body of such a call.
pub(super) trait AboutJob: DeserializeOwned + Send + Sync {
    /// The job, and the executor that says it runs it.
    fn about(&self) -> (JobId, &str);

    /// Bytes of the body at most.
    fn limit(limits: &Limits) -> usize {
        limits.log_body
    }

    /// The answer when the executor does not hold the job.
    fn not_held() -> Failure {
        Failure::unknown_job()
    }
}

impl<T: AboutJob> FromRequest<App> for JobCall<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let Queue(queue) = Queue::from_request_parts(&mut parts, app).await?;
        let &peer = parts.extensions.get::<Peer>().ok_or_else(|| Failure::empty(StatusCode::UNAUTHORIZED))?;
        let caller = authenticate(app, peer, &parts.headers, Scope::Queue(&queue)).await?;
        // No stock executor says so, and every one of ours does once it knows whom it speaks to.
        let is_ours = prefers(&parts.headers, LATE_PREFERENCE);
        let limit = T::limit(&app.limits);
        let (body, slot): (T, _) = payload::read_large(&app.about_jobs, peer, body, limit).await?;
        let (id, executor) = body.about();
        let lease = lease(app, caller, &queue, id, executor).await?.ok_or_else(T::not_held)?;
        Ok(Self { id, lease, body, is_ours, slot })
    }
}

/// The lease to write with: the job of the caller's token, or the one that the named executor holds.
/// `None` when `id` is not a job that `executor` holds in `queue`.
async fn lease(
    app: &App,
    caller: Caller,
    queue: &str,
    id: JobId,
    executor: &str,
) -> Result<Option<Lease>, Failure> {
    let held = match caller {
        Caller::Job(held) => Some(held),
        Caller::Executor(who) => {
            who.check_name(app, executor).await?;
            let held = app.store.job_by_holder(id, executor).await;
            held.map_err(|fault| Failure::store("dbworkerstore.Get", &fault))?
        }
    };
    let mine = |held: &HeldJob| held.id == id && held.executor == executor && held.queue == queue;
    Ok(held.filter(mine).map(|held| Lease { epoch: held.epoch, executor: held.executor }))
}

impl AboutJob for LogEntry {
    fn about(&self) -> (JobId, &str) {
        (self.job_id, &self.executor_name)
    }
}

impl AboutJob for LogEntryUpdate {
    fn about(&self) -> (JobId, &str) {
        self.entry.about()
    }
}

impl AboutJob for AppendLog {
    fn about(&self) -> (JobId, &str) {
        (self.job_id, &self.executor_name)
    }
}

impl AboutJob for Mark {
    fn about(&self) -> (JobId, &str) {
        (self.job_id, &self.executor_name)
    }

    fn limit(limits: &Limits) -> usize {
        limits.call_body
    }

    fn not_held() -> Failure {
        Failure::no_job_to_mark()
    }
}

impl AboutJob for MarkWithError {
    fn about(&self) -> (JobId, &str) {
        (self.job_id, &self.executor_name)
    }

    fn limit(limits: &Limits) -> usize {
        limits.call_body
    }

    fn not_held() -> Failure {
        Failure::no_job_to_mark()
    }
}
