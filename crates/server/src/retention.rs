//! Forgetting what was kept long enough.

use crate::app::App;
use crate::rounds::{Rounds, or_tell, until_none};
use jiff::SignedDuration;
use std::time::Duration;

/// How often to look, unless something below says otherwise.
const FORGET_EVERY: Duration = Duration::from_mins(30);
/// How long an executor that is silent is remembered.
const EXECUTORS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long tokens are remembered that are good for nothing, and identities that nobody uses.
const IDENTITIES_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How often to look for uploaded files that no job needs any more; oftener where they are kept for less.
const FORGET_FILES_EVERY: Duration = Duration::from_mins(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// How often to look for uploaded indexes.
const FORGET_UPLOADS_EVERY: Duration = Duration::from_mins(5);

/// Forgets executors that were not heard of for long, since each start of an agent is a new one, until
/// the server stops.
pub(crate) async fn executors(app: App) {
    let mut rounds = Rounds::every(&app, FORGET_EVERY);
    while rounds.next().await.is_some() {
        let Ok(cutoff) = app.clock.now().checked_sub(EXECUTORS_KEPT) else { continue };
        or_tell(app.store.forget_executors(cutoff).await, "can't forget executors that are gone");
    }
}

/// Removes jobs that ended longer ago than the site configuration says they are kept, until the server
/// stops.
pub(crate) async fn jobs(app: App) {
    let mut rounds = Rounds::every(&app, app.limits.forget_jobs_every);
    while rounds.next().await.is_some() {
        let Some(kept) = app.site.current().ended_jobs_kept else { continue };
        let Ok(cutoff) = app.clock.now().checked_sub(kept) else { continue };
        let forget = || app.store.forget_jobs(cutoff);
        let jobs = until_none(&app, "can't remove jobs that ended", forget).await;
        if jobs > 0 {
            tracing::info!(jobs, "removed jobs that ended long ago, with their logs");
        }
    }
}

/// Forgets who was given secrets as soon as that is too old, or more than is kept, until the server stops.
pub(crate) async fn accesses(app: App) {
    let mut rounds = Rounds::every(&app, app.limits.forget_accesses_every);
    while rounds.next().await.is_some() {
        let Ok(cutoff) = app.clock.now().checked_sub(app.limits.secret_accesses_kept) else { continue };
        let forget = || app.store.forget_secret_accesses(cutoff, app.limits.secret_accesses);
        until_none(&app, "can't forget who was given secrets", forget).await;
    }
}

/// Removes uploaded files that no job has needed for as long as they are kept, until the server stops.
pub(crate) async fn files(app: App) {
    let kept = app.limits.files_kept;
    let mut rounds = Rounds::every(&app, kept.clamp(SHORTEST_PAUSE, FORGET_FILES_EVERY));
    while rounds.next().await.is_some() {
        let Ok(cutoff) = app.clock.now().checked_sub(kept) else { continue };
        let files = or_tell(app.files.forget(cutoff).await, "can't remove uploaded files");
        if files > 0 {
            tracing::info!(files, "removed uploaded files that no job needs any more");
        }
    }
}

/// Removes uploaded indexes that were kept for as long as the site configuration says, and those that never were
/// complete, until the server stops.
pub(crate) async fn uploads(app: App) {
    let mut rounds = Rounds::every(&app, FORGET_UPLOADS_EVERY);
    while rounds.next().await.is_some() {
        let now = app.clock.now();
        let kept = app.site.current().uploads_kept;
        let (Ok(finished), Ok(begun)) = (now.checked_sub(kept), now.checked_sub(app.limits.index_begun_kept))
        else {
            continue;
        };
        until_none(&app, "can't remove uploaded indexes", || app.store.forget_uploads(finished, begun)).await;
    }
}

/// Forgets what was noted of people's acts when it was kept long enough, until the server stops.
pub(crate) async fn acts(app: App) {
    let mut rounds = Rounds::every(&app, FORGET_EVERY);
    while rounds.next().await.is_some() {
        let Ok(cutoff) = app.clock.now().checked_sub(app.site.current().audit_kept) else { continue };
        let forget = || app.store.forget_acts(cutoff, app.limits.audit_rows);
        until_none(&app, "can't shorten the audit log", forget).await;
    }
}

/// Forgets tokens and identities that are good for nothing when they were kept long enough, until the server stops.
pub(crate) async fn identities(app: App) {
    let mut rounds = Rounds::every(&app, FORGET_EVERY);
    while rounds.next().await.is_some() {
        let Ok(cutoff) = app.clock.now().checked_sub(IDENTITIES_KEPT) else { continue };
        let forgotten =
            or_tell(app.store.forget_identities(cutoff).await, "can't forget tokens and identities");
        if forgotten > 0 {
            tracing::info!(forgotten, "forgot tokens and identities of no use");
        }
    }
}

/// Forgets sessions that are over, until the server stops.
pub(crate) async fn sessions(app: App) {
    let mut rounds = Rounds::every(&app, FORGET_EVERY);
    while rounds.next().await.is_some() {
        let terms = app.limits.sessions();
        or_tell(app.store.forget_sessions(terms).await, "can't forget sessions that are over");
    }
}
