//! Hearing how a job ended.

use super::job_call::JobCall;
use super::{Failure, bounds};
use crate::app::App;
use axum::extract::State;
use http::StatusCode;
use jobs::{EndReason, JobId, Lease};
use store::{Finish, StoreError};
use wire::{Mark, MarkWithError};

/// The job succeeded.
pub(super) async fn complete(State(app): State<App>, call: JobCall<Mark>) -> Result<StatusCode, Failure> {
    end(&app, call.id, call.lease, Finish::Complete, "dbworkerstore.MarkComplete").await
}

/// The job failed in a way that may be tried again.
pub(super) async fn errored(
    State(app): State<App>,
    call: JobCall<MarkWithError>,
) -> Result<StatusCode, Failure> {
    let (reason, message) = why(call.body);
    end(&app, call.id, call.lease, Finish::Error { reason, message }, "dbworkerstore.MarkErrored").await
}

/// The job failed for good.
pub(super) async fn failed(
    State(app): State<App>,
    call: JobCall<MarkWithError>,
) -> Result<StatusCode, Failure> {
    let (reason, message) = why(call.body);
    end(&app, call.id, call.lease, Finish::Fail { reason, message }, "dbworkerstore.MarkFailed").await
}

fn why(mark: MarkWithError) -> (EndReason, String) {
    // Stock executors tell no reason.
    let end = mark.end.map(bounds::evidence);
    let reason = end.as_ref().map_or(EndReason::Unspecified, EndReason::from_detail);
    (reason, mark.error_message)
}

async fn end(
    app: &App,
    id: JobId,
    lease: Lease,
    finish: Finish,
    operation: &str,
) -> Result<StatusCode, Failure> {
    let store = app.store.clone();
    let executor = lease.executor.clone();
    match app.see_through(async move { store.finish(id, &lease, finish).await }).await? {
        Ok(job) => {
            app.metrics.ended(&job);
            let reason = job.end.map(|end| end.reason).unwrap_or_default();
            tracing::info!(job = %id, executor, state = %job.record.state, reason, "a job ended");
            Ok(StatusCode::NO_CONTENT)
        }
        Err(StoreError::UnknownJob(_) | StoreError::Rejected(_)) => Err(Failure::no_job_to_mark()),
        Err(fault) => Err(Failure::store(operation, &fault)),
    }
}
