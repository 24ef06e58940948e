//! The job token, which proves that the caller runs one job, and may touch that job alone.

use super::{authorization, secret};
use crate::app::App;
use crate::executor_api::Failure;
use http::{HeaderMap, StatusCode};
use std::num::IntErrorKind;
use store::HeldJob;
use wire::headers::{BadAuthorization, Credentials, EXECUTOR_NAME, JOB_ID};

const MISSING: &str = "no token value in the HTTP Authorization request header";
const MALFORMED: &str = "HTTP Authorization request header value must be of the following form: \
                         'Bearer \"TOKEN\"' or 'token-executor TOKEN'";
const UNKNOWN_SCHEME: &str = "unrecognized HTTP Authorization request header scheme (supported values: \"Bearer\", \"token-executor\")";
const INVALID: &str = "invalid token";

/// Who makes a call about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The holder of the job's token.
    Job(HeldJob),
    /// An executor of ours, as old ones do. Which job it means must be checked by its name.
    Executor,
}

/// What a job token must be good for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// Calls on the jobs of a queue.
    Queue(&'a str),
    /// Reading a repository.
    Repository(&'a str),
    /// Reading files. Which of them is for the caller to check.
    Files,
}

/// Decides who calls, before anything is written. The caller's executor need not have registered:
/// its first log entry may be faster than its first heartbeat.
pub(crate) async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    scope: Scope<'_>,
) -> Result<Caller, Failure> {
    let token = match Credentials::parse(authorization(headers)) {
        Ok(Credentials::Job(token)) => token,
        Ok(Credentials::Shared(token)) => {
            let site = app.site.current();
            let known = site.access_token.as_ref().is_some_and(|expected| secret::same(expected, token));
            return if known { Ok(Caller::Executor) } else { Err(Failure::empty(StatusCode::FORBIDDEN)) };
        }
        Err(fault) => return Err(Failure::text(StatusCode::UNAUTHORIZED, text_of(fault))),
    };
    let id = job_id(headers)?;
    if headers.get(EXECUTOR_NAME).is_none_or(http::HeaderValue::is_empty) {
        return Err(Failure::text(StatusCode::BAD_REQUEST, "worker hostname cannot be empty"));
    }
    let found =
        app.store.job_by_token(token).await.map_err(|fault| Failure::store("jobTokenStore.Get", &fault))?;
    let Some(held) = found else {
        return Err(Failure::text(StatusCode::UNAUTHORIZED, INVALID));
    };
    let in_scope = match scope {
        Scope::Queue(queue) => held.queue == queue,
        Scope::Repository(name) => held.repository == name,
        Scope::Files => true,
    };
    if held.id.0 != id || !in_scope {
        return Err(Failure::text(StatusCode::FORBIDDEN, INVALID));
    }
    Ok(Caller::Job(held))
}

const fn text_of(fault: BadAuthorization) -> &'static str {
    match fault {
        BadAuthorization::Missing => MISSING,
        BadAuthorization::Malformed => MALFORMED,
        BadAuthorization::UnknownScheme => UNKNOWN_SCHEME,
    }
}

/// The job id of the header. The fault is told in the words that stock control planes use.
fn job_id(headers: &HeaderMap) -> Result<i64, Failure> {
    let refuse = |text: String| Failure::text(StatusCode::BAD_REQUEST, &text);
    let value = headers.get(JOB_ID).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if value.is_empty() {
        return Err(refuse(format!("job ID not provided in header '{JOB_ID}'")));
    }
    value.parse().map_err(|fault: std::num::ParseIntError| {
        let why = match fault.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        refuse(format!("failed to parse Job ID: strconv.Atoi: parsing {value:?}: {why}"))
    })
}
