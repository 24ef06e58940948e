//! Emptying the write-ahead log, which may hold the secrets of jobs that ended.

use crate::app::App;
use jobs::JobId;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{Change, SqlStore, Store};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

/// How often the write-ahead log is emptied.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(20);
/// How long after a job with secrets ended it is emptied as well.
const SETTLE: Duration = Duration::from_millis(500);
/// Jobs with secrets that are noted at most.
const MAX_NOTED: usize = 100_000;

/// Empties the write-ahead log every so often, and soon after a job with secrets ended, until the
/// server stops.
pub(crate) async fn empty(app: App, store: Arc<SqlStore>) {
    let mut changes = store.changes();
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = sleep(CHECKPOINT_EVERY) => {}
            // Jobs that end together share one checkpoint.
            () = ended_with_secrets(&app, &mut changes) => sleep(SETTLE).await,
        }
        if let Err(fault) = store.checkpoint().await {
            tracing::warn!(error = &fault as &dyn std::error::Error, "can't empty the write-ahead log");
        }
    }
}

/// Returns when a job with secrets may have ended.
async fn ended_with_secrets(app: &App, changes: &mut Receiver<Change>) {
    loop {
        match changes.recv().await {
            Ok(Change::Job(id)) if app.secret_jobs.holds(id) => {
                if app.store.job(id).await.is_ok_and(|job| job.record.state.is_terminal()) {
                    app.secret_jobs.forget(id);
                    return;
                }
            }
            Ok(_) => {}
            // Some news were lost: one of them may have been such an end.
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// Jobs with secrets that have not ended, as far as this process heard of them: it submitted or gave
/// them out. For those it missed the regular checkpoint is soon enough.
#[derive(Default)]
pub(crate) struct SecretJobs(Mutex<BTreeSet<JobId>>);

impl SecretJobs {
    /// Notes a job with secrets. Beyond [`MAX_NOTED`] nothing is noted.
    pub(crate) fn note(&self, id: JobId) {
        let mut jobs = self.jobs();
        if jobs.len() < MAX_NOTED {
            jobs.insert(id);
        }
    }

    fn holds(&self, id: JobId) -> bool {
        self.jobs().contains(&id)
    }

    fn forget(&self, id: JobId) {
        self.jobs().remove(&id);
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeSet<JobId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
