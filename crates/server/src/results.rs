//! What jobs leave: where it is kept, and what is done for it now and then.

use crate::app::App;
use crate::config::ServerConfig;
use crate::error::ServerError;
use crate::rounds::{Rounds, until_none};
use crate::site_config::Bucket;
use std::time::Duration;
use store::{ObjectsChoice, S3Choice};
use tokio::time::Instant;

/// How often to look for objects that are of no use any more.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

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
    let checked = tokio::select! {
        () = app.stop.cancelled() => return,
        checked = app.store.check_objects() => checked,
    };
    match checked {
        Ok(()) => tracing::info!(place = app.store.objects().place(), "results can be kept"),
        Err(fault) => {
            let error = &fault as &dyn std::error::Error;
            tracing::error!(error, "results can't be kept: logs stay where they are until they can");
        }
    }
}

/// Moves logs of tries that are over into the object store, until the server stops.
pub(crate) async fn seal_logs(app: App) {
    let mut rounds = Rounds::every(&app, app.limits.seal_logs_every);
    let mut all_at = Instant::now();
    while rounds.next().await.is_some() {
        seal(&app, false).await;
        if all_at <= Instant::now() {
            seal(&app, true).await;
            all_at = Instant::now() + app.limits.seal_all_logs_every;
        }
    }
}

async fn seal(app: &App, all: bool) {
    let failed = "can't move logs into the object store: they stay where they are";
    let tries = until_none(app, failed, || app.store.seal_logs(all)).await;
    if tries > 0 {
        tracing::debug!(tries, "moved logs into the object store");
    }
}

/// Removes objects that are of no use any more, until the server stops.
pub(crate) async fn sweep_objects(app: App) {
    let mut rounds = Rounds::every(&app, SWEEP_EVERY);
    while rounds.next().await.is_some() {
        until_none(&app, "can't remove objects that are of no use", || app.store.sweep_objects()).await;
    }
}
