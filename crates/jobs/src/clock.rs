//! The seam through which time comes in.

use jiff::Timestamp;
use std::time::Duration;

/// Tells the time: the system's clock does, a database's that several servers share, and the tests'.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;

    /// Now, and what a clock that nobody sets shows at the same moment: the time since some other one.
    fn with_monotonic(&self) -> (Timestamp, Duration);

    /// How often somebody saw that it was set back, where several servers read it and any of them may have: whatever one
    /// that hears of another number was sure of is to be thought over. `None` where nobody else reads it.
    fn era(&self) -> Option<i64> {
        None
    }

    /// By how much it may be away from where it should be without having been set ([`crate::LeasePolicy::tolerance`]).
    fn tolerance(&self) -> Duration {
        crate::LeasePolicy::default().tolerance()
    }

    /// What it shows was found not to be so: it is to look again, and soon.
    fn doubt(&self) {}
}
