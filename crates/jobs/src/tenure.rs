//! For how long a job is its executor's, by the executor's own clock.
//!
//! A control plane of ours tells the term of its leases. A job whose lease was not renewed for that
//! long is about to be given to somebody else, so its sandbox has to be gone by then. A stock one
//! tells no term: there a job goes on while heartbeats fail, but not once nobody is left to send any.

use std::ops::Add;
use std::time::Duration;

/// How long before its term a lease counts as lost: a step is asked to end, and killed when it does
/// not, within that time.
const MARGIN: Duration = Duration::from_secs(5);
/// The margin is at most this part of the term.
pub(crate) const MARGIN_PART: u32 = 5;
/// Without a known term: how long after its last renewal a job goes on that nobody sends heartbeats
/// for. Stock control planes give it away after 25 s.
const ALONE: Duration = Duration::from_secs(20);
/// It goes on for at least this long after it was left alone, so that an agent that is started again
/// at once finds it even if heartbeats had failed.
const LEAST_ALONE: Duration = Duration::from_secs(5);

/// What its holder knows of a lease. `T` is a moment of a clock that nobody sets and that goes on while the host sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenure<T> {
    /// When the call was sent that renewed it last, or the job was assigned.
    pub renewed: T,
    /// How long it lasts from then on, if the control plane has told.
    pub term: Option<Duration>,
    /// Since when there is no agent that could renew it.
    alone: Option<T>,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Tenure<T> {
    /// That of a job that was claimed at `renewed`, or later.
    pub const fn new(renewed: T, term: Option<Duration>) -> Self {
        Self { renewed, term, alone: None }
    }

    /// When a job was claimed at the earliest, for a request that was sent at `sent` and whose answer began at `answered`.
    /// An answer may take its time, and the lease runs meanwhile. Whoever does not tell how long it held the request had
    /// the job when the answer began.
    pub fn claimed(sent: T, held: Option<Duration>, answered: T) -> T {
        held.map_or(answered, |held| (sent + held).min(answered))
    }

    /// After a call that was sent at `sent` has renewed it; `term` is what was told of its length with that.
    #[must_use]
    pub fn renewed(self, sent: T, term: Option<Duration>) -> Self {
        Self { renewed: self.renewed.max(sent), term: term.or(self.term), ..self }
    }

    /// From `now` on there is, or is not, an agent that can renew it.
    #[must_use]
    pub fn accompanied(self, by_an_agent: bool, now: T) -> Self {
        Self { alone: (!by_an_agent).then(|| self.alone.unwrap_or(now)), ..self }
    }

    /// When it counts as lost, as far as is known now.
    pub fn end(&self) -> Option<T> {
        match (self.term, self.alone) {
            (Some(term), _) => Some(self.renewed + term.saturating_sub(MARGIN.min(term / MARGIN_PART))),
            (None, Some(alone)) => Some((self.renewed + ALONE).max(alone + LEAST_ALONE)),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Option<Duration> = Some(Duration::from_secs(25));

    const fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn a_known_term_ends_a_margin_early_whoever_is_there() {
        let tenure = Tenure::new(at(100), TERM);
        assert_eq!(tenure.end(), Some(at(120)));
        assert_eq!(tenure.accompanied(false, at(110)).end(), Some(at(120)));
        assert_eq!(Tenure::new(at(100), Some(at(5))).end(), Some(at(104)));
    }

    #[test]
    fn without_a_term_a_job_ends_only_when_it_is_left_alone() {
        let tenure = Tenure::new(at(100), None);
        assert_eq!(tenure.end(), None);
        let alone = tenure.accompanied(false, at(101));
        assert_eq!(alone.end(), Some(at(100) + ALONE));
        assert_eq!(alone.accompanied(true, at(102)).end(), None);
    }

    #[test]
    fn an_agent_that_returns_at_once_finds_a_job_whose_heartbeats_had_failed() {
        let alone = Tenure::new(at(100), None).accompanied(false, at(160));
        assert_eq!(alone.end(), Some(at(160) + LEAST_ALONE));
        assert_eq!(
            alone.accompanied(false, at(163)).end(),
            Some(at(160) + LEAST_ALONE),
            "it is alone already"
        );
    }

    #[test]
    fn renewals_that_come_late_change_nothing_and_a_term_is_remembered() {
        let tenure = Tenure::new(at(100), TERM).renewed(at(91), None);
        assert_eq!((tenure.renewed, tenure.term), (at(100), TERM));
        assert_eq!(tenure.renewed(at(105), None).end(), Some(at(125)));
    }

    #[test]
    fn a_lease_begins_no_later_than_its_job_was_claimed() {
        let claimed = |held| Tenure::claimed(at(100), held, at(120));
        assert_eq!(claimed(Some(at(18))), at(118), "the answer took two seconds");
        assert_eq!((claimed(Some(at(0))), claimed(Some(at(99))), claimed(None)), (at(100), at(120), at(120)));
    }
}
