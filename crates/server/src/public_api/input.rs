//! What comes in: bodies, queries and path parts, each refused with a problem that tells why.

use super::paging;
use super::problem::Refusal;
use crate::app::App;
use crate::auth::principal::Caller;
use crate::slots::Turn;
use crate::{bodies, body};
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use jobs::JobId;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Characters of an unknown parameter's name that are told of at most.
const LONGEST_TOLD: usize = 60;

/// How a message about a query begins, which is told otherwise.
const DESERIALIZE: &str = "Failed to deserialize query string: ";

/// Bytes of a body that tells little.
pub(super) const MAX_SMALL: usize = bodies::FREE;

/// Reads a JSON body of up to `limit` bytes, which are no more than [`MAX_SMALL`]. What is not JSON is a 400; JSON that is not what
/// the call wants is a 422.
pub(super) async fn json<T: DeserializeOwned>(
    app: &App,
    body: Body,
    limit: usize,
    code: &str,
) -> Result<T, Refusal> {
    parsed(&body::read(body, limit, app.limits.body_read).await?, code)
}

/// The same where they may be more, with the turn that it took: to be held for as long as what was read is in memory.
pub(super) async fn large_json<T: DeserializeOwned>(
    app: &App,
    caller: &Caller,
    body: Body,
    (limit, code): (usize, &str),
) -> Result<(T, Option<Turn>), Refusal> {
    let (bytes, turn) = large(app, caller, body, limit).await?;
    Ok((parsed(&bytes, code)?, turn))
}

/// Such a body, before it is understood.
pub(super) async fn large(
    app: &App,
    caller: &Caller,
    body: Body,
    limit: usize,
) -> Result<(Bytes, Option<Turn>), Refusal> {
    Ok(app.submitted.read(caller.peer(), &caller.namespace.key(), body, limit).await?)
}

/// What the JSON in `bytes` means.
pub(super) fn parsed<'b, T: Deserialize<'b>>(bytes: &'b [u8], code: &str) -> Result<T, Refusal> {
    // A list would be taken for the object's values in the order that they happen to have here.
    if bytes.trim_ascii_start().starts_with(b"[") {
        let (title, detail) = ("The request is not understood", "it is a list: send one JSON object");
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, title, detail));
    }
    serde_json::from_slice(bytes).map_err(|fault| {
        if fault.is_data() {
            let title = "The request is not understood";
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, title, fault.to_string())
        } else {
            let title = "The request body is not JSON";
            Refusal::new(StatusCode::BAD_REQUEST, "invalid_json", title, fault.to_string())
        }
    })
}

/// A query string without surprises: unknown and malformed parameters are refused.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        // No text that is kept has one, and PostgreSQL knows of none.
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(invalid_query("the query has a NUL character (%00): leave it out"));
        }
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(fault) => Err(invalid_query(told(parts.uri.query().unwrap_or_default(), &fault.body_text()))),
        }
    }
}

/// What `fault` says of a query, with the value that it is about and its rule.
fn told(query: &str, fault: &str) -> String {
    let said = fault.strip_prefix(DESERIALIZE).unwrap_or(fault);
    let Some((name, why)) = said.split_once(": ") else { return said.to_owned() };
    let Some((_, value)) = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name) else {
        return said.to_owned();
    };
    let value: String = value.chars().take(LONGEST_TOLD).collect();
    match rule(name, why) {
        Some(rule) => format!("{name} is {value:?}, but must be {rule}"),
        None => format!("{name} is {value:?}: {why}"),
    }
}

/// What a parameter must be, where what the parser says of it does not tell.
fn rule(name: &str, why: &str) -> Option<String> {
    match name {
        "limit" => Some(format!("a whole number between 1 and {}", paging::MOST)),
        "cursor" => Some("what the page before told as its nextCursor".to_owned()),
        _ if why.contains("integer") || why.contains("digit") => Some("a whole number from 0".to_owned()),
        _ if why.contains("number too") => Some("a whole number that is not too large".to_owned()),
        _ => None,
    }
}

/// Which try of a job is meant, if not the latest one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attempt {
    pub(super) attempt: Option<u32>,
}

/// Lets a request through that has no query, where none is taken.
pub(super) async fn no_parameters(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    if query.is_empty() {
        return next.run(request).await;
    }
    let name: String = query.chars().take_while(|c| !"=&".contains(*c)).take(LONGEST_TOLD).collect();
    let refused = format!("this call takes no parameters, and {name:?} is one: leave it out");
    invalid_query(refused).into_response()
}

/// A query parameter that breaks its rule.
pub(super) fn invalid_query(detail: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "invalid_query", "The query is not understood", detail)
}

/// The job, and what else is numbered, in a path.
pub(super) struct Numbered<T>(pub(super) T);

impl<S: Send + Sync> FromRequestParts<S> for Numbered<JobId> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(id) = Path::<i64>::from_request_parts(parts, state).await.map_err(|_| not_a_number())?;
        Ok(Self(JobId(id)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Numbered<i64> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(id) = Path::<i64>::from_request_parts(parts, state).await.map_err(|_| not_a_number())?;
        Ok(Self(id))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Numbered<(JobId, i64)> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<(i64, i64)>::from_request_parts(parts, state).await;
        let Path((id, number)) = path.map_err(|_| not_a_number())?;
        Ok(Self((JobId(id), number)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Numbered<(JobId, String)> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<(i64, String)>::from_request_parts(parts, state).await;
        let Path((id, name)) = path.map_err(|_| not_a_number())?;
        Ok(Self((JobId(id), name)))
    }
}

/// What is named in a path. What can't be a name is none of any kind.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let named = Path::<String>::from_request_parts(parts, state).await.ok();
        let named = named.filter(|Path(name)| !name.contains('\0'));
        let Some(Path(name)) = named else {
            let detail = "the name in the path is not UTF-8 without NUL, which all names are";
            return Err(Refusal::new(StatusCode::NOT_FOUND, "no_such_path", "There is no such path", detail));
        };
        Ok(Self(name))
    }
}

fn not_a_number() -> Refusal {
    let detail = "jobs, log entries and tokens are named by their numbers, such as /api/v1/jobs/42";
    Refusal::new(StatusCode::NOT_FOUND, "no_such_path", "There is no such path", detail)
}
