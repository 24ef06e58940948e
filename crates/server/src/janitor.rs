//! What is done now and then: taking jobs back from executors that fell silent, removing what nobody
//! needs any more, and emptying the write-ahead log, which may hold the secrets of jobs that ended.

use crate::app::App;
use jiff::SignedDuration;
use jobs::attention::{Attention, Look};
use jobs::{JobId, Judgement};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{Change, SqlStore, Store};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often to look for jobs whose time has come.
const RELEASE_DUE_EVERY: Duration = Duration::from_secs(1);
/// How often to look for what was left undone.
const TIDY_EVERY: Duration = Duration::from_mins(1);
/// How often the write-ahead log is emptied.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(20);
/// How long after a job with secrets ended it is emptied as well.
const SETTLE: Duration = Duration::from_millis(500);
/// How long an executor that is silent is remembered, and how often to look.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);
const FORGET_EVERY: Duration = Duration::from_mins(30);
/// How long tokens are remembered that are good for nothing, and identities that nobody uses.
const IDENTITIES_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How often to look for uploaded files that no job needs any more; oftener where they are kept for less.
const FORGET_FILES_EVERY: Duration = Duration::from_mins(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// Jobs with secrets that are noted at most.
const MAX_NOTED: usize = 100_000;

/// Looks for stalled jobs every `scan_interval` until the server stops.
pub(crate) async fn take_back_stalled(app: App) {
    let mut attention = Attention::from(app.clock.with_monotonic());
    let mut ticks = interval(app.leases.scan_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let planned = tokio::select! {
            () = app.stop.cancelled() => return,
            planned = ticks.tick() => planned,
        };
        let clocks @ (now, _) = app.clock.with_monotonic();
        let look = Look { clocks, late: planned.elapsed(), unheard: app.unheard.take() };
        if let Some(why) = attention.look(look) {
            tracing::warn!(why, "no executor counts as silent for a whole lease from now on");
        }
        take_back(&app, Judgement { now, attentive_since: attention.since() }).await;
    }
}

async fn take_back(app: &App, at: Judgement) {
    match app.store.reset_stalled(at).await {
        Ok(jobs) => {
            for job in jobs {
                app.metrics.lease_lost(&job);
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
            app.metrics.resetting_failed();
            tracing::error!(error = &fault as &dyn std::error::Error, "can't look for stalled jobs");
        }
    }
}

/// Lets go of jobs whose time has come, until the server stops.
pub(crate) async fn release_due(app: App) {
    let mut ticks = interval(RELEASE_DUE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(fault) = app.store.release_due().await {
            tracing::error!(
                error = &fault as &dyn std::error::Error,
                "can't let go of jobs whose time has come"
            );
        }
    }
}

/// Sees to what was left undone, until the server stops.
pub(crate) async fn tidy(app: App) {
    let mut ticks = interval(TIDY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match app.store.hand_on_places().await {
            Ok(0) => {}
            Ok(places) => tracing::info!(places, "gave places of concurrency keys to jobs that waited"),
            Err(fault) => {
                let error = &fault as &dyn std::error::Error;
                tracing::error!(error, "can't give jobs the places of their concurrency keys");
            }
        }
        if let Err(fault) = app.store.forget_lanes().await {
            let error = &fault as &dyn std::error::Error;
            tracing::error!(error, "can't forget what kinds of jobs there were");
        }
    }
}

/// Forgets executors that were not heard of for long, since each start of an agent is a new one, until
/// the server stops.
pub(crate) async fn forget_executors(app: App) {
    let mut ticks = interval(FORGET_EVERY);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Ok(cutoff) = app.clock.now().checked_sub(REMEMBERED) else { continue };
        if let Err(fault) = app.store.forget_executors(cutoff).await {
            tracing::error!(error = &fault as &dyn std::error::Error, "can't forget executors that are gone");
        }
    }
}

/// Removes jobs that ended longer ago than the site configuration says they are kept, until the server
/// stops.
pub(crate) async fn forget_jobs(app: App) {
    let mut ticks = interval(app.limits.forget_jobs_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Some(kept) = app.site.current().ended_jobs_kept else { continue };
        let Ok(cutoff) = app.clock.now().checked_sub(kept) else { continue };
        forget_ended(&app, cutoff).await;
    }
}

async fn forget_ended(app: &App, cutoff: jiff::Timestamp) {
    let mut jobs = 0;
    while !app.stop.is_cancelled() {
        match app.store.forget_jobs(cutoff).await {
            Ok(0) => break,
            Ok(some) => jobs += some,
            Err(fault) => {
                tracing::error!(error = &fault as &dyn std::error::Error, "can't remove jobs that ended");
                break;
            }
        }
    }
    if jobs > 0 {
        tracing::info!(jobs, "removed jobs that ended long ago, with their logs");
    }
}

/// Forgets who was given secrets as soon as that is too old, or more than is kept, until the server stops.
pub(crate) async fn forget_accesses(app: App) {
    let mut ticks = interval(app.limits.forget_accesses_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Ok(cutoff) = app.clock.now().checked_sub(app.limits.secret_accesses_kept) else { continue };
        loop {
            match app.store.forget_secret_accesses(cutoff, app.limits.secret_accesses).await {
                Ok(1..) if !app.stop.is_cancelled() => {}
                Ok(_) => break,
                Err(fault) => {
                    tracing::error!(
                        error = &fault as &dyn std::error::Error,
                        "can't forget who was given secrets"
                    );
                    break;
                }
            }
        }
    }
}

/// Removes uploaded files that no job has needed for as long as they are kept, until the server stops.
pub(crate) async fn forget_files(app: App) {
    let kept = app.limits.files_kept;
    let mut ticks = interval(kept.clamp(SHORTEST_PAUSE, FORGET_FILES_EVERY));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Ok(cutoff) = app.clock.now().checked_sub(kept) else { continue };
        match app.files.forget(cutoff).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "removed uploaded files that no job needs any more"),
            Err(fault) => {
                tracing::error!(error = &fault as &dyn std::error::Error, "can't remove uploaded files");
            }
        }
    }
}

/// Forgets what was noted of people's acts, and tokens and identities that are good for nothing, when they were kept long
/// enough, until the server stops.
pub(crate) async fn forget_acts_and_identities(app: App) {
    let mut ticks = interval(FORGET_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = app.clock.now();
        if let Ok(cutoff) = now.checked_sub(app.site.current().audit_kept) {
            forget_acts(&app, cutoff).await;
        }
        let Ok(cutoff) = now.checked_sub(IDENTITIES_KEPT) else { continue };
        match app.store.forget_identities(cutoff).await {
            Ok(0) => {}
            Ok(forgotten) => tracing::info!(forgotten, "forgot tokens and identities of no use"),
            Err(fault) => {
                let error = &fault as &dyn std::error::Error;
                tracing::error!(error, "can't forget tokens and identities");
            }
        }
    }
}

/// Forgets sessions that are over, until the server stops.
pub(crate) async fn forget_sessions(app: App) {
    let mut ticks = interval(FORGET_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(fault) = app.store.forget_sessions(app.limits.sessions()).await {
            tracing::error!(error = &fault as &dyn std::error::Error, "can't forget sessions that are over");
        }
    }
}

async fn forget_acts(app: &App, cutoff: jiff::Timestamp) {
    while !app.stop.is_cancelled() {
        match app.store.forget_acts(cutoff, app.limits.audit_rows).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(fault) => {
                tracing::error!(error = &fault as &dyn std::error::Error, "can't shorten the audit log");
                return;
            }
        }
    }
}

/// Empties the write-ahead log every so often, and soon after a job with secrets ended, until the
/// server stops.
pub(crate) async fn checkpoint(app: App, store: Arc<SqlStore>) {
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
