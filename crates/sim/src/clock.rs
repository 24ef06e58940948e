//! The database's clock, which somebody may set.

use jiff::{SignedDuration, Timestamp};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// When every schedule begins: 2026-01-01.
const BEGINNING: i64 = 1_767_225_600;

/// Shows virtual time, and what was set on top of it.
#[derive(Debug, Default)]
pub(crate) struct SimClock(Mutex<Shown>);

#[derive(Debug, Default, Clone, Copy)]
struct Shown {
    passed: Duration,
    set: SignedDuration,
}

impl SimClock {
    /// So much time has passed since the schedule began.
    pub(crate) fn passed(&self, passed: Duration) {
        self.shown(|shown| shown.passed = passed);
    }

    /// Sets it forward, or back.
    pub(crate) fn set_by(&self, micros: i64) {
        self.shown(|shown| shown.set = shown.set.saturating_add(SignedDuration::from_micros(micros)));
    }

    fn shown(&self, change: impl FnOnce(&mut Shown)) -> Shown {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut shown);
        *shown
    }
}

/// What the clock shows when so much time has passed and nobody has set it.
pub(crate) fn moment(passed: Duration) -> Timestamp {
    shown(passed, SignedDuration::ZERO)
}

fn shown(passed: Duration, set: SignedDuration) -> Timestamp {
    let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
    let beginning = Timestamp::from_second(BEGINNING).unwrap_or(Timestamp::UNIX_EPOCH);
    beginning.saturating_add(passed.saturating_add(set)).unwrap_or(Timestamp::MAX)
}

impl jobs::Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.with_monotonic().0
    }

    fn with_monotonic(&self) -> (Timestamp, Duration) {
        let Shown { passed, set } = self.shown(|_| ());
        (shown(passed, set), passed)
    }
}
