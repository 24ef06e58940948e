//! What is done now and then: taking jobs back from executors that fell silent, and emptying the
//! write-ahead log, which may hold the secrets of jobs that ended.

use crate::app::App;
use jobs::LeasePolicy;
use std::sync::Arc;
use std::time::Duration;
use store::SqliteStore;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// How often the write-ahead log is emptied.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(20);

/// Looks for stalled jobs every `scan_interval` until the server stops.
pub(crate) async fn take_back_stalled(app: App, lease: LeasePolicy) {
    let started = app.clock.now();
    let mut ticks = interval(lease.scan_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Some(cutoff) = lease.stalled_before(app.clock.now(), started) {
            take_back(&app, cutoff).await;
        }
    }
}

async fn take_back(app: &App, cutoff: jiff::Timestamp) {
    match app.store.reset_stalled(cutoff).await {
        Ok(jobs) => {
            for job in jobs {
                tracing::warn!(
                    job = %job.id,
                    executor = job.record.executor.as_deref().unwrap_or_default(),
                    state = %job.record.state,
                    resets = job.record.resets,
                    "the executor of this job fell silent"
                );
            }
        }
        Err(fault) => {
            tracing::error!(error = &fault as &dyn std::error::Error, "can't look for stalled jobs");
        }
    }
}

/// Empties the write-ahead log every so often until the server stops.
pub(crate) async fn checkpoint(store: Arc<SqliteStore>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(CHECKPOINT_EVERY) => {}
        }
        if let Err(fault) = store.checkpoint().await {
            tracing::warn!(error = &fault as &dyn std::error::Error, "can't empty the write-ahead log");
        }
    }
}
