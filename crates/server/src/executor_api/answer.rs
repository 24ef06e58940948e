//! Answers that are not the wanted one, in the shapes of the protocol.

use crate::body::BodyFault;
use crate::disk_floor::BelowFloor;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use std::io::ErrorKind;
use store::StoreError;
use tokio::task::JoinError;
use wire::ErrorBody;
use wire::additions::NO_ROOM;

/// When to try again what there was no room or no time for. A stock executor that is asked for more than 3 s does not try again
/// at all, and a job of its own fails when it could not open a log entry.
const SOON: HeaderValue = HeaderValue::from_static("3");

/// A refusal or a fault of ours.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    retry_after: Option<HeaderValue>,
    body: FailureBody,
}

#[derive(Debug)]
enum FailureBody {
    Empty,
    Text(String),
    Error(String),
    Null,
}

fn soon(status: StatusCode) -> Option<HeaderValue> {
    (status == StatusCode::SERVICE_UNAVAILABLE).then_some(SOON)
}

impl Failure {
    pub(crate) const fn empty(status: StatusCode) -> Self {
        Self { status, retry_after: None, body: FailureBody::Empty }
    }

    /// Plain text and a newline.
    pub(crate) fn text(status: StatusCode, text: &str) -> Self {
        Self { status, retry_after: soon(status), body: FailureBody::Text(format!("{text}\n")) }
    }

    /// The same, with the word when to try again.
    pub(crate) fn retry_after(self, seconds: HeaderValue) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// `{"error":"…"}`.
    pub(crate) fn error(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, retry_after: soon(status), body: FailureBody::Error(message.into()) }
    }

    /// What the protocol answers to most faults, the caller's own included.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::error(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// `{"error":"…"}` to a call that may work soon.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::error(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// The job to mark is not this executor's.
    pub(crate) const fn no_job_to_mark() -> Self {
        Self { status: StatusCode::NOT_FOUND, retry_after: None, body: FailureBody::Null }
    }

    /// The job or log entry to write to is not this executor's.
    pub(crate) fn unknown_job() -> Self {
        Self::internal("unknown job")
    }

    /// The store failed at `operation`. The causes are logged here and nowhere else.
    pub(crate) fn store(operation: &str, fault: &StoreError) -> Self {
        tracing::error!(operation, error = fault as &dyn std::error::Error, "the store failed");
        let told = format!("{operation}: {fault}");
        match fault {
            // Whoever has a job's token need not know where our files are.
            StoreError::LogFile { source, .. } => {
                let status = match source.kind() {
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                Self::error(status, format!("{operation}: a file of the server's failed: {source}"))
            }
            fault if fault.passes() => Self::unavailable(told),
            _ => Self::internal(told),
        }
    }
}

impl From<BodyFault> for Failure {
    fn from(fault: BodyFault) -> Self {
        Self::error(fault.status(), fault.to_string())
    }
}

/// There may be room again, and what is refused waits where it is until then.
impl From<BelowFloor> for Failure {
    fn from(below: BelowFloor) -> Self {
        tracing::debug!(%below, "text of a log is not taken now");
        Self::text(StatusCode::SERVICE_UNAVAILABLE, NO_ROOM)
    }
}

impl From<JoinError> for Failure {
    fn from(fault: JoinError) -> Self {
        tracing::error!(error = %fault, "a request handler broke");
        Self::internal("the server failed: see its log")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            FailureBody::Empty => self.status.into_response(),
            FailureBody::Text(text) => (self.status, text).into_response(),
            FailureBody::Error(error) => (self.status, Json(ErrorBody { error })).into_response(),
            FailureBody::Null => (self.status, Json(())).into_response(),
        };
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor_api::uploads::refuse;
    use crate::public_api::Refusal;
    use crate::uploads::UploadFault;

    #[test]
    fn a_database_that_has_no_time_or_is_away_is_no_fault_of_ours() {
        let elsewhere = || StoreError::UnknownSealingKey { key: "of another server".to_owned() };
        let faults = || [StoreError::Busy, StoreError::Away("it stands still".into()), elsewhere()];
        let executor = faults().map(|fault| Failure::store("dbworkerstore.Get", &fault).into_response());
        let public = faults().map(|fault| Refusal::from(fault).into_response());
        // A stock executor that is asked for more than 3 s gives up.
        for (responses, pause) in [(executor, "3"), (public, "5")] {
            for response in responses {
                assert_eq!(response.status(), 503);
                assert_eq!(response.headers()[RETRY_AFTER], pause);
            }
        }
        for fault in faults().map(UploadFault::Store) {
            let response = refuse(&fault).into_response();
            assert_eq!((response.status().as_u16(), &response.headers()[RETRY_AFTER]), (503, &SOON));
        }
        assert_eq!(Failure::store("dbworkerstore.Get", &StoreError::Outdated).into_response().status(), 500);
    }
}
