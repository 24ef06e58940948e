//! A job that was claimed for a dequeue, until its answer has left.

use crate::app::App;
use crate::delivery::Undelivered;
use jobs::{JobId, Lease};
use store::{Claimed, StoreError};
use tokio::runtime::Handle;

/// A claimed job. Should its answer not leave for the executor, the job is queued again at once.
pub(super) struct Given {
    pub(super) claimed: Claimed,
    pub(super) undelivered: Undelivered,
}

impl Given {
    pub(super) fn new(app: &App, claimed: Claimed) -> Self {
        let (app, id, lease) = (app.clone(), claimed.job.id, lease(&claimed));
        let undelivered = Undelivered::new(move || {
            // What is dropped while the runtime ends is left to the lease's end.
            if Handle::try_current().is_ok() {
                app.tasks.clone().spawn(release(app, id, lease));
            }
        });
        Self { claimed, undelivered }
    }
}

/// The lease that a claim gave.
pub(super) fn lease(claimed: &Claimed) -> Lease {
    let record = &claimed.job.record;
    Lease { epoch: record.epoch, executor: record.executor.clone().unwrap_or_default() }
}

/// Takes back a claim that its executor never heard of.
pub(super) async fn release(app: App, id: JobId, lease: Lease) {
    match app.store.release(id, &lease).await {
        Ok(job) => tracing::info!(
            job = %id,
            executor = lease.executor,
            state = %job.record.state,
            "a job never reached its executor: the claim was taken back"
        ),
        // It has ended meanwhile.
        Err(StoreError::Rejected(_)) => {}
        Err(fault) => tracing::error!(
            job = %id,
            error = &fault as &dyn std::error::Error,
            "can't take back a job that never reached its executor: it waits for its lease's end"
        ),
    }
}
