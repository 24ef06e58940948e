//! The job token, which proves that the caller runs one job, and may touch that job alone.

use super::executor::{self, Executor, Unproved};
use super::{authorization, prefers};
use crate::app::App;
use crate::executor_api::Failure;
use crate::metrics::{self, Prover};
use crate::peer::Peer;
use crate::slots::sharing;
use http::{HeaderMap, StatusCode};
use std::num::IntErrorKind;
use store::HeldJob;
use wire::additions::{LATE_PREFERENCE, TRY_IS_OVER};
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
    /// An executor in its own name, as old ones do. Which job it means must be checked by that name.
    Executor(Executor),
}

impl Caller {
    /// The namespace of the job, if it is one that shares with others.
    pub(crate) fn share(&self) -> Option<&str> {
        match self {
            Self::Job(held) => sharing(&held.owner),
            Self::Executor(_) => None,
        }
    }
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
    peer: Peer,
    headers: &HeaderMap,
    scope: Scope<'_>,
) -> Result<Caller, Failure> {
    let token = match Credentials::parse(authorization(headers)) {
        Ok(Credentials::Job(token)) => token,
        Ok(Credentials::Shared(shown)) => return in_its_own_name(app, peer, shown, scope).await,
        Err(fault) => return Err(Failure::text(StatusCode::UNAUTHORIZED, text_of(fault))),
    };
    let id = job_id(headers)?;
    if headers.get(EXECUTOR_NAME).is_none_or(http::HeaderValue::is_empty) {
        return Err(Failure::text(StatusCode::BAD_REQUEST, "worker hostname cannot be empty"));
    }
    let found =
        app.store.job_by_token(token).await.map_err(|fault| Failure::store("jobTokenStore.Get", &fault))?;
    let Some(held) = found else { return Err(not_held(app, headers, token).await) };
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

/// The token is of no job that runs. If it was, until the job was taken back from an executor that had fallen silent, then that
/// is noted: the executor may have gone on all the time, and done twice what was to be done once.
pub(super) async fn not_held(app: &App, headers: &HeaderMap, token: &str) -> Failure {
    match app.store.note_late_call(token).await {
        Ok(None) => app.metrics.unproved(Prover::Job, metrics::Unproved::Wrong),
        Ok(Some((job, epoch))) => {
            app.metrics.late_call();
            tracing::debug!(%job, attempt = epoch, "a call came too late: the job had been taken back");
            if prefers(headers, LATE_PREFERENCE) {
                return Failure::text(StatusCode::CONFLICT, TRY_IS_OVER);
            }
        }
        Err(fault) => return Failure::store("jobTokenStore.Get", &fault),
    }
    Failure::text(StatusCode::UNAUTHORIZED, INVALID)
}

/// An executor that has no job token to show. One with an identity of its own has one for each of its jobs, and needs no other
/// way to what is theirs.
async fn in_its_own_name(app: &App, peer: Peer, shown: &str, scope: Scope<'_>) -> Result<Caller, Failure> {
    match (executor::prove(app, peer, shown).await?, scope) {
        (Ok(Executor::Named(_)), Scope::Repository(_) | Scope::Files) => Err(Failure::text(
            StatusCode::FORBIDDEN,
            "an identity does not stand for a job: send the job's token",
        )),
        (Ok(executor), _) => Ok(Caller::Executor(executor)),
        (Err(Unproved::Refused(why)), _) => Err(Failure::text(StatusCode::UNAUTHORIZED, &why)),
        (Err(Unproved::Wrong), _) => Err(Failure::empty(StatusCode::FORBIDDEN)),
    }
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
