//! How long a lease lasts and how often a job is tried.

use crate::tenure;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Silence after which an executor is shown as silent, unless its leases are shorter: three heartbeats of 5 s. Its jobs stay its
/// own for as long as their leases last.
const SILENT_AFTER: Duration = Duration::from_secs(15);

/// Two heartbeats of an executor that is not told how long its leases are.
const SHORTEST_UNTOLD: Duration = Duration::from_secs(10);
/// What a clock may be wrong by at most, however long leases are.
const MOST_TOLERATED: Duration = Duration::from_secs(1);
/// Nor may it be wrong by more than this part of a lease: half of the margin that executors keep ([`crate::tenure`]), as
/// one reading began the lease and another one ends it.
pub const TOLERATED_PART: u32 = 2 * tenure::MARGIN_PART;
/// How often at least the control plane looks while a lease lasts.
const LOOKS: u32 = 4;

/// How long a job stays its executor's without a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePolicy {
    /// The lease of an executor that asks to be told how long it lasts: by its end the job has ended there,
    /// so a long one is safe and outlasts an outage of the network.
    pub told: Duration,
    /// The lease of any other executor.
    pub untold: Duration,
    /// How often the control plane looks for leases that are over.
    pub scan_interval: Duration,
}

impl Default for LeasePolicy {
    /// A minute without a network costs no job its try. Stock executors expect five missed heartbeats of 5 s.
    fn default() -> Self {
        Self {
            told: Duration::from_secs(90),
            untold: Duration::from_secs(25),
            scan_interval: Duration::from_secs(2),
        }
    }
}

impl LeasePolicy {
    /// Leases of `term`. One that its executor is not told is never longer than it is used to, nor too short for its
    /// heartbeats, which come as ever.
    pub fn of(term: Duration) -> Self {
        let usual = Self::default();
        Self {
            told: term,
            untold: usual.untold.min(term).max(SHORTEST_UNTOLD),
            scan_interval: usual.scan_interval.min(term / LOOKS),
        }
    }

    /// The lease of an executor that has asked to be told of it, or has not.
    pub const fn term(&self, asked: bool) -> Duration {
        if asked { self.told } else { self.untold }
    }

    /// By how much a clock that such leases are counted by may be away from where it should be.
    pub fn tolerance(&self) -> Duration {
        MOST_TOLERATED.min(self.told / TOLERATED_PART)
    }

    /// Silence after which such an executor is shown as silent. One that is told of short leases sends its heartbeats more
    /// often, and what it had may be given to others once they are over.
    pub fn silent_after(&self, asked: bool) -> Duration {
        SILENT_AFTER.min(self.term(asked))
    }
}

/// At what moment leases are judged, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// The moment.
    pub now: Timestamp,
    /// Since when the judge has heard every heartbeat. One that was itself away missed some through its own fault,
    /// so it waits one whole lease from when it was there again.
    pub attentive_since: Timestamp,
    /// [`crate::Clock::era`] as it was, asked before the moment: nobody is judged in any other.
    pub era: Option<i64>,
}

impl Judgement {
    /// Whether a lease of `term` is over that was renewed last at `renewed`.
    pub fn is_over(self, renewed: Timestamp, term: Duration) -> bool {
        let Ok(term) = SignedDuration::try_from(term) else { return false };
        let ends = |from: Timestamp| from.saturating_add(term).unwrap_or(Timestamp::MAX);
        ends(renewed) < self.now && ends(self.attentive_since) <= self.now
    }
}

/// How long a lease of `term` lasts by a clock that may be wrong by `tolerance`. That of another server, as one that ran
/// before with shorter leases, may be one whose holder does not allow for so much: then it lasts as much longer.
pub fn counted(term: Duration, tolerance: Duration) -> Duration {
    term.saturating_add(tolerance.saturating_sub(term / TOLERATED_PART))
}

/// The longest pause before another try after a fault.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// How much longer each pause is than the one before.
const GROWTH: u32 = 3;

/// How often a job is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a job may go back to the queue because its executor fell silent.
    pub max_resets: u32,
    /// How often a job is tried again, at no charge, because the infrastructure failed and not the job.
    pub max_faults: u32,
    /// How long it waits after the first such fault; after each further one three times as long, up to 5 minutes.
    pub fault_pause: Duration,
    /// How often a job may end badly before it has failed, unless it asks for more. 0 and 1 both mean: the first time.
    pub max_failures: u32,
    /// How long an errored job waits for its next try.
    pub retry_after: Duration,
    /// How much longer it waits for the executor that had it last, so that another one is first.
    pub same_executor_later: Duration,
}

impl Default for RetryPolicy {
    /// The protocol's documented values: three resets, no retries; and as many faults as resets.
    fn default() -> Self {
        Self {
            max_resets: 3,
            max_faults: 3,
            fault_pause: Duration::from_secs(10),
            max_failures: 0,
            retry_after: Duration::from_secs(10),
            same_executor_later: Duration::from_secs(10),
        }
    }
}

impl RetryPolicy {
    /// What it is for a job that asks to be tried again so often after an end that is its own fault.
    #[must_use]
    pub fn with_retries(self, retries: u32) -> Self {
        Self { max_failures: self.max_failures.max(retries.saturating_add(1)), ..self }
    }

    /// Whether a job that has ended badly `failures` times gets another try.
    pub const fn may_retry(self, failures: u32) -> bool {
        failures < self.max_failures
    }

    /// How long a job waits after its `fault`th fault, counted from 1.
    pub fn pause_after(self, fault: u32) -> Duration {
        let factor = GROWTH.saturating_pow(fault.saturating_sub(1));
        self.fault_pause.saturating_mul(factor).min(LONGEST_PAUSE.max(self.fault_pause))
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
        let term = Duration::from_secs(25);
        let is_over = |renewed, since| {
            Judgement { now: at(1_000), attentive_since: at(since), era: None }.is_over(at(renewed), term)
        };
        assert!(is_over(974, 0) && is_over(974, 975));
        assert!(!is_over(975, 0), "it is just there");
        assert!(!is_over(974, 976) && !is_over(0, 2_000), "the clock went back");
        assert!(
            !Judgement { now: at(1_000), attentive_since: at(0), era: None }.is_over(at(0), Duration::MAX)
        );
    }

    #[test]
    fn leases_that_are_shorter_than_the_judges_own_last_longer_by_its_clock() {
        let counted = |term, of| {
            let tolerance = LeasePolicy::of(Duration::from_secs(of)).tolerance();
            counted(Duration::from_secs(term), tolerance).as_millis()
        };
        assert_eq!([3, 5, 10, 90].map(|term| counted(term, term)), [3_000, 5_000, 10_000, 90_000]);
        assert_eq!([3, 5, 10, 25].map(|term| counted(term, 90)), [3_700, 5_500, 10_000, 25_000]);
        assert_eq!([3, 90].map(|term| counted(term, 5)), [3_200, 90_000]);
    }

    #[test]
    fn who_is_not_told_has_the_usual_lease_or_a_shorter_one() {
        let usual = LeasePolicy::default();
        assert_eq!((usual.term(true).as_secs(), usual.term(false).as_secs()), (90, 25));
        let terms = |seconds| {
            let policy = LeasePolicy::of(Duration::from_secs(seconds));
            (policy.term(true).as_secs(), policy.term(false).as_secs())
        };
        assert_eq!((terms(10), terms(300)), ((10, 10), (300, 25)));
    }

    #[test]
    fn who_has_short_leases_is_silent_sooner() {
        let silent = |seconds| {
            let policy = LeasePolicy::of(Duration::from_secs(seconds));
            (policy.silent_after(true).as_secs(), policy.silent_after(false).as_secs())
        };
        assert_eq!([3, 10, 90].map(silent), [(3, 10), (10, 10), (15, 15)]);
    }

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let policy = RetryPolicy::default();
        let pauses = [1, 2, 3, 4, 5, u32::MAX].map(|fault| policy.pause_after(fault).as_secs());
        assert_eq!(pauses, [10, 30, 90, 270, 300, 300]);
    }

    #[test]
    fn no_retries_means_the_first_failure_is_the_last() {
        assert!(!RetryPolicy::default().may_retry(1));
        let three = RetryPolicy { max_failures: 3, ..RetryPolicy::default() };
        assert!(three.may_retry(2));
        assert!(!three.may_retry(3));
    }

    #[test]
    fn a_job_gets_the_retries_that_it_asks_for() {
        let tries = |retries| {
            (1..20)
                .take_while(move |failures| RetryPolicy::default().with_retries(retries).may_retry(*failures))
        };
        assert_eq!([0, 1, 10].map(|retries| tries(retries).count()), [0, 1, 10]);
        let three = RetryPolicy { max_failures: 3, ..RetryPolicy::default() };
        assert_eq!([0, 1, 5].map(|retries| three.with_retries(retries).max_failures), [3, 3, 6]);
    }
}
