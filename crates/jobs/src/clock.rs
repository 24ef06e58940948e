//! The seam through which time comes in.

use jiff::Timestamp;

/// Tells the time. The only implementations are the system's clock and the test's.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;
}
