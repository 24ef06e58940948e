//! Who uploads an index: an executor, as documented, or the job that made it.

use super::authorization;
use super::executor::Executor;
use super::job::not_held;
use crate::app::App;
use crate::executor_api::Failure;
use axum::extract::FromRequestParts;
use http::request::Parts;
use jobs::index::QUEUE;
use store::HeldJob;
use wire::headers::Credentials;

/// Who makes a call about an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Uploader {
    /// An executor, or a job that was given its secret: any repository's.
    Executor,
    /// A job of the queue of indexes, with its token: of that job alone. The program that uploads sends no header that names
    /// the job, so the token alone tells which it is.
    Job(HeldJob),
}

impl FromRequestParts<App> for Uploader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        if let Ok(Credentials::Job(token)) = Credentials::parse(authorization(&parts.headers)) {
            let found = app.store.job_by_token(token).await;
            match found.map_err(|fault| Failure::store("jobTokenStore.Get", &fault))? {
                Some(held) if held.queue == QUEUE => return Ok(Self::Job(held)),
                // As ever: jobs of other queues upload nothing.
                Some(_) => {}
                None => return Err(not_held(app, &parts.headers, token).await),
            }
        }
        Executor::from_request_parts(parts, app).await.map(|_| Self::Executor)
    }
}
