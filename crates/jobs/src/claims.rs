//! Claims that nobody has named yet: which of them were lost with their answer, or with the agent that they were for.
//!
//! A claim is *open* until a heartbeat names its job. One that stays open would wait for the end of its lease. Two words
//! of an agent of ours close it sooner, and each is safe however late, or how often, it arrives:
//!
//! * **"The answer to my dequeue N did not arrive."** An agent says so of a dequeue that failed, and nobody reads its
//!   answer any more. A number is used once by one start of an agent, so this means that very claim.
//! * **"I am start S at this place, and nothing is left of earlier starts here but what I name."** A *place* is one state
//!   directory of one boot of one host, and no two agents have it at once. Starts there have ascending numbers. An agent
//!   says this only once every process of earlier starts that might still begin a job has left or been named, and every
//!   sandbox is gone that is not. A claim of an earlier start is not running then, and never will be.
//!
//! What is not concluded: from the silence of the *same* start, nothing, since its claim may be under way to it; from
//! another place, nothing, even under the same name; from a *later* start than the speaker's, nothing, so the last words of
//! a dead agent that come late harm nobody. A claim that any heartbeat has named, by whomever, is not open any more, and
//! waits for its lease as ever. And whatever is concluded is said of one claim: if its job has ended, or was given to
//! somebody else, its epoch is not the current one and nothing changes.
//!
//! All of this is a hint that may be forgotten at any time: then the lease decides.

use crate::{JobId, Lease};
use std::collections::{BTreeMap, VecDeque};

/// Open claims that are remembered of one executor.
const MOST_OF_ONE: usize = 256;
/// Executors with open claims that are remembered.
const MOST_EXECUTORS: usize = 10_000;

/// One start of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Where: the same for all starts with one state directory during one boot of its host.
    pub place: String,
    /// Later starts there have larger numbers.
    pub number: u64,
}

/// A claim that was made for a dequeue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenClaim {
    /// The job.
    pub job: JobId,
    /// What was claimed.
    pub lease: Lease,
    /// For whom.
    pub start: Start,
    /// For which of its dequeues.
    pub dequeue: u64,
}

/// What an agent says of itself with a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Who speaks.
    pub start: Start,
    /// Nothing is left of earlier starts but what is named.
    pub settled: bool,
    /// Dequeues whose answers nobody reads any more.
    pub lost: Vec<u64>,
}

/// A claim that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Void {
    /// Its answer did not arrive, so nobody knows the job.
    Undelivered(OpenClaim),
    /// Its agent died before it had begun the job.
    Dead(OpenClaim),
}

/// The open claims of all executors. Bounded; forgets the oldest.
#[derive(Debug, Default)]
pub struct OpenClaims {
    by_executor: BTreeMap<String, VecDeque<OpenClaim>>,
}

impl OpenClaims {
    /// A job is given out. Call it before its answer leaves.
    pub fn note(&mut self, claim: OpenClaim) {
        let executor = &claim.lease.executor;
        if !self.by_executor.contains_key(executor) && self.by_executor.len() >= MOST_EXECUTORS {
            self.by_executor.pop_first();
        }
        let open = self.by_executor.entry(executor.clone()).or_default();
        if open.len() >= MOST_OF_ONE {
            open.pop_front();
        }
        open.push_back(claim);
    }

    /// A heartbeat of `executor` named these jobs; `word` is what it said of itself, if it did. Gives the claims that
    /// came to nothing, each once.
    pub fn heard(&mut self, executor: &str, named: &[JobId], word: Option<&Word>) -> Vec<Void> {
        let Some(open) = self.by_executor.get_mut(executor) else { return Vec::new() };
        let mut void = Vec::new();
        open.retain(|claim| {
            if named.contains(&claim.job) {
                return false;
            }
            let Some(word) = word.filter(|word| word.start.place == claim.start.place) else { return true };
            let (theirs, speaker) = (claim.start.number, word.start.number);
            if theirs == speaker && word.lost.contains(&claim.dequeue) {
                void.push(Void::Undelivered(claim.clone()));
            } else if theirs < speaker && word.settled {
                void.push(Void::Dead(claim.clone()));
            } else {
                return true;
            }
            false
        });
        if open.is_empty() {
            self.by_executor.remove(executor);
        }
        void
    }
}

#[cfg(test)]
mod tests;
