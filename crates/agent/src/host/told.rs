//! What supervisors tell of their jobs while these run, as part of what the agent tells.

use crate::metrics::Counts;
use crate::monitor::Monitor;
use std::sync::atomic::Ordering;

/// What one has told.
pub(super) struct Told {
    monitor: Monitor,
    /// Bytes of the job's log that waited when it told last.
    log_pending: u64,
}

impl Told {
    pub(super) fn new(monitor: Monitor) -> Self {
        Self { monitor, log_pending: 0 }
    }

    /// So much more was counted, and so much waits.
    pub(super) fn add(&mut self, counts: Counts, log_pending: u64) {
        self.monitor.metrics().add(counts);
        self.waits(log_pending);
    }

    fn waits(&mut self, log_pending: u64) {
        // Differences wrap around together, so the sum of all jobs is right.
        let difference = log_pending.wrapping_sub(self.log_pending);
        self.monitor.metrics().log_pending.fetch_add(difference, Ordering::Relaxed);
        self.log_pending = log_pending;
    }
}

impl Drop for Told {
    /// Nothing of the job waits any more.
    fn drop(&mut self) {
        self.waits(0);
    }
}
