//! Why there is no page.

use crate::api::Problem;
use crate::public_api::Refusal;
use http::StatusCode;

/// Something was refused, or went wrong.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    /// A few words.
    pub(super) title: String,
    /// What, which value, which rule, what to do.
    pub(super) detail: String,
}

impl Fault {
    pub(super) fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        Self { status, title: title.to_owned(), detail: detail.into() }
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
        Self { status, title: problem.title, detail }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        refusal.into_problem().into()
    }
}
