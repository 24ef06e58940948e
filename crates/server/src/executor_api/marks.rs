//! Hearing how a job ended.

use super::queue::Queue;
use super::{Failure, job_call, payload};
use crate::app::App;
use crate::auth::job::{Caller, Scope, authenticate};
use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use jobs::EndReason;
use store::{Finish, StoreError};
use wire::{JobId, Mark, MarkWithError};

/// The job succeeded.
pub(super) async fn complete(
    State(app): State<App>,
    Queue(queue): Queue,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Failure> {
    let caller = authenticate(&app, &headers, Scope::Queue(&queue)).await?;
    let Mark { executor_name, job_id } = payload::read(&app, body, app.limits.call_body).await?;
    let ended = Ended { caller, queue, id: job_id, executor: executor_name };
    ended.mark_as(&app, Finish::Complete, "dbworkerstore.MarkComplete").await
}

/// The job failed in a way that may be tried again.
pub(super) async fn errored(
    State(app): State<App>,
    Queue(queue): Queue,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Failure> {
    let (ended, reason, message) = read_with_error(&app, queue, &headers, body).await?;
    ended.mark_as(&app, Finish::Error { reason, message }, "dbworkerstore.MarkErrored").await
}

/// The job failed for good.
pub(super) async fn failed(
    State(app): State<App>,
    Queue(queue): Queue,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Failure> {
    let (ended, reason, message) = read_with_error(&app, queue, &headers, body).await?;
    ended.mark_as(&app, Finish::Fail { reason, message }, "dbworkerstore.MarkFailed").await
}

async fn read_with_error(
    app: &App,
    queue: String,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Ended, EndReason, String), Failure> {
    let caller = authenticate(app, headers, Scope::Queue(&queue)).await?;
    let mark: MarkWithError = payload::read(app, body, app.limits.call_body).await?;
    // Stock executors tell no reason.
    let reason = mark.end.as_ref().map_or(EndReason::Unspecified, EndReason::from_detail);
    let ended = Ended { caller, queue, id: mark.job_id, executor: mark.executor_name };
    Ok((ended, reason, mark.error_message))
}

/// A job that somebody says has ended.
struct Ended {
    caller: Caller,
    queue: String,
    id: JobId,
    executor: String,
}

impl Ended {
    async fn mark_as(self, app: &App, finish: Finish, operation: &str) -> Result<StatusCode, Failure> {
        let Self { caller, queue, id, executor } = self;
        let lease = job_call::lease(app, caller, &queue, id, &executor).await?;
        let lease = lease.ok_or_else(Failure::no_job_to_mark)?;
        let store = app.store.clone();
        match app.see_through(async move { store.finish(id, &lease, finish).await }).await? {
            Ok(job) => {
                let reason = job.end.map(|end| end.reason).unwrap_or_default();
                tracing::info!(job = %id, executor, state = %job.record.state, reason, "a job ended");
                Ok(StatusCode::NO_CONTENT)
            }
            Err(StoreError::UnknownJob(_) | StoreError::Rejected(_)) => Err(Failure::no_job_to_mark()),
            Err(fault) => Err(Failure::store(operation, &fault)),
        }
    }
}
