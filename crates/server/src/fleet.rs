//! How many executors there are, and what that asks of each of them.
//!
//! When a server goes away all dequeues that it held are cut off at one moment, and without a word all executors would ask again
//! at the same time. So each is told, while all is well, over how long to spread that.

use crate::app::App;
use crate::rounds::Rounds;
use axum::response::Response;
use http::HeaderValue;
use jiff::SignedDuration;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wire::additions::SPREAD;

/// How often they are counted.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// Who was heard of within this time counts.
const RECENT: SignedDuration = SignedDuration::from_mins(1);
/// What each adds to the time over which they spread: about half as many calls come in that time as heartbeats and dequeues
/// that were held to their end come anyway.
const EACH: Duration = Duration::from_millis(16);
/// Over which they spread at most: a job may wait so long for the first executor after a restart.
const LONGEST: Duration = Duration::from_secs(30);

/// Those that are there.
#[derive(Default)]
pub(crate) struct Fleet(AtomicU64);

impl Fleet {
    fn spread(&self) -> Duration {
        let executors = u32::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        EACH.saturating_mul(executors).min(LONGEST)
    }

    /// Tells over how long to spread.
    pub(crate) fn tell(&self, response: &mut Response) {
        response.headers_mut().insert(SPREAD, HeaderValue::from(self.spread().as_millis() as u64));
    }
}

/// Counts until the server stops. What can't be counted is as many as before.
pub(crate) async fn count(app: App) {
    let mut rounds = Rounds::every(&app, COUNT_EVERY);
    while rounds.next().await.is_some() {
        let now = app.clock.now();
        if let Ok(rows) = app.store.executors().await {
            let recent = rows.iter().filter(|row| now.duration_since(row.last_seen_at) <= RECENT);
            app.fleet.0.store(recent.count() as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_executors_spread_over_a_longer_time() {
        let spread = |executors| Fleet(AtomicU64::new(executors)).spread();
        assert_eq!([0, 1, 500].map(spread), [0, 16, 8_000].map(Duration::from_millis));
        assert_eq!([1_000_000, u64::MAX].map(spread), [LONGEST; 2]);
    }

    #[test]
    fn it_is_documented_as_it_is() {
        let documented = include_str!("../../../docs/differences.md");
        let told = format!("are spread over {} ms for each executor", EACH.as_millis());
        assert!(documented.contains(&told), "{told}");
    }
}
