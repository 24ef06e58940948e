//! What a job waits for, in words.

use crate::needs::Unmet;
use jiff::Timestamp;
use std::fmt;
use wire::additions::TakesNone;

/// Executors that an explanation names at most.
const MOST_NAMED: usize = 20;

/// Jobs that are counted: of more it is told that they are more.
pub const MOST_COUNTED: u32 = 1_000;

/// One thing that a job waits for, or that explains why it does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// A server that knows all that it asks for: see [`crate::SPEC_VERSION`].
    NewerServer,
    /// Its time.
    NotBefore(Timestamp),
    /// The end of jobs with the same key, of which so many may run at once.
    Key(String, u32),
    /// The pause before its next try; which of its retries that is, and of how many, if it asked for any and failed by its own
    /// fault.
    Retry(Timestamp, Option<(u32, u32)>),
    /// The longer pause for the executor that had it last, while nobody else could take it; who that is, and until when.
    RetryElsewhere(String, Timestamp),
    /// Somebody paused its queue.
    Paused(Timestamp),
    /// So many jobs of its queue run as may.
    QueueLimit(u32),
    /// No executor was ever heard of that serves its queue.
    NoExecutor,
    /// Those that have what it needs were not heard of lately.
    Silent(Vec<String>),
    /// Version skew. Those that have what it needs say versions from which nobody can tell what they read; each with what it says.
    Versions(Vec<(String, String)>),
    /// Those that have what it needs are in maintenance.
    InMaintenance(Vec<String>),
    /// Those that have what it needs ask for no jobs, as they say; each with why.
    TakeNone(Vec<(String, TakesNone)>),
    /// None has what it needs; what each lacks.
    Unmet(Vec<(String, Vec<Unmet>)>),
    /// Nothing but room.
    Busy {
        /// Jobs of its queue that wait, itself included.
        waiting: u64,
        /// Those that run.
        running: u64,
        /// Executors that have what it needs and are given jobs.
        executors: usize,
    },
}

impl Obstacle {
    /// A stable name of its kind.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NewerServer => "newer_server",
            Self::NotBefore(_) => "not_before",
            Self::Key(..) => "concurrency_limit",
            Self::Retry(..) => "retry_pause",
            Self::RetryElsewhere(..) => "retry_elsewhere",
            Self::Paused(_) => "queue_paused",
            Self::QueueLimit(_) => "queue_limit",
            Self::NoExecutor => "no_executor",
            Self::Silent(_) => "executors_silent",
            Self::Versions(_) => "executor_versions",
            Self::InMaintenance(_) => "executors_in_maintenance",
            Self::TakeNone(_) => "executors_take_none",
            Self::Unmet(_) => "needs_unmet",
            Self::Busy { .. } => "executors_busy",
        }
    }

    /// What it is for somebody who may not know which executors there are: how many, and neither their names nor what they say
    /// of themselves.
    pub fn without_names(&self) -> String {
        match self {
            Self::RetryElsewhere(_, time) => others_first("whoever had it last", *time),
            Self::Silent(of) => {
                format!("whoever has what it needs was not heard of lately: {}", count(of.len()))
            }
            Self::Versions(of) => format!(
                "version skew: whoever has what it needs says a version that can't be read, and so is given no jobs: {}",
                count(of.len())
            ),
            Self::InMaintenance(of) => {
                format!("whoever has what it needs is in maintenance: {}", count(of.len()))
            }
            Self::TakeNone(of) => {
                format!("whoever has what it needs takes no jobs for now: {}", count(of.len()))
            }
            Self::Unmet(of) => {
                format!("no executor has what it needs, of {} that serve its queue", of.len())
            }
            told => told.to_string(),
        }
    }
}

fn others_first(last: &str, time: Timestamp) -> String {
    format!(
        "others come first, and no other that has what it needs takes jobs now: {last} may have it from {time} on"
    )
}

fn count(executors: usize) -> String {
    format!("{executors} executor{}", if executors == 1 { "" } else { "s" })
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerServer => write!(
                f,
                "it asks for what this server, of an older version, does not know: a newer one gives it out"
            ),
            Self::NotBefore(time) => write!(f, "it is not to be run before {time}"),
            Self::Key(key, limit) => {
                write!(
                    f,
                    "at most {limit} jobs with the concurrency key {key:?} run at once, and as many do or are next"
                )
            }
            Self::Retry(time, None) => write!(f, "it is tried again from {time} on"),
            Self::Retry(time, Some((used, of))) => {
                write!(
                    f,
                    "it is tried again from {time} on, and has used {used} of {of} retries for failures of its own"
                )
            }
            Self::RetryElsewhere(last, time) => {
                write!(f, "{}", others_first(&format!("{last}, which had it last,"), *time))
            }
            Self::Paused(since) => write!(f, "its queue has been paused since {since}"),
            Self::QueueLimit(limit) => {
                write!(f, "at most {limit} jobs of its queue run at once, and as many do")
            }
            Self::NoExecutor => write!(f, "no executor serves its queue"),
            Self::Silent(names) => {
                write!(f, "whoever has what it needs was not heard of lately: {}", list(names))
            }
            Self::Versions(said) => {
                let said: Vec<_> =
                    said.iter().map(|(name, version)| format!("{name} ({version:?})")).collect();
                write!(
                    f,
                    "version skew: whoever has what it needs says a version that can't be read, as 6.1.0 can, and so is given no jobs: {}",
                    list(&said)
                )
            }
            Self::InMaintenance(names) => {
                write!(f, "whoever has what it needs is in maintenance: {}", list(names))
            }
            Self::TakeNone(of) => {
                let why: Vec<_> = of.iter().map(|(name, why)| format!("{name} {}", in_words(*why))).collect();
                write!(f, "whoever has what it needs takes no jobs for now: {}", list(&why))
            }
            Self::Unmet(lacks) => write!(f, "no executor has what it needs: {}", what_each_lacks(lacks)),
            Self::Busy { waiting, running, executors } => {
                let have = if *executors == 1 { "has" } else { "have" };
                write!(
                    f,
                    "{}, {}, and {} {have} what it needs: whichever has room next takes the next job, and when that is \
                     depends on the jobs that run",
                    how_many_wait(*waiting),
                    how_many_run(*running),
                    count(*executors)
                )
            }
        }
    }
}

const fn in_words(why: TakesNone) -> &'static str {
    match why {
        TakesNone::Draining => "is draining",
        TakesNone::DiskFloor => "has less room on its disk than its floor",
    }
}

fn what_each_lacks(lacks: &[(String, Vec<Unmet>)]) -> String {
    let lack = |(name, unmet): &(String, Vec<Unmet>)| {
        let unmet: Vec<String> = unmet.iter().map(ToString::to_string).collect();
        format!("{name}: {}", unmet.join(", "))
    };
    let named = lacks.iter().take(MOST_NAMED).map(lack).collect::<Vec<_>>().join("; ");
    match lacks.len().saturating_sub(MOST_NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

fn how_many_wait(jobs: u64) -> String {
    match jobs {
        1 => "it is the only one of its queue that waits".to_owned(),
        many if many > u64::from(MOST_COUNTED) => format!("more than {MOST_COUNTED} jobs of its queue wait"),
        several => format!("{several} jobs of its queue wait"),
    }
}

fn how_many_run(jobs: u64) -> String {
    match jobs {
        0 => "none runs".to_owned(),
        1 => "1 runs".to_owned(),
        many if many > u64::from(MOST_COUNTED) => format!("more than {MOST_COUNTED} run"),
        several => format!("{several} run"),
    }
}

fn list(names: &[String]) -> String {
    let more = names.len().saturating_sub(MOST_NAMED);
    let named = names.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}
