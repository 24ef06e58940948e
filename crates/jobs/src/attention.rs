//! Whether a control plane was there to hear heartbeats. Silence that is its own fault makes no executor lost: a process
//! that was stopped, a host that was suspended, a disk that took no writes, a clock that was set.

use jiff::Timestamp;
use std::time::Duration;

/// How late a look may be without counting as absence: about one heartbeat, which executors may miss anyway.
const LATE: Duration = Duration::from_secs(5);

/// What a look shows.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The time.
    pub now: Timestamp,
    /// How long ago this look should have been.
    pub late: Duration,
    /// Whether the clock was set since the last look ([`crate::WatchedClock`]).
    pub set: bool,
    /// Whether a heartbeat could not be noted since then.
    pub unheard: bool,
}

/// Since when every heartbeat was heard, looked at every so often.
#[derive(Debug)]
pub struct Attention {
    since: Timestamp,
}

/// Attentive from then on.
impl From<Timestamp> for Attention {
    fn from(since: Timestamp) -> Self {
        Self { since }
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
        let absence = absence(look);
        if absence.is_some() {
            self.since = look.now;
        }
        absence
    }
}

fn absence(look: Look) -> Option<&'static str> {
    if look.late > LATE {
        Some("this server stood still")
    } else if look.set {
        Some("the clock was set, or this host stood still")
    } else if look.unheard {
        Some("heartbeats could not be noted")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_an_absence_everything_counts_from_there() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let good = Look { now: at(1_002), late: LATE, set: false, unheard: false };
        let bad = [
            Look { late: LATE + Duration::from_millis(1), ..good },
            Look { set: true, ..good },
            Look { unheard: true, ..good },
        ];
        for bad in bad {
            let mut attention = Attention::from(at(1_000));
            assert_eq!(attention.look(good), None);
            assert_eq!(attention.since(), at(1_000), "a look on time changes nothing");
            assert!(attention.look(bad).is_some(), "{bad:?}");
            assert_eq!(attention.look(Look { now: at(1_004), ..good }), None);
            assert_eq!(attention.since(), at(1_002), "once: {bad:?}");
        }
    }
}
