//! Whether a control plane was there to hear heartbeats. Silence that is its own fault makes no executor lost: a process
//! that was stopped, a host that was suspended, a disk that took no writes, a clock that was set.

use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How late a look may be, and how much the clock may be set back between two, without counting as absence: about one
/// heartbeat, which executors may miss anyway.
const LATE: Duration = Duration::from_secs(5);
/// How much the clock may go forward by being set, at once or little by little: leases end so much too early. Executors end
/// their jobs a margin before a lease is over, of 2 s at least ([`crate::tenure`]), so half of that.
const AHEAD: SignedDuration = SignedDuration::from_secs(1);
/// Of what time two clocks may differ though nobody sets them, as when one of them is the database's: a thousandth.
const DRIFT: i32 = 1_000;

/// What a look at the clocks shows.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The time, and what the monotonic clock shows.
    pub clocks: Clocks,
    /// How long ago this look should have been.
    pub late: Duration,
    /// Whether a heartbeat could not be noted since the last look.
    pub unheard: bool,
}

/// The time, and what the monotonic clock shows.
type Clocks = (Timestamp, Duration);

/// Since when every heartbeat was heard, looked at every so often.
#[derive(Debug)]
pub struct Attention {
    since: Timestamp,
    latest: Clocks,
    /// How far the clock has gone forward by being set since it was furthest back: a lease that was renewed then ends so
    /// much too early.
    ahead: SignedDuration,
}

/// Attentive from then on.
impl From<Clocks> for Attention {
    fn from(latest: Clocks) -> Self {
        Self { since: latest.0, latest, ahead: SignedDuration::ZERO }
    }
}

impl Attention {
    /// Since when every heartbeat was heard.
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// Takes note of a look. After an absence everything counts from there, as after a start; tells
    /// what the absence was.
    pub fn look(&mut self, look: Look) -> Option<&'static str> {
        let ((before, begun), (now, monotonic)) = (self.latest, look.clocks);
        let passed = SignedDuration::try_from(monotonic.saturating_sub(begun)).unwrap_or(SignedDuration::MAX);
        let set = now.duration_since(before).saturating_sub(passed);
        self.latest = look.clocks;
        self.ahead = self.ahead.saturating_add(set).saturating_sub(passed / DRIFT).max(SignedDuration::ZERO);
        let absence = self.absence(look, set);
        if absence.is_some() {
            (self.since, self.ahead) = (look.clocks.0, SignedDuration::ZERO);
        }
        absence
    }

    fn absence(&self, look: Look, set: SignedDuration) -> Option<&'static str> {
        if look.late > LATE {
            Some("this server stood still")
        } else if self.ahead > AHEAD || set.unsigned_abs() > LATE {
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
        assert_eq!(since(&[(995, 7, 0, false), (996, 7, 0, false)]), 1_000, "the clock is corrected");
    }

    /// Else leases of which a little was taken several times would be over before their jobs have ended.
    #[test]
    fn a_clock_that_is_set_forward_little_by_little_is_noticed() {
        assert_eq!(since(&[(1_001, 7, 0, false)]), 1_000, "executors end their jobs earlier than that");
        assert_eq!(since(&[(1_002, 7, 0, false)]), 1_002);
        assert_eq!(since(&[(1_003, 9, 0, false), (1_006, 11, 0, false)]), 1_006, "twice a second");
        assert_eq!(since(&[(996, 7, 0, false), (1_001, 9, 0, false)]), 1_001, "back, and forward again");
        let drifts: Vec<_> = (1..100).map(|n| (1_000 + n * 1_001, 7 + n as u64 * 1_000, 0, false)).collect();
        assert_eq!(since(&drifts), 1_000, "nobody sets it: it is another host's");
    }

    #[test]
    fn after_an_absence_everything_counts_from_there() {
        assert_eq!(since(&[(1_060, 67, 58, false)]), 1_060, "stopped");
        assert_eq!(since(&[(1_060, 8, 0, false)]), 1_060, "suspended, or the clock was set forward");
        assert_eq!(since(&[(900, 9, 0, false)]), 900, "the clock was set back");
        assert_eq!(since(&[(1_002, 9, 0, true), (1_004, 11, 0, false)]), 1_002, "the disk was full");
        assert_eq!(since(&[(1_060, 67, 58, false), (1_062, 69, 0, false)]), 1_060, "once");
    }
}
