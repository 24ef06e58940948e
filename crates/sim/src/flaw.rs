//! Faults that can be planted into what is tried, to see that they are found. A simulator that finds none is worth
//! nothing.

use std::str::FromStr;

/// A mistake that somebody could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A heartbeat renews a job whoever holds it.
    HeartbeatOfAnybody,
    /// An end is taken from whoever held the job before.
    FinishOfOldEpoch,
    /// The janitor counts silence from before the server started.
    NoGrace,
    /// The janitor does not notice that its clock was set.
    SetUnnoticed,
    /// The clock may be wrong by as much as with usual leases, however short they are.
    UsualTolerance,
    /// The same submission made again is another one.
    KeyForgotten,
    /// A claim does not look at how many jobs of a queue run.
    LimitIgnored,
    /// A claim takes jobs of a paused queue.
    PauseIgnored,
    /// Jobs with the same concurrency key run beside each other.
    ConcurrencyIgnored,
    /// A claim gives jobs to whoever asks, whatever they need.
    NeedsIgnored,
    /// A claim passes over the job that is next.
    OrderIgnored,
    /// A cancel of a running job is acknowledged and not noted.
    CancelForgotten,
    /// A commit is acknowledged and does not survive the process.
    CommitLost,
    /// Text that comes again is added again.
    AppendTwice,
    /// A claim is taken back though its answer left.
    ReleaseDelivered,
    /// Jobs that a later start names count as lost all the same.
    SettledTooSoon,
    /// Jobs are not let go when their time has come.
    NeverDue,
    /// What the infrastructure did is charged to the job.
    FaultCharged,
    /// An executor counts its lease from when the answer came.
    LeaseFromAnswer,
    /// An executor goes on when its lease is over.
    LeaseNeverEnds,
    /// An executor believes that a lease lasts for a quarter longer than it was told.
    LeaseTooLong,
    /// An agent that was started again asks for jobs before it knows of those that go on.
    NotAdopted,
    /// An executor takes text for delivered whose answer was lost.
    AppendAssumed,
}

impl Flaw {
    /// Every flaw with its name.
    pub const ALL: [(Self, &'static str); 23] = [
        (Self::HeartbeatOfAnybody, "heartbeat-of-anybody"),
        (Self::FinishOfOldEpoch, "finish-of-old-epoch"),
        (Self::NoGrace, "no-grace"),
        (Self::SetUnnoticed, "set-unnoticed"),
        (Self::UsualTolerance, "usual-tolerance"),
        (Self::KeyForgotten, "key-forgotten"),
        (Self::LimitIgnored, "limit-ignored"),
        (Self::PauseIgnored, "pause-ignored"),
        (Self::ConcurrencyIgnored, "concurrency-ignored"),
        (Self::NeedsIgnored, "needs-ignored"),
        (Self::OrderIgnored, "order-ignored"),
        (Self::CancelForgotten, "cancel-forgotten"),
        (Self::CommitLost, "commit-lost"),
        (Self::AppendTwice, "append-twice"),
        (Self::ReleaseDelivered, "release-delivered"),
        (Self::SettledTooSoon, "settled-too-soon"),
        (Self::NeverDue, "never-due"),
        (Self::FaultCharged, "fault-charged"),
        (Self::LeaseFromAnswer, "lease-from-answer"),
        (Self::LeaseNeverEnds, "lease-never-ends"),
        (Self::LeaseTooLong, "lease-too-long"),
        (Self::NotAdopted, "not-adopted"),
        (Self::AppendAssumed, "append-assumed"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(flaw, _)| *flaw == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for Flaw {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(flaw, _)| *flaw).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(_, name)| *name).collect();
            format!("unknown flaw {text:?}: it must be one of {}", names.join(", "))
        })
    }
}
