//! Holding a dequeue open until there is a job.

use super::Failure;
use super::dequeue::{self, Asked};
use super::given::Given;
use crate::app::App;
use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use std::time::Duration;
use store::Change;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep, timeout_at};
use wire::additions::{PREFER, PREFERENCE_APPLIED, parse_prefer_wait, prefer_wait};

/// Jobs that wait for a time or for their next try are told of when they can be claimed (see [`crate::janitor`]). What was told
/// may have been lost on the way from another server, so look again this often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

pub(super) struct Outcome {
    pub(super) given: Vec<Given>,
    /// The wait that was granted, unless it was cut short: then the caller should pause before it
    /// asks again.
    pub(super) waited: Option<Duration>,
    /// For how long the request was here before what is given was looked for.
    pub(super) held: Duration,
}

/// Claims jobs, waiting for one as long as the request asks and the limit allows.
///
/// The handler is dropped when the client hangs up, and with it this wait, so nothing is claimed for
/// a client that is known to be gone. What was being claimed at that moment is taken back.
pub(super) async fn claim(app: &App, headers: &HeaderMap, asked: &Asked) -> Result<Outcome, Failure> {
    let wait = wanted_wait(headers).map(|wait| wait.min(app.limits.long_poll));
    let arrived = Instant::now();
    let deadline = arrived + wait.unwrap_or_default();
    // Listen first, look second: a job that comes in between is not missed.
    let mut changes = app.store.changes();
    loop {
        if app.stop.is_cancelled() {
            return Ok(Outcome { given: Vec::new(), waited: None, held: Duration::ZERO });
        }
        let held = arrived.elapsed();
        let given = dequeue::claim(app, asked).await?;
        if !given.is_empty() || Instant::now() >= deadline || asked.queues.is_empty() {
            return Ok(Outcome { given, waited: wait, held });
        }
        tokio::select! {
            () = app.stop.cancelled() => {}
            _ = timeout_at(deadline, queued(&mut changes, &asked.queues)) => {}
            () = sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Tells the caller that its preference was honoured.
pub(super) fn acknowledge(response: &mut Response, waited: Option<Duration>) {
    let applied = waited.map(|wait| HeaderValue::from_str(&prefer_wait(wait.as_secs())));
    if let Some(Ok(value)) = applied {
        response.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
}

fn wanted_wait(headers: &HeaderMap) -> Option<Duration> {
    let mut preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    preferences.find_map(parse_prefer_wait).map(Duration::from_secs)
}

/// Returns when one of `queues` may have a job.
async fn queued(changes: &mut Receiver<Change>, queues: &[String]) {
    loop {
        match changes.recv().await {
            Ok(Change::Queued(queue)) if queues.contains(&queue) => return,
            // Any queue may have jobs to give now; or some news were lost: look.
            Ok(Change::Rules) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}
