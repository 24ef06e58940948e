//! A clock that stands still until it is told otherwise.

use jiff::{SignedDuration, Timestamp};
use std::sync::Mutex;
use std::time::Duration;

/// A clock under the test's control.
#[derive(Debug)]
pub struct MockClock(Mutex<Timestamp>);

impl MockClock {
    /// A clock that shows `second` seconds after 1970 began.
    pub fn at(second: i64) -> Self {
        Self(Mutex::new(Timestamp::from_second(second).expect("a second within range")))
    }

    /// Moves the clock.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.0.lock().expect("no test panicked with the clock in hand");
        *now = now.checked_add(by).expect("a time within range");
    }
}

impl jobs::Clock for MockClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no test panicked with the clock in hand")
    }

    fn with_monotonic(&self) -> (Timestamp, Duration) {
        let now = self.now();
        (now, now.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs())
    }
}
