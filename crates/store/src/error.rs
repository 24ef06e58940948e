//! What can go wrong with the store.

use jobs::{JobId, Rejected};

/// A call on the store did not do what was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such job.
    #[error("there is no job {0}")]
    UnknownJob(JobId),
    /// There is no such log entry.
    #[error("job {job} has no log entry {entry}")]
    UnknownLogEntry {
        /// The job.
        job: JobId,
        /// The entry's number.
        entry: i64,
    },
    /// A job names an uploaded file that is not there.
    #[error(
        "there is no uploaded file {0}: it was never here, or no job needed it for long; upload it again"
    )]
    UnknownFile(String),
    /// The event does not apply to the job as it is.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// Bytes were appended behind the end of a log entry.
    #[error("the log entry ends at byte {length}, so nothing can be added at {offset}")]
    LogGap {
        /// Where the entry ends.
        length: u64,
        /// Where the bytes would have begun.
        offset: u64,
    },
    /// The job's logs have reached their size limit.
    #[error("the logs of a job may take {limit} bytes: job {job} has reached that")]
    LogFull {
        /// The job.
        job: JobId,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The job's try has as many log entries as one may have.
    #[error("the log of a job may have {limit} entries: job {job} has reached that")]
    TooManyLogEntries {
        /// The job.
        job: JobId,
        /// The limit.
        limit: i64,
    },
    /// The queue holds as many jobs as one may.
    #[error(
        "a queue may hold {limit} jobs, and {queue} does: submit it again when executors have taken some, \
         or cancel what is not needed"
    )]
    QueueFull {
        /// The queue.
        queue: String,
        /// The limit.
        limit: u64,
    },
    /// There is no such executor.
    #[error("there is no executor {0:?}: it is known once it was heard of")]
    UnknownExecutor(String),
    /// Another submission had the same key.
    #[error(
        "the idempotency key {key:?} was used for another submission, job {job}: use a key of its own for each"
    )]
    KeyReused {
        /// The key.
        key: String,
        /// What came of the other submission.
        job: JobId,
    },
    /// The same submission is under way.
    #[error("a submission with the idempotency key {0:?} is just being made: try again")]
    SubmittedTwice(String),
    /// What was known of the database is so no more.
    #[error("the database was changed while a job was submitted: try again")]
    Outdated,
    /// There are as many kinds of jobs as there may be.
    #[error(
        "jobs of {0} combinations of owner and needs wait or run already: let more jobs need the same, or wait until \
         some have ended"
    )]
    TooManyLanes(u64),
    /// A repository of that name exists.
    #[error("a repository named {0:?} exists already: choose another name, or remove it first")]
    RepositoryExists(String),
    /// The database was written by a newer version.
    #[error(
        "the database at {path} has a schema this version does not know: use the version that wrote it, \
             or a newer one"
    )]
    UnknownSchema {
        /// The database file.
        path: String,
    },
    /// The database's address can't be read. It may hold a password, so it is not told.
    #[error("the database's URL can't be read: it is written as postgres://USER:PASSWORD@HOST:PORT/NAME")]
    DatabaseUrl,
    /// The database does not tell the time.
    #[error(
        "the database does not tell the time, or takes longer than a second: see to its load and to the way to it"
    )]
    DatabaseTime,
    /// The database is older than what this was tested with.
    #[error("the database at {place} is PostgreSQL {version}: at least version 15 is needed")]
    OldDatabase {
        /// Host and name.
        place: String,
        /// What it says it is.
        version: String,
    },
    /// Another process holds the data directory.
    #[error(
        "the data directory {0} is in use by another server: stop that one, or choose another --data-dir"
    )]
    InUse(String),
    /// The data directory can't be used.
    #[error("the data directory can't be used: {path} failed")]
    DataDir {
        /// What in it.
        path: String,
        /// How.
        #[source]
        source: std::io::Error,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A log file failed.
    #[error("the log file {path} failed")]
    LogFile {
        /// The file.
        path: String,
        /// How.
        #[source]
        source: std::io::Error,
    },
    /// A stored value can't be read back.
    #[error("{row} holds a {what} that can't be read")]
    Corrupt {
        /// Whose, such as `job 7`.
        row: String,
        /// Which value.
        what: &'static str,
    },
}
