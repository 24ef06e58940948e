//! What is done again and again until the server stops.

use crate::app::App;
use std::error::Error;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Rounds of some work: the first at once, each other one so long after the one before began. A round that takes longer
/// than that puts off those after it.
pub(crate) struct Rounds {
    ticks: Interval,
    stop: CancellationToken,
}

impl Rounds {
    pub(crate) fn every(app: &App, period: Duration) -> Self {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, stop: app.stop.clone() }
    }

    /// Waits for the next round and tells when it should have begun; `None` once the server stops.
    pub(crate) async fn next(&mut self) -> Option<Instant> {
        tokio::select! {
            () = self.stop.cancelled() => None,
            planned = self.ticks.tick() => Some(planned),
        }
    }
}

/// How much was done. A failure is told, and what was not done is left to the next round.
pub(crate) fn or_tell(done: Result<u64, impl Error + 'static>, failed: &'static str) -> u64 {
    done.unwrap_or_else(|fault| {
        tracing::error!(error = &fault as &dyn Error, "{failed}");
        0
    })
}

/// Takes step after step until one finds nothing to do, fails, or the server stops; returns how much all have done.
pub(crate) async fn until_none<E: Error + 'static, Step: Future<Output = Result<u64, E>>>(
    app: &App,
    failed: &'static str,
    mut step: impl FnMut() -> Step,
) -> u64 {
    let mut all = 0;
    while !app.stop.is_cancelled() {
        match or_tell(step().await, failed) {
            0 => break,
            some => all += some,
        }
    }
    all
}
