//! The seam through which time comes in.

use jiff::Timestamp;
use std::time::Duration;

/// Tells the time: the system's clock does, a database's that several servers share, and the tests'.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;

    /// Now, and what a clock that nobody sets shows at the same moment: the time since some other one.
    fn with_monotonic(&self) -> (Timestamp, Duration);
}
