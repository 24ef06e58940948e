//! The system's clock.

use jiff::Timestamp;

/// Reads the system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl jobs::Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
