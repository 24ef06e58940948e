//! A clock that notices when somebody sets it, whoever reads it.
//!
//! What a lease begins with is a time that was read. If it were compared with what a monotonic clock shows only now and then,
//! a clock that is set back, read, and set forward again in between would show nothing, and the lease that began with that
//! reading would end too early. So each reading is compared.

use crate::{Clock, LeasePolicy};
use jiff::{SignedDuration, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much the clock may be set back at once: a lease that began before lasts so much longer.
const BACK: SignedDuration = SignedDuration::from_secs(5);
/// Of what time two clocks may differ though nobody sets them, as when one of them is the database's: a thousandth.
const DRIFT: i32 = 1_000;

/// See above.
pub struct WatchedClock {
    clock: Arc<dyn Clock>,
    /// How much it may go forward by being set, at once or little by little: leases end so much too early.
    ahead: Duration,
    seen: Mutex<Seen>,
}

/// By how much the clock is ahead of the monotonic one.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// What others say of it ([`Clock::era`]): one of them may have read it while it was set back, and this one not.
    era: Option<i64>,
    latest: SignedDuration,
    /// When it was furthest back, and by how much.
    furthest_back: (Duration, SignedDuration),
    set: bool,
}

impl WatchedClock {
    /// Watches it from now on, for leases of `policy`.
    pub fn new(clock: Arc<dyn Clock>, policy: &LeasePolicy) -> Self {
        let era = clock.era();
        let reading = clock.with_monotonic();
        let offset = offset(reading);
        let seen = Seen { era, latest: offset, furthest_back: (reading.1, offset), set: false };
        Self { clock, ahead: policy.tolerance(), seen: Mutex::new(seen) }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.read().0.0
    }

    /// Now, and whether it was set since this was asked last.
    pub fn look(&self) -> (Timestamp, bool) {
        let ((now, _), mut seen) = self.read();
        (now, std::mem::take(&mut seen.set))
    }

    /// Reads within the lock, so that readings are compared in the order in which they were made.
    fn read(&self) -> ((Timestamp, Duration), MutexGuard<'_, Seen>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // In this order: one that changes in between is noted with the next reading, and not taken for noted.
        let era = self.clock.era();
        let reading = self.clock.with_monotonic();
        seen.note(reading, signed(self.ahead));
        seen.set |= seen.era != era;
        seen.era = era;
        (reading, seen)
    }
}

impl Seen {
    fn note(&mut self, reading: (Timestamp, Duration), ahead: SignedDuration) {
        let (monotonic, offset) = (reading.1, offset(reading));
        let (since, lowest) = self.furthest_back;
        let drifted = lowest.saturating_add(signed(monotonic.saturating_sub(since)) / DRIFT);
        let back = self.latest.saturating_sub(offset);
        self.latest = offset;
        let set = offset.saturating_sub(drifted) > ahead || back > BACK;
        if set || offset <= drifted {
            self.furthest_back = (monotonic, offset);
        }
        self.set |= set;
    }
}

impl Clock for WatchedClock {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    fn with_monotonic(&self) -> (Timestamp, Duration) {
        self.read().0
    }

    fn era(&self) -> Option<i64> {
        self.clock.era()
    }

    fn tolerance(&self) -> Duration {
        self.ahead
    }

    fn doubt(&self) {
        self.clock.doubt();
    }
}

fn offset((time, monotonic): (Timestamp, Duration)) -> SignedDuration {
    time.duration_since(Timestamp::UNIX_EPOCH).saturating_sub(signed(monotonic))
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// Shows what it is told to.
    struct Told(Mutex<(f64, f64)>, AtomicI64);

    impl Told {
        fn new(time: f64, monotonic: f64) -> Arc<Self> {
            Arc::new(Self(Mutex::new((time, monotonic)), AtomicI64::new(3)))
        }
    }

    impl Clock for Told {
        fn now(&self) -> Timestamp {
            self.with_monotonic().0
        }

        fn with_monotonic(&self) -> (Timestamp, Duration) {
            let (time, monotonic) = *self.0.lock().unwrap();
            let time = SignedDuration::from_secs_f64(time);
            (Timestamp::from_duration(time).unwrap(), Duration::from_secs_f64(monotonic))
        }

        fn era(&self) -> Option<i64> {
            Some(self.1.load(Ordering::Relaxed))
        }
    }

    /// Which of these readings, of the time and of the monotonic clock in seconds, notices that the clock was set. It shows
    /// 1000 s at first, and the other one 7 s.
    fn noticed(readings: &[(f64, f64)]) -> Vec<usize> {
        noticed_of(&LeasePolicy::default(), readings)
    }

    fn noticed_of(leases: &LeasePolicy, readings: &[(f64, f64)]) -> Vec<usize> {
        let told = Told::new(1_000.0, 7.0);
        let clock = WatchedClock::new(Arc::clone(&told) as Arc<dyn Clock>, leases);
        let set = readings.iter().enumerate().filter(|(_, reading)| {
            *told.0.lock().unwrap() = **reading;
            clock.look().1
        });
        set.map(|(index, _)| index).collect()
    }

    const NONE: [usize; 0] = [];

    #[test]
    fn a_clock_that_goes_on_or_is_corrected_a_little_is_left_alone() {
        assert_eq!(noticed(&[(1_000.0, 7.0), (1_002.0, 9.0), (1_009.0, 16.0)]), NONE);
        assert_eq!(noticed(&[(995.0, 7.0), (996.0, 7.0)]), NONE, "back, and a second forward");
        assert_eq!(noticed(&[(1_001.0, 7.0)]), NONE, "executors end their jobs earlier than that");
    }

    /// Else leases of which a little was taken several times would be over before their jobs have ended.
    #[test]
    fn a_clock_that_is_set_forward_is_noticed_at_once_or_little_by_little() {
        assert_eq!(noticed(&[(1_060.0, 8.0)]), [0], "or the host was suspended");
        assert_eq!(noticed(&[(1_002.0, 7.0), (1_004.0, 9.0)]), [0], "once");
        assert_eq!(noticed(&[(1_002.9, 9.0), (1_005.8, 11.0)]), [1], "twice by 900 ms");
        assert_eq!(noticed(&[(996.0, 7.0), (1_001.0, 9.0)]), [1], "back, and forward again");
        assert_eq!(noticed(&[(900.0, 9.0), (902.0, 11.0)]), [0], "back by much");
    }

    /// Jobs with a lease of 3 s end 600 ms before it is over.
    #[test]
    fn of_short_leases_less_may_be_taken() {
        let short = LeasePolicy::of(Duration::from_secs(3));
        assert_eq!(noticed_of(&short, &[(1_000.3, 7.0), (1_000.8, 7.4)]), [1]);
        assert_eq!(noticed(&[(1_000.3, 7.0), (1_000.8, 7.4)]), NONE);
    }

    #[test]
    fn a_clock_that_is_faster_is_another_hosts() {
        let drifts = |by: f64| -> Vec<(f64, f64)> {
            let passed = (1..100_000).map(f64::from);
            passed.map(|passed| (passed.mul_add(by, 1_000.0), passed + 7.0)).collect()
        };
        assert_eq!(noticed(&drifts(1.000_9)), NONE);
        assert_eq!(noticed(&drifts(0.999)), NONE);
        assert!(!noticed(&drifts(1.01)).is_empty());
    }

    /// Whoever looks asks later, and what was read in between began a lease.
    #[test]
    fn what_others_read_counts() {
        let told = Told::new(1_000.0, 7.0);
        let clock = WatchedClock::new(Arc::clone(&told) as Arc<dyn Clock>, &LeasePolicy::default());
        for reading in [(996.5, 8.0), (1_002.0, 9.0)] {
            *told.0.lock().unwrap() = reading;
            assert_eq!(clock.now().as_duration(), SignedDuration::from_secs_f64(reading.0));
        }
        assert!(clock.look().1, "it had been 4.5 s back when it was read");
        assert!(!clock.look().1);
    }

    /// It shows what it always would have: only another server read it in between.
    #[test]
    fn what_another_server_saw_counts() {
        let told = Told::new(1_000.0, 7.0);
        let clock = WatchedClock::new(Arc::clone(&told) as Arc<dyn Clock>, &LeasePolicy::default());
        assert!(!clock.look().1);
        told.1.store(4, Ordering::Relaxed);
        assert!(clock.look().1);
        assert!(!clock.look().1, "once");
        assert_eq!(Clock::era(&clock), Some(4));
    }
}
