//! Queues, and what operators say of them.

use jiff::Timestamp;

/// What operators say of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueRules {
    /// Since when none of its jobs is given out; `None`: they are.
    pub paused_at: Option<Timestamp>,
    /// How many of its jobs are given out at once; `None`: any number.
    pub max_running: Option<u32>,
}

/// What is to change of a queue's rules. What is not said stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueChange {
    /// Whether none of its jobs is given out from now on. One that is paused stays so since when it was.
    pub paused: Option<bool>,
    /// How many of its jobs are given out at once; 0: any number.
    pub max_running: Option<u32>,
}

/// A queue as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRow {
    /// Its name.
    pub name: String,
    /// What operators say of it.
    pub rules: QueueRules,
    /// Jobs that wait to be given out.
    pub queued: u64,
    /// Those of them that can't be yet: see [`Hold`](super::Hold).
    pub held: u64,
    /// Jobs that executors have.
    pub running: u64,
    /// Jobs that wait for another try.
    pub errored: u64,
    /// Of the jobs that are next in their lanes, when the one was queued that waits for longest.
    pub oldest_queued_at: Option<Timestamp>,
    /// What of all this could not be read, and was left out.
    pub unreadable: u64,
}
