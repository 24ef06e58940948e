//! What callers may know of: whatever they may not is as if it were not there.

use super::problem::Refusal;
use crate::app::App;
use crate::auth::principal::Caller;
use crate::peer::Peer;
use crate::slots::Slot;
use http::StatusCode;
use jobs::{JobId, Namespace, Principal};
use store::{JobRow, StoreError};

/// A job that the caller may know of.
pub(super) async fn job(app: &App, caller: &Principal, id: JobId) -> Result<JobRow, Refusal> {
    let job = app.store.job(id).await?;
    if caller.sees_key(&job.owner) { Ok(job) } else { Err(StoreError::UnknownJob(id).into()) }
}

/// A turn to make a list that may cost much: whoever asks for many at one time keeps nobody else from theirs.
pub(super) async fn turn(app: &App, caller: &Caller) -> Result<Slot, Refusal> {
    let turn = app.reads.take(Peer::of(caller.from), app.limits.read_queue).await;
    turn.ok_or_else(|| {
        let detail = "too many lists are asked for at one time: try again";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_reads", "The server is busy", detail)
    })
}

/// Of which namespace to list things, if not of all.
pub(super) fn listed(caller: &Principal, asked: Option<Namespace>) -> Result<Option<Namespace>, Refusal> {
    match asked {
        None if caller.is_everywhere() => Ok(None),
        asked => namespace(caller, asked).map(Some),
    }
}

/// Whose something is: the caller's own unless said otherwise.
pub(super) fn namespace(caller: &Principal, asked: Option<Namespace>) -> Result<Namespace, Refusal> {
    let namespace = asked.unwrap_or_else(|| caller.namespace.clone());
    if caller.sees(&namespace) {
        return Ok(namespace);
    }
    let detail = format!(
        "the token {:?}, a {} of {}, has nothing to do with {namespace}: leave the namespace out, or use a token that has",
        caller.name, caller.role, caller.namespace
    );
    Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", "The token may not do this", detail))
}
