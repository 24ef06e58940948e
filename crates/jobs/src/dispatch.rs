//! Which job is next.
//!
//! Jobs wait in *lanes*: those of one owner in one queue that need the same. Owners take turns, each with one job; whose
//! latest job was given out longest ago is next, and whoever never had one comes first. Among the jobs of an owner the
//! one with the lowest *rank* is next: the time at which it was queued, less what its priority is worth. So a priority
//! counts as waiting, and nothing waits for ever: a job of the lowest priority goes before one of the highest that was
//! queued [`PRIORITY_STEP`] times their distance later.

use crate::JobId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The highest priority; the lowest is as far below 0.
pub const MAX_PRIORITY: i32 = 10;
/// What one level of priority is worth, in microseconds of waiting: five minutes.
pub const PRIORITY_STEP: i64 = 5 * 60 * 1_000_000;
/// Jobs with one key that may be given out at once at most: they are counted whenever one is submitted or ends.
pub const MAX_CONCURRENCY: u32 = 1_000;
/// Owners whose latest turn is remembered. One that is forgotten counts as new.
const MOST_OWNERS: usize = 100_000;

/// At most `limit` jobs of one owner with the same `key` are given out at the same time; the others wait for their turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Concurrency {
    /// What the jobs have in common, such as `deploy-app`.
    pub key: String,
    /// How many at once, up to [`MAX_CONCURRENCY`]; 1 unless said otherwise.
    #[serde(default = "one")]
    pub limit: u32,
}

const fn one() -> u32 {
    1
}

/// Where a job comes among those of its owner, in microseconds; lowest first.
pub fn rank(queued_at: Timestamp, priority: i32) -> i64 {
    let worth = i64::from(priority.clamp(-MAX_PRIORITY, MAX_PRIORITY)) * PRIORITY_STEP;
    queued_at.as_microsecond().saturating_sub(worth)
}

/// The first job of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The lane's id.
    pub lane: i64,
    /// Whose it is.
    pub owner: String,
    /// See [`rank`].
    pub rank: i64,
    /// The job.
    pub job: JobId,
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub struct Turns {
    /// By owner, when it had its latest turn, as a number that grows.
    latest: HashMap<String, u64>,
    taken: u64,
}

impl Turns {
    /// When `owner` had its latest turn; 0 where it had none.
    pub fn of(&self, owner: &str) -> u64 {
        self.latest.get(owner).copied().unwrap_or_default()
    }

    /// Notes that a job of `owner` was given out.
    pub fn took(&mut self, owner: &str) {
        self.taken += 1;
        if let Some(latest) = self.latest.get_mut(owner) {
            *latest = self.taken;
            return;
        }
        if self.latest.len() >= MOST_OWNERS {
            self.latest.clear();
        }
        self.latest.insert(owner.to_owned(), self.taken);
    }

    /// What has a head each, in the order in which it is to be given out.
    pub fn order<T>(&self, mut items: Vec<T>, head: impl Fn(&T) -> &Head) -> Vec<T> {
        items.sort_by_key(|item| {
            let head = head(item);
            (self.of(&head.owner), head.rank, head.job.0)
        });
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    #[test]
    fn a_priority_counts_as_waiting() {
        assert_eq!(rank(at(10), 0), at(10).as_microsecond());
        assert!(rank(at(4), 1) < rank(at(0), 0), "one level is worth five minutes");
        assert!(rank(at(6), 1) > rank(at(0), 0), "and no more");
        assert_eq!(rank(at(0), i32::MAX), rank(at(0), MAX_PRIORITY));
        let lowest_of_old = rank(at(0), -MAX_PRIORITY);
        assert!(lowest_of_old < rank(at(101), MAX_PRIORITY), "nothing waits for ever");
    }

    fn head(lane: i64, owner: &str, rank: i64) -> Head {
        Head { lane, owner: owner.to_owned(), rank, job: JobId(rank) }
    }

    #[test]
    fn owners_take_turns_and_the_new_one_is_first() {
        let mut turns = Turns::default();
        let heads = || vec![head(1, "ann", 1), head(2, "bob", 2), head(3, "cyd", 3), head(4, "ann", 0)];
        let next = |turns: &Turns| turns.order(heads(), |head| head).remove(0);
        let mut given = Vec::new();
        for _ in 0..6 {
            let next = next(&turns);
            turns.took(&next.owner);
            given.push((next.owner, next.lane));
        }
        let owners: Vec<_> = given.iter().map(|(owner, _)| owner.as_str()).collect();
        assert_eq!(owners, ["ann", "bob", "cyd", "ann", "bob", "cyd"]);
        assert_eq!(given[0].1, 4, "of an owner's lanes the one whose job is older");
    }

    proptest! {
        /// Whoever has jobs has a turn before anybody has two.
        #[test]
        fn nobody_has_two_turns_while_another_waits(owners in 1_usize..6, rounds in 1_usize..5, seed in any::<u64>()) {
            let mut turns = Turns::default();
            let names: Vec<String> = (0..owners).map(|owner| format!("u{owner}")).collect();
            for round in 0..rounds {
                let mut served = std::collections::BTreeSet::new();
                for turn in 0..owners {
                    let heads = names.iter().enumerate().map(|(lane, owner)| {
                        let rank = (seed.rotate_left((lane * 7 + turn + round) as u32) % 1_000) as i64;
                        head(lane as i64, owner, rank)
                    });
                    let next = turns.order(heads.collect(), |head| head).remove(0);
                    turns.took(&next.owner);
                    prop_assert!(served.insert(next.owner));
                }
            }
        }
    }
}
