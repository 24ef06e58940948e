//! Which queue gives the next job, when an executor serves several.
//!
//! A queue that gave as many jobs in the last [`WINDOW`] as its limit allows comes after all others;
//! among the rest chance decides, in proportion to their weights. Only dequeues that leave the choice
//! to us count: executors that serve one queue take nothing from the others' share.

use crate::site_config::QueueShare;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// How long a dequeue counts.
const WINDOW: SignedDuration = SignedDuration::from_mins(5);
/// Dequeues remembered per queue at most. A limit above this is never reached.
const REMEMBERED: usize = 10_000;

/// The multi-queue dequeues of the last few minutes, by queue.
#[derive(Default)]
pub(crate) struct Fairness {
    given: Mutex<BTreeMap<String, VecDeque<Timestamp>>>,
}

/// A queue that may give the next job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) queue: String,
    /// How many jobs it gave within the window.
    pub(crate) given: usize,
    pub(crate) share: QueueShare,
}

impl Fairness {
    /// Notes that `queue` gave a job.
    pub(crate) fn note(&self, queue: &str, now: Timestamp) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let times = given.entry(queue.to_owned()).or_default();
        if times.len() == REMEMBERED {
            times.pop_front();
        }
        times.push_back(now);
    }

    /// How many jobs `queue` gave within the window.
    pub(crate) fn given(&self, queue: &str, now: Timestamp) -> usize {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(times) = given.get_mut(queue) else { return 0 };
        while times.front().is_some_and(|&time| now.duration_since(time) > WINDOW) {
            times.pop_front();
        }
        times.len()
    }
}

/// The order in which to ask the candidates. `random` gives a number below its argument.
///
/// The first queue of this order that has a job is distributed exactly as if only queues with jobs
/// had been drawn from, so nobody needs to know beforehand which those are.
pub(crate) fn order(candidates: Vec<Candidate>, mut random: impl FnMut(u64) -> u64) -> Vec<String> {
    let (mut open, mut exhausted): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| candidate.given < candidate.share.limit as usize);
    let mut order = Vec::with_capacity(open.len() + exhausted.len());
    for group in [&mut open, &mut exhausted] {
        while !group.is_empty() {
            order.push(group.swap_remove(draw(group, &mut random)).queue);
        }
    }
    order
}

fn draw(group: &[Candidate], random: &mut impl FnMut(u64) -> u64) -> usize {
    let weight = |candidate: &Candidate| u64::from(candidate.share.weight);
    let mut left = random(group.iter().map(weight).sum());
    for (index, candidate) in group.iter().enumerate() {
        match left.checked_sub(weight(candidate)) {
            Some(rest) => left = rest,
            None => return index,
        }
    }
    0
}

/// A random number below `bound`; 0 when the machine has no randomness to give, which costs fairness
/// but no job. The bias of the remainder is below 2⁻³⁰ for any weights that can be configured.
pub(crate) fn random_below(bound: u64) -> u64 {
    getrandom::u64().unwrap_or_default() % bound.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 5_000;

    fn candidate(queue: &str, given: usize) -> Candidate {
        Candidate { queue: queue.to_owned(), given, share: QueueShare::default_for(queue) }
    }

    /// `SplitMix64`: the same numbers on each run.
    fn fixed_random(mut state: u64) -> impl FnMut(u64) -> u64 {
        move |bound| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z ^ (z >> 31)) % bound
        }
    }

    fn batches_first(given_batches: usize, given_codeintel: usize) -> u32 {
        let mut random = fixed_random(7);
        let draw = || {
            let both = vec![candidate("batches", given_batches), candidate("codeintel", given_codeintel)];
            order(both, &mut random)[0] == "batches"
        };
        std::iter::repeat_with(draw).take(DRAWS as usize).map(u32::from).sum()
    }

    #[test]
    fn full_queues_share_four_to_one() {
        let share = f64::from(batches_first(0, 0)) / f64::from(DRAWS);
        assert!((0.776..=0.824).contains(&share), "{share} is not 0.8 within 3 %");
    }

    #[test]
    fn a_queue_at_its_limit_comes_after_one_below() {
        assert_eq!(batches_first(50, 0), 0);
        assert_eq!(batches_first(0, 250), DRAWS);
        let share = f64::from(batches_first(50, 250)) / f64::from(DRAWS);
        assert!((0.776..=0.824).contains(&share), "both at their limit share as before, not {share}");
    }

    #[test]
    fn every_candidate_is_asked_once() {
        let all = order(vec![candidate("batches", 0), candidate("codeintel", 0)], |_| 0);
        assert_eq!(all, ["batches", "codeintel"]);
        assert!(order(Vec::new(), |_| 0).is_empty());
    }

    #[test]
    fn a_dequeue_counts_for_five_minutes() {
        let fairness = Fairness::default();
        let start = Timestamp::from_second(1_000).unwrap();
        fairness.note("batches", start);
        assert_eq!(fairness.given("batches", start + SignedDuration::from_mins(5)), 1);
        assert_eq!(fairness.given("batches", start + SignedDuration::from_secs(301)), 0);
        assert_eq!(fairness.given("codeintel", start), 0);
    }
}
