//! What keeps the queue in order: taking jobs back from executors that fell silent, and letting go of those that waited
//! for a time or a place.

use crate::app::App;
use crate::rounds::{Rounds, or_tell};
use jobs::attention::{Attention, Look};
use jobs::{Clock, Judgement};
use std::time::Duration;
use store::StoreError;

/// How often to look for jobs whose time has come, and for tries whose pause is over: so much later they begin at most.
const RELEASE_DUE_EVERY: Duration = Duration::from_secs(1);
/// How often to look for what was left undone.
const TIDY_EVERY: Duration = Duration::from_mins(1);

/// Looks for stalled jobs every `scan_interval` until the server stops.
pub(crate) async fn take_back_stalled(app: App) {
    let mut attention = Attention::from(app.clock.now());
    let mut rounds = Rounds::every(&app, app.leases.scan_interval);
    while let Some(planned) = rounds.next().await {
        let era = app.clock.era();
        let (now, set) = app.clock.look();
        let look = Look { now, late: planned.elapsed(), set, unheard: app.unheard.take() };
        if let Some(why) = attention.look(look) {
            tracing::warn!(why, "no executor counts as silent for a whole lease from now on");
        }
        take_back(&app, Judgement { now, attentive_since: attention.since(), era }).await;
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
        // The next look hears of it too.
        Err(StoreError::ClockSet) => {
            tracing::info!("judged nobody: the clock that all servers share was set");
        }
        Err(fault) => {
            app.metrics.resetting_failed();
            tracing::error!(error = &fault as &dyn std::error::Error, "can't look for stalled jobs");
        }
    }
}

/// Lets go of jobs whose time has come, and has those who wait told of pauses that are over, until the server stops.
pub(crate) async fn release_due(app: App) {
    let mut rounds = Rounds::every(&app, RELEASE_DUE_EVERY);
    while rounds.next().await.is_some() {
        or_tell(app.store.release_due().await, "can't let go of jobs whose time has come");
    }
}

/// Sees to what was left undone, until the server stops.
pub(crate) async fn tidy(app: App) {
    let mut rounds = Rounds::every(&app, TIDY_EVERY);
    while rounds.next().await.is_some() {
        let given = app.store.hand_on_places().await;
        let places = or_tell(given, "can't give jobs the places of their concurrency keys");
        if places > 0 {
            tracing::info!(places, "gave places of concurrency keys to jobs that waited");
        }
        or_tell(app.store.forget_lanes().await, "can't forget what kinds of jobs there were");
    }
}
