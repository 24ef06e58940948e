//! Time that all processes of this host agree on, and that goes on while the host sleeps.

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// A moment: nanoseconds since this host was started.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct BootTime(u64);

impl BootTime {
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        Self(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    pub(crate) const fn nanos(self) -> u64 {
        self.0
    }

    /// When `instant` was, or will be.
    pub(crate) fn of(instant: Instant) -> Self {
        let (now, here) = (Self::now(), Instant::now());
        match here.checked_duration_since(instant) {
            Some(ago) => Self(now.0.saturating_sub(ago.as_nanos() as u64)),
            None => now + instant.duration_since(here),
        }
    }

    /// The same moment, for what reads the clock of this process.
    pub(crate) fn instant(self) -> Instant {
        let now = Instant::now();
        now.checked_sub(Self::now().since(self)).unwrap_or(now)
    }

    /// How long ago `earlier` was then; nothing if it was later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_for_both_clocks() {
        let instant = Instant::now();
        let there_and_back = BootTime::of(instant).instant();
        let off = there_and_back.max(instant) - there_and_back.min(instant);
        assert!(off < Duration::from_secs(1), "{off:?}");
        let now = BootTime::now();
        assert_eq!((now + Duration::from_secs(2)).since(now), Duration::from_secs(2));
        assert_eq!(now.since(now + Duration::from_secs(2)), Duration::ZERO);
    }
}
