//! What callers may know of: whatever they may not is as if it were not there.

use super::problem::Refusal;
use crate::app::App;
use http::StatusCode;
use jobs::{JobId, Namespace, Principal};
use store::{JobRow, StoreError};

/// A job that the caller may know of.
pub(crate) async fn job(app: &App, caller: &Principal, id: JobId) -> Result<JobRow, Refusal> {
    let job = app.store.job(id).await?;
    if caller.sees_key(&job.owner) { Ok(job) } else { Err(StoreError::UnknownJob(id).into()) }
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
