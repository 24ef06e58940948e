//! How long a lease lasts and how often a job is tried.

use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// When an executor counts as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePolicy {
    /// Silence after which a job's lease has run out.
    pub stalled_after: Duration,
    /// How often the control plane looks for such jobs.
    pub scan_interval: Duration,
}

impl Default for LeasePolicy {
    /// Five missed heartbeats of 5 s, as stock executors expect, and a scan often enough that a
    /// lost job is queued again within 30 s.
    fn default() -> Self {
        Self { stalled_after: Duration::from_secs(25), scan_interval: Duration::from_secs(2) }
    }
}

impl LeasePolicy {
    /// The latest heartbeat that makes a job stalled at `now`, or `None` while nobody may be judged:
    /// a control plane that was itself away missed heartbeats through its own fault, so it waits one
    /// whole lease from when it was there again.
    pub fn stalled_before(&self, now: Timestamp, attentive_since: Timestamp) -> Option<Timestamp> {
        let lease = SignedDuration::try_from(self.stalled_after).ok()?;
        let cutoff = now.checked_sub(lease).ok()?;
        (cutoff >= attentive_since).then_some(cutoff)
    }
}

/// How often a job is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a job may go back to the queue because its executor fell silent.
    pub max_resets: u32,
    /// How often a job may end badly before it has failed. 0 and 1 both mean: the first time.
    pub max_failures: u32,
    /// How long an errored job waits for its next try.
    pub retry_after: Duration,
}

impl Default for RetryPolicy {
    /// The protocol's documented values: three resets, no retries.
    fn default() -> Self {
        Self { max_resets: 3, max_failures: 0, retry_after: Duration::from_secs(10) }
    }
}

impl RetryPolicy {
    /// Whether a job that has ended badly `failures` times gets another try.
    pub const fn may_retry(self, failures: u32) -> bool {
        failures < self.max_failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn nobody_is_judged_before_the_server_was_up_for_a_whole_lease() {
        let policy = LeasePolicy::default();
        assert_eq!(policy.stalled_before(at(1_000), at(0)), Some(at(975)));
        assert_eq!(policy.stalled_before(at(1_000), at(975)), Some(at(975)));
        assert_eq!(policy.stalled_before(at(1_000), at(976)), None);
        assert_eq!(policy.stalled_before(at(1_000), at(2_000)), None, "the clock went back");
    }

    #[test]
    fn no_retries_means_the_first_failure_is_the_last() {
        assert!(!RetryPolicy::default().may_retry(1));
        let three = RetryPolicy { max_failures: 3, ..RetryPolicy::default() };
        assert!(three.may_retry(2));
        assert!(!three.may_retry(3));
    }
}
