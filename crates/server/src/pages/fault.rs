//! Why there is no page.

use crate::api::Problem;
use crate::auth::attempts::Limited;
use crate::public_api::Refusal;
use axum::response::Response;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

/// Something was refused, or went wrong.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    /// A few words.
    pub(super) title: String,
    /// What, which value, which rule, what to do.
    pub(super) detail: String,
    /// After how many seconds another attempt makes sense.
    pub(super) retry_after: Option<HeaderValue>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        Self { status, title: title.to_owned(), detail: detail.into(), retry_after: None }
    }

    /// Tells programs when to try again, in the answer that shows the fault to people.
    pub(super) fn told_in(&self, mut response: Response) -> Response {
        if let Some(seconds) = &self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.clone());
        }
        response
    }

    /// A field of a form that breaks its rule.
    pub(super) fn field(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "The form can't be taken as it is", detail)
    }

    /// A fault of ours: the log has the cause, people need not know it.
    pub(super) fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = cause, "a page failed");
        let detail = "the server's log tells the cause; if it persists, restart the server";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "The server failed", detail)
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let detail = super::plain::plain(&problem.detail).into_owned();
        Self { status, title: problem.title, detail, retry_after: None }
    }
}

impl From<Limited> for Fault {
    fn from(limited: Limited) -> Self {
        let fault = Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many attempts", limited.to_string());
        Self { retry_after: Some(limited.retry_after()), ..fault }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        refusal.into_problem().into()
    }
}
