//! What a transaction changed that somebody may wait for, told once it is committed.

use super::lanes::Lanes;
use crate::model::Change;
use jobs::JobId;
use std::str::FromStr;

/// One change. The same as [`Change`], with what only stores need to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum News {
    /// A lane has a job that can be claimed, now or after its pause.
    Queued { queue: String, lane: i64, rank: i64 },
    /// A job has left a queue that may run only so many: another one may be given out.
    Room(String),
    /// A job's state changed.
    Job(JobId),
    /// A job's log grew.
    Log(JobId),
    /// What operators say of queues or executors changed.
    Rules,
}

impl News {
    /// What it means to those who wait; the store itself hears of it first.
    pub(super) fn heard(self, lanes: &Lanes) -> Change {
        match self {
            Self::Queued { queue, lane, rank } => {
                lanes.filled(lane, rank);
                Change::Queued(queue)
            }
            Self::Room(queue) => Change::Queued(queue),
            Self::Job(id) => Change::Job(id),
            Self::Log(id) => Change::Log(id),
            Self::Rules => {
                lanes.rules_changed();
                Change::Rules
            }
        }
    }

    /// As other servers are told it: no blanks, and nothing that is secret.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Queued { queue, lane, rank } => format!("q{lane}:{rank}:{queue}"),
            Self::Room(queue) => format!("f{queue}"),
            Self::Job(id) => format!("j{id}"),
            Self::Log(id) => format!("l{id}"),
            Self::Rules => "r".to_owned(),
        }
    }

    /// Reads such a word; `None` for what a later version may say besides.
    pub(super) fn read(word: &str) -> Option<Self> {
        let (kind, what) = word.split_at_checked(1)?;
        let job = || what.parse().ok().map(JobId);
        match kind {
            "q" => queued(what),
            "f" => Some(Self::Room(what.to_owned())),
            "j" => job().map(Self::Job),
            "l" => job().map(Self::Log),
            "r" => Some(Self::Rules),
            _ => None,
        }
    }
}

fn queued(what: &str) -> Option<News> {
    let mut parts = what.splitn(3, ':');
    let mut number = || parts.next().and_then(|part| i64::from_str(part).ok());
    let (lane, rank) = (number()?, number()?);
    Some(News::Queued { queue: parts.next()?.to_owned(), lane, rank })
}
