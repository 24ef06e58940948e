//! Which job a call may write to.

use super::Failure;
use crate::app::App;
use crate::auth::job::Caller;
use jobs::{JobId, Lease};
use store::HeldJob;

/// The lease to write with: the job of the caller's token, or the one that the named executor holds.
/// `None` when `id` is not a job that `executor` holds in `queue`.
pub(super) async fn lease(
    app: &App,
    caller: Caller,
    queue: &str,
    id: JobId,
    executor: &str,
) -> Result<Option<Lease>, Failure> {
    let held = match caller {
        Caller::Job(held) => Some(held),
        Caller::Executor => app
            .store
            .job_by_holder(id, executor)
            .await
            .map_err(|fault| Failure::store("dbworkerstore.Get", &fault))?,
    };
    let mine = |held: &HeldJob| held.id == id && held.executor == executor && held.queue == queue;
    Ok(held.filter(mine).map(|held| Lease { epoch: held.epoch, executor: held.executor }))
}
