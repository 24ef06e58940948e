//! Whether this server was there to hear heartbeats. Silence that is our own fault makes no executor
//! lost: a process that was stopped, a host that was suspended, a disk that took no writes, a clock that
//! was set.

use jiff::{SignedDuration, Timestamp};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How late a look may be, and how much the clock may be set between two, without counting as absence:
/// about one heartbeat, which executors may miss anyway.
const LATE: Duration = Duration::from_secs(5);

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

/// What a look at the clocks shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// The time, and what the monotonic clock shows.
    pub(crate) clocks: Clocks,
    /// How long ago this look should have been.
    pub(crate) late: Duration,
    /// Whether a heartbeat could not be noted since the last look.
    pub(crate) unheard: bool,
}

/// The time, and what the monotonic clock shows.
type Clocks = (Timestamp, Duration);

/// Since when every heartbeat was heard, looked at every so often.
#[derive(Debug)]
pub(crate) struct Attention {
    since: Timestamp,
    latest: Clocks,
}

/// Attentive from then on.
impl From<Clocks> for Attention {
    fn from(latest: Clocks) -> Self {
        Self { since: latest.0, latest }
    }
}

impl Attention {
    /// Since when every heartbeat was heard.
    pub(crate) const fn since(&self) -> Timestamp {
        self.since
    }

    /// Takes note of a look. After an absence everything counts from there, as after a start; tells
    /// what the absence was.
    pub(crate) fn look(&mut self, look: Look) -> Option<&'static str> {
        let absence = self.absence(look);
        self.latest = look.clocks;
        if absence.is_some() {
            self.since = look.clocks.0;
        }
        absence
    }

    fn absence(&self, look: Look) -> Option<&'static str> {
        let ((before, begun), (now, monotonic)) = (self.latest, look.clocks);
        let passed = SignedDuration::try_from(monotonic.saturating_sub(begun)).unwrap_or(SignedDuration::MAX);
        let set = now.duration_since(before).saturating_sub(passed);
        if look.late > LATE {
            Some("this server stood still")
        } else if set.unsigned_abs() > LATE {
            Some("the clock was set, or this host stood still")
        } else if look.unheard {
            Some("heartbeats could not be noted")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at `looks`, of (time, monotonic clock, lateness, unheard) in seconds, and gives since when
    /// the server is attentive.
    fn since(looks: &[(i64, u64, u64, bool)]) -> i64 {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut attention = Attention::from((at(1_000), Duration::from_secs(7)));
        for &(now, monotonic, late, unheard) in looks {
            let (monotonic, late) = (Duration::from_secs(monotonic), Duration::from_secs(late));
            attention.look(Look { clocks: (at(now), monotonic), late, unheard });
        }
        attention.since().as_second()
    }

    #[test]
    fn looks_on_time_change_nothing() {
        assert_eq!(since(&[]), 1_000);
        assert_eq!(since(&[(1_000, 7, 0, false), (1_002, 9, 0, false), (1_009, 16, 5, false)]), 1_000);
        assert_eq!(since(&[(1_005, 7, 0, false), (1_000, 7, 0, false)]), 1_000, "the clock is corrected");
    }

    #[test]
    fn after_an_absence_everything_counts_from_there() {
        assert_eq!(since(&[(1_060, 67, 58, false)]), 1_060, "stopped");
        assert_eq!(since(&[(1_060, 8, 0, false)]), 1_060, "suspended, or the clock was set forward");
        assert_eq!(since(&[(900, 9, 0, false)]), 900, "the clock was set back");
        assert_eq!(since(&[(1_002, 9, 0, true), (1_004, 11, 0, false)]), 1_002, "the disk was full");
        assert_eq!(since(&[(1_060, 67, 58, false), (1_062, 69, 0, false)]), 1_060, "once");
    }

    #[test]
    fn a_heartbeat_that_was_not_noted_is_told_once() {
        let unheard = Unheard::default();
        assert!(!unheard.take());
        unheard.note();
        assert!(unheard.take());
        assert!(!unheard.take());
    }
}
