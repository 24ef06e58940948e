//! The clock as a server reads it, and as its store does.

use crate::clock::SimClock;
use crate::flaw::Flaw;
use jiff::Timestamp;
use jobs::{Clock, LeasePolicy, WatchedClock};
use std::sync::Arc;
use std::time::Duration;

/// The clock as a server reads it that starts now.
pub(super) fn watch(clock: &Arc<SimClock>, leases: &LeasePolicy, flaw: Option<Flaw>) -> Arc<WatchedClock> {
    let usual = LeasePolicy::default();
    let leases = if flaw == Some(Flaw::UsualTolerance) { &usual } else { leases };
    Arc::new(WatchedClock::new(Arc::clone(clock) as Arc<dyn Clock>, leases))
}

/// The same, for the store of that server.
pub(super) fn read_by_store(
    watched: &Arc<WatchedClock>,
    leases: &LeasePolicy,
    flaw: Option<Flaw>,
) -> Arc<dyn Clock> {
    let watched = Arc::clone(watched);
    if flaw == Some(Flaw::UsualTolerance) {
        // Nor does it know that too much is tolerated, or it would have leases last longer.
        return Arc::new(Believed { clock: watched, tolerance: leases.tolerance() });
    }
    watched
}

/// A clock that is believed to be wrong by no more than that.
struct Believed {
    clock: Arc<WatchedClock>,
    tolerance: Duration,
}

impl Clock for Believed {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn with_monotonic(&self) -> (Timestamp, Duration) {
        self.clock.with_monotonic()
    }

    fn tolerance(&self) -> Duration {
        self.tolerance
    }
}
