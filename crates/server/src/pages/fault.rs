//! Why there is no page.

use crate::api::Problem;
use crate::auth::attempts::Limited;
use crate::body::BodyFault;
use crate::public_api::{Refusal, SOON};
use axum::response::Response;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use std::time::Duration;
use store::StoreError;

const BUSY: &str = "The server is busy";

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

    /// The same where another attempt may do soon.
    fn soon(self) -> Self {
        Self { retry_after: Some(SOON), ..self }
    }

    /// Too many pages are made at one time.
    pub(super) fn no_turn(waited: Duration) -> Self {
        let detail = format!(
            "too many pages are asked for at one time, and no turn was free for {} s: reload this one",
            waited.as_secs()
        );
        Self::new(StatusCode::SERVICE_UNAVAILABLE, BUSY, detail).soon()
    }

    /// There is no room for a page until it is sent.
    pub(super) fn no_room() -> Self {
        let detail = "too many large pages and other answers are being sent at one time: wait until those that you asked for \
                      are there, then reload this one";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, BUSY, detail).soon()
    }

    /// An answer of the public API is not there whole. One that takes long waits for room, or for its turn.
    pub(super) fn unread(fault: &BodyFault) -> Self {
        match fault {
            BodyFault::TooSlow { within } => {
                let detail = format!(
                    "what this page shows was not there within {} s, for too much is being read at one time: wait until what \
                     you asked for is there, then reload this one",
                    within.as_secs()
                );
                Self::new(StatusCode::SERVICE_UNAVAILABLE, BUSY, detail).soon()
            }
            BodyFault::TooLarge { limit } => {
                let detail = format!(
                    "what this page would show takes more than {limit} bytes, which is the limit for one page: ask the API, or \
                     the command line"
                );
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "There is too much to show", detail)
            }
            fault => Self::internal(fault),
        }
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

impl From<BodyFault> for Fault {
    fn from(fault: BodyFault) -> Self {
        let told = Self::new(fault.status(), "The form can't be taken", fault.to_string());
        if fault == BodyFault::Busy { told.soon() } else { told }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let detail = super::plain::plain(&problem.detail).into_owned();
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(SOON);
        Self { status, title: problem.title, detail, retry_after }
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

impl From<StoreError> for Fault {
    fn from(fault: StoreError) -> Self {
        Refusal::from(fault).into()
    }
}
