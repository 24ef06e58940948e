//! How much text of one entry the control plane does not have yet, for the metrics.

use crate::monitor::Monitor;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts for one entry, until it is dropped.
pub(super) struct Backlog {
    monitor: Monitor,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    len: u64,
    acked: u64,
    /// The most that was ever acknowledged: what is sent twice is counted once.
    counted: u64,
}

impl State {
    const fn waiting(&self) -> u64 {
        self.len.saturating_sub(self.acked)
    }
}

impl Backlog {
    pub(super) fn new(monitor: Monitor) -> Self {
        Self { monitor, state: Mutex::default() }
    }

    /// The text is so long now.
    pub(super) fn grown_to(&self, len: u64) {
        self.change(|state| state.len = len);
    }

    /// The control plane has so much of it.
    pub(super) fn delivered_to(&self, acked: u64) {
        self.change(|state| state.acked = acked);
        let mut state = self.lock();
        let more = acked.saturating_sub(state.counted);
        state.counted += more;
        self.monitor.metrics().log_delivered.fetch_add(more, Ordering::Relaxed);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        let before = state.waiting();
        change(&mut state);
        // Differences wrap around together, so the sum of all entries is right.
        let difference = state.waiting().wrapping_sub(before);
        self.monitor.metrics().log_pending.fetch_add(difference, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Numbers, each whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Backlog {
    /// What was not delivered never will be.
    fn drop(&mut self) {
        self.change(|state| state.acked = state.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_and_what_was_delivered_adds_up_over_entries() {
        let monitor = Monitor::default();
        let seen = || {
            let metrics = monitor.metrics();
            (metrics.log_pending.load(Ordering::Relaxed), metrics.log_delivered.load(Ordering::Relaxed))
        };
        let (one, two) = (Backlog::new(monitor.clone()), Backlog::new(monitor.clone()));
        one.grown_to(10);
        two.grown_to(5);
        assert_eq!(seen(), (15, 0));
        one.delivered_to(10);
        assert_eq!(seen(), (5, 10));
        one.delivered_to(4);
        assert_eq!(seen(), (11, 10), "sent back to an earlier byte");
        one.delivered_to(10);
        two.delivered_to(2);
        assert_eq!(seen(), (3, 12));
        drop((one, two));
        assert_eq!(seen(), (0, 12));
    }
}
