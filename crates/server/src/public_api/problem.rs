//! Errors as `application/problem+json`.

mod faults;

use crate::api::{JobFault, Problem};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

/// Bytes of a detail at most.
const MAX_DETAIL: usize = 2_000;
/// Bytes of what is told of each of several jobs at most.
const MAX_JOB_DETAIL: usize = 300;
/// When to try again what there was no room or no time for.
pub(crate) const SOON: HeaderValue = HeaderValue::from_static("5");

/// A request of the public API that was not done.
#[derive(Debug, Clone)]
pub(crate) struct Refusal(Problem);

impl Refusal {
    /// `detail` tells which value broke which rule, and what to do. Of a value that is longer than any
    /// person would read it tells the beginning.
    pub(crate) fn new(status: StatusCode, code: &str, title: &str, detail: impl Into<String>) -> Self {
        let detail = cut(detail.into(), MAX_DETAIL);
        let (code, title) = (code.to_owned(), title.to_owned());
        Self(Problem { code, status: status.as_u16(), title, detail, jobs: Vec::new() })
    }

    /// What is wrong with one of several jobs, where it is that; else it is no matter of one job.
    pub(crate) fn of_job(self, index: usize) -> Result<JobFault, Self> {
        if !(400..500).contains(&self.0.status) {
            return Err(self);
        }
        let Problem { code, detail, .. } = self.0;
        Ok(JobFault { index, code, detail: cut(detail, MAX_JOB_DETAIL) })
    }

    /// The same with what is wrong with each of several jobs.
    pub(crate) fn with_jobs(mut self, jobs: Vec<JobFault>) -> Self {
        self.0.jobs = jobs;
        self
    }

    /// The same under another status.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status.as_u16();
        self
    }

    /// What is told.
    pub(crate) fn into_problem(self) -> Problem {
        self.0
    }

    /// There is no room. The log has what was told of it, for whoever can make some may not be who asked.
    fn disk_full(fault: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = fault, "a request of the public API met a full disk");
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", "A disk is full", fault.to_string())
    }

    /// A fault of ours: the log has the cause, the client need not know it.
    pub(super) fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = cause, "a request of the public API failed");
        let detail = "the server's log tells the cause; if it persists, restart the server";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed", detail)
    }
}

/// The beginning of what is longer than so many bytes.
fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
    text
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response =
            (status, [(CONTENT_TYPE, "application/problem+json")], axum::Json(self.0)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, SOON);
        }
        response
    }
}
