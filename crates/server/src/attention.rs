//! Whether heartbeats were heard; what follows where they were not, is told at [`jobs::attention`].

use std::sync::atomic::{AtomicBool, Ordering};

/// Heartbeats that came and could not be noted.
#[derive(Default)]
pub(crate) struct Unheard(AtomicBool);

impl Unheard {
    /// One could not be noted.
    pub(crate) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether there was one since this was asked last.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_that_was_not_noted_is_told_once() {
        let unheard = Unheard::default();
        assert!(!unheard.take());
        unheard.note();
        assert!(unheard.take());
        assert!(!unheard.take());
    }
}
