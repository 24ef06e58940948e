//! What is looked at of a job.

use jiff::Timestamp;
use jobs::{Concurrency, Needs, Record};
use std::fmt;
use store::{Hold, JobRow};

/// A job at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) queue: String,
    pub(crate) record: Record,
    pub(crate) reason: String,
    pub(crate) hold: Option<Hold>,
    pub(crate) queued_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) retry_at: Option<Timestamp>,
}

/// What does not change of a job.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) owner: String,
    pub(crate) key: Option<Concurrency>,
    pub(crate) needs: Needs,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) rank: i64,
}

impl From<JobRow> for Seen {
    fn from(row: JobRow) -> Self {
        Self {
            queue: row.queue,
            record: row.record,
            reason: row.end.map(|end| end.reason).unwrap_or_default(),
            hold: row.hold,
            queued_at: row.queued_at,
            finished_at: row.finished_at,
            retry_at: row.retry_at,
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = &self.record;
        write!(f, "{}", record.state)?;
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        write!(f, ", epoch {}", record.epoch)?;
        if let Some(executor) = &record.executor {
            write!(f, " of {executor}")?;
        }
        for (count, what) in
            [(record.resets, "resets"), (record.faults, "faults"), (record.failures, "failures")]
        {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        match self.hold {
            Some(Hold::Key) => write!(f, ", held by its key")?,
            Some(Hold::Until(time)) => write!(f, ", held until {time}")?,
            None => {}
        }
        if record.cancel_requested() { write!(f, ", to be cancelled") } else { Ok(()) }
    }
}
