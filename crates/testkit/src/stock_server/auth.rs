//! The two checks in front of every route.

use super::answer::Answer;
use super::instance::{Instance, Record};
use super::request::Request;

fn refused(status: u16, text: &str) -> Answer {
    Answer::status(status).with("Content-Type", "text/plain; charset=utf-8").body(format!("{text}\n"))
}

/// Scheme and token of the request.
fn credentials(request: &Request) -> Result<(&str, &str), Answer> {
    let value = request.header("authorization").unwrap_or_default();
    match value.split(' ').collect::<Vec<_>>()[..] {
        [scheme, token] => Ok((scheme, token)),
        _ => Err(refused(401, "no token value in the HTTP Authorization request header")),
    }
}

/// Calls in the executor's own name.
pub(super) fn shared(instance: &Instance, request: &Request) -> Result<(), Answer> {
    match credentials(request)? {
        ("token-executor", token) if token == instance.secret => Ok(()),
        _ => Err(Answer::status(401)),
    }
}

/// Calls about a job of `queue`.
pub(super) fn job(instance: &Instance, request: &Request, queue: &str) -> Result<(), Answer> {
    checked(instance, request, |of, _| of == queue)
}

/// Calls for the repository of a job.
pub(super) fn git(instance: &Instance, request: &Request, repository: &str) -> Result<(), Answer> {
    checked(instance, request, |_, record| record.repository == repository)
}

fn checked(
    instance: &Instance,
    request: &Request,
    fits: impl Fn(&str, &Record) -> bool,
) -> Result<(), Answer> {
    let token = match credentials(request)? {
        ("Bearer", token) => token,
        ("token-executor", token) if token == instance.secret => return Ok(()),
        ("token-executor", _) => return Err(Answer::status(403)),
        _ => return Err(refused(401, "unrecognized HTTP Authorization request header scheme")),
    };
    let id = request
        .header("X-Sourcegraph-Job-ID")
        .ok_or_else(|| refused(400, "job ID not provided in header 'X-Sourcegraph-Job-ID'"))?;
    let id: i64 = id.parse().map_err(|_| refused(400, "failed to parse Job ID"))?;
    if request.header("X-Sourcegraph-Executor-Name").unwrap_or_default().is_empty() {
        return Err(refused(400, "worker hostname cannot be empty"));
    }
    let known = instance.records.iter().find(|(_, record)| record.token.as_deref() == Some(token));
    let ((queue, of), record) = known.ok_or_else(|| refused(401, "invalid token"))?;
    if *of == id && fits(queue, record) { Ok(()) } else { Err(refused(403, "invalid token")) }
}
