//! The system's clock.

use jiff::Timestamp;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Where the monotonic clock begins.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Reads the system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl jobs::Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn with_monotonic(&self) -> (Timestamp, Duration) {
        (self.now(), BEGUN.elapsed())
    }
}
