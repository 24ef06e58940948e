//! What jobs leave: where it is kept, and what is done for it now and then.

use crate::app::App;
use crate::config::ServerConfig;
use crate::error::ServerError;
use crate::site_config::Bucket;
use std::time::Duration;
use store::{ObjectsChoice, S3Choice};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often to look for objects that are of no use any more.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How often to look for uploads that were kept long enough.
const FORGET_EVERY: Duration = Duration::from_mins(5);

/// Where results go.
pub(crate) fn choice(config: &ServerConfig, bucket: Option<Bucket>) -> Result<ObjectsChoice, ServerError> {
    let Some(Bucket { name: bucket, endpoint, region, prefix, path_style }) = bucket else {
        return Ok(ObjectsChoice::Directory);
    };
    let credentials = config.s3_credentials.clone().ok_or(ServerError::NoS3Credentials)?;
    let path_style = path_style.unwrap_or(endpoint.is_some());
    let roots = config.roots.clone();
    let s3 = S3Choice { bucket, endpoint, region, prefix, path_style, credentials, roots };
    Ok(ObjectsChoice::S3(Box::new(s3)))
}

/// Tells whether results can be kept there. The queue goes on without: logs stay in the data directory meanwhile.
pub(crate) async fn check(app: App) {
    let objects = app.store.objects();
    let checked = tokio::select! {
        () = app.stop.cancelled() => return,
        checked = objects.check() => checked,
    };
    match checked {
        Ok(()) => tracing::info!(place = objects.place(), "results can be kept"),
        Err(fault) => {
            let error = &fault as &dyn std::error::Error;
            tracing::error!(error, "results can't be kept: logs stay in the data directory until they can");
        }
    }
}

/// Moves logs of tries that are over into the object store, until the server stops.
pub(crate) async fn seal_logs(app: App) {
    let mut ticks = interval(app.limits.seal_logs_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut all_at = Instant::now();
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        seal(&app, false).await;
        if all_at <= Instant::now() {
            seal(&app, true).await;
            all_at = Instant::now() + app.limits.seal_all_logs_every;
        }
    }
}

async fn seal(app: &App, all: bool) {
    match app.store.seal_logs(all).await {
        Ok(0) => {}
        Ok(tries) => tracing::debug!(tries, "moved logs into the object store"),
        Err(fault) => {
            let error = &fault as &dyn std::error::Error;
            tracing::error!(error, "can't move logs into the object store: they stay in the data directory");
        }
    }
}

/// Removes objects that are of no use any more, until the server stops.
pub(crate) async fn sweep_objects(app: App) {
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        loop {
            match app.store.sweep_objects().await {
                Ok(1..) if !app.stop.is_cancelled() => {}
                Ok(_) => break,
                Err(fault) => {
                    tracing::error!(
                        error = &fault as &dyn std::error::Error,
                        "can't remove objects that are of no use"
                    );
                    break;
                }
            }
        }
    }
}

/// Removes uploads that were kept for as long as the site configuration says, and those that never were complete, until the
/// server stops.
pub(crate) async fn forget_uploads(app: App) {
    let mut ticks = interval(FORGET_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = app.clock.now();
        let kept = app.site.current().uploads_kept;
        let (Ok(finished), Ok(begun)) = (now.checked_sub(kept), now.checked_sub(app.limits.index_begun_kept))
        else {
            continue;
        };
        loop {
            match app.store.forget_uploads(finished, begun).await {
                Ok(1..) if !app.stop.is_cancelled() => {}
                Ok(_) => break,
                Err(fault) => {
                    tracing::error!(
                        error = &fault as &dyn std::error::Error,
                        "can't remove uploaded indexes"
                    );
                    break;
                }
            }
        }
    }
}
