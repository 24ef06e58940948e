//! What can go wrong with the store.

mod countable;
mod unreadable;

pub use countable::Countable;
use unreadable::Counted;

use crate::objects::ObjectsFault;
use jobs::secrets::MAX_SECRETS;
use jobs::{JobId, Namespace, Rejected};

/// A call on the store did not do what was asked. Nothing was changed; but of a call that does many things one by one, such as
/// those that forget, some may be done. And where the connection to the database was lost ([`StoreError::Away`]), so may be no more
/// than its answer to the commit: then all is done.
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
    /// A namespace has as much of a queue as one may.
    #[error(
        "a queue may hold {total} jobs, {limit} of one namespace, and {queue} does hold those of {namespace}: submit it again \
         when executors have taken some, or cancel what is not needed"
    )]
    QueuePortion {
        /// The queue.
        queue: String,
        /// Whose jobs they are.
        namespace: Namespace,
        /// How many of them one namespace may have.
        limit: u64,
        /// How many jobs the queue may hold.
        total: u64,
    },
    /// Of the queue no more is left than what is the global namespace's.
    #[error(
        "a queue may hold {total} jobs, {limit} before it takes the global namespace's only, and {queue} does: submit it \
         again when executors have taken some, or cancel what is not needed"
    )]
    QueueReserved {
        /// The queue.
        queue: String,
        /// How many there may be before.
        limit: u64,
        /// How many jobs the queue may hold.
        total: u64,
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
    #[error("the database was changed meanwhile: try again")]
    Outdated,
    /// There are as many of something as there may be.
    #[error("there are {limit} {}, and there may be no more: {}", .of.name(), .of.advice())]
    TooMany {
        /// Of what.
        of: Countable,
        /// The limit.
        limit: i64,
    },
    /// One namespace has as many of something as one may.
    #[error(
        "there may be {total} {}, {limit} of one namespace, and {namespace} has those: {}", .of.name(), .of.advice()
    )]
    TooManyOf {
        /// Of what.
        of: Countable,
        /// Whose.
        namespace: Namespace,
        /// How many one may have.
        limit: i64,
        /// How many all may have together.
        total: i64,
    },
    /// All namespaces but the global one have as many of something as they may.
    #[error(
        "there may be {total} {}, {limit} of all namespaces but the global one, and those are there: {}",
        .of.name(), .of.advice()
    )]
    TooManyShared {
        /// Of what.
        of: Countable,
        /// How many they may have together.
        limit: i64,
        /// How many all may have together.
        total: i64,
    },
    /// A token of that name exists.
    #[error(
        "a token named {name:?} exists already in the namespace {namespace}: choose another name, or revoke it first"
    )]
    TokenExists {
        /// The name.
        name: String,
        /// Where.
        namespace: Namespace,
    },
    /// A registration token is good for nothing.
    #[error(
        "the registration token is unknown, used up, expired or revoked: make one with `executor agent invite create`"
    )]
    BadRegistration,
    /// An executor of that name has an identity.
    #[error(
        "the name {0:?} belongs to an executor that registered before: revoke that one if it is gone, and give this one \
         another name or state directory"
    )]
    IdentityExists(String),
    /// An executor of that name was revoked.
    #[error(
        "the name {0:?} belongs to an executor that was revoked, and nobody else gets it before it is forgotten: give this \
         one another name or state directory"
    )]
    IdentityRevoked(String),
    /// The identity belongs to an executor of another name.
    #[error(
        "this identity belongs to the executor {0:?} already, and an identity has one name: go on under that one, or make \
         an identity of its own for the other"
    )]
    IdentityTaken(String),
    /// Somebody of that name signs in already.
    #[error("there is somebody named {0:?} already: choose another name, or remove that one first")]
    PersonExists(String),
    /// There is no such secret.
    #[error("there is no secret {0:?}")]
    UnknownSecret(String),
    /// A secret with this key is there. The words are documented.
    #[error(
        "multiple secrets with the same key in the same namespace not allowed: {0} is there already; change it, or choose \
         another key"
    )]
    SecretExists(String),
    /// There are as many secrets as there may be.
    #[error(
        "{0} has {MAX_SECRETS} secrets already, which is as many as a namespace may have: delete what is not needed"
    )]
    TooManySecrets(Namespace),
    /// Something is sealed with a key that is not known.
    #[error(
        "secrets are sealed with the key {key:?}, which this server was not given: put it back, or take it over from the \
         server that has it"
    )]
    UnknownSealingKey {
        /// Its id.
        key: String,
    },
    /// Something is sealed with another key of this id.
    #[error(
        "the key {key:?} that this server was given is not the one that secrets are sealed with: put that one back; a new \
         key needs an id of its own"
    )]
    WrongSealingKey {
        /// Its id.
        key: String,
    },
    /// A repository of that name exists.
    #[error(
        "a repository named {name:?} exists already in the namespace {namespace}: choose another name, or remove it first"
    )]
    RepositoryExists {
        /// The name.
        name: String,
        /// Where.
        namespace: Namespace,
    },
    /// The database was written by a newer version.
    #[error(
        "the database at {path} has a schema this version does not know: use the version that wrote it, \
             or a newer one"
    )]
    UnknownSchema {
        /// The database file, or host and name.
        path: String,
    },
    /// The database has an older schema, and is only to be read.
    #[error(
        "the database at {path} has an older schema, which is not changed for reading: use the version that its servers \
         have, or stop them and run `executor server migrate` first"
    )]
    OldSchema {
        /// The database file, or host and name.
        path: String,
    },
    /// The database holds nothing yet, and is only to be read.
    #[error(
        "the database at {path} is empty, no server has used it yet: see that it is the one that you mean"
    )]
    NoSchema {
        /// The database file, or host and name.
        path: String,
    },
    /// The database's address can't be read. It may hold a password, so it is not told.
    #[error("the database's URL can't be read: it is written as postgres://USER:PASSWORD@HOST:PORT/NAME")]
    DatabaseUrl,
    /// The database does not tell the time.
    #[error(
        "the database does not tell the time, or each time takes longer for it than a tenth of the lease, or than a second: \
         see to its load and to the way to it"
    )]
    DatabaseTime,
    /// Nobody lets us into the database, at the first connection.
    #[error("can't connect to the database {place} as {user:?}, tried for {seconds} s")]
    Unreachable {
        /// Host, port and name.
        place: String,
        /// As whom.
        user: String,
        /// For how long.
        seconds: u64,
        /// What was told.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database is older than what this was tested with.
    #[error("the database at {place} is PostgreSQL {version}: at least version 15 is needed")]
    OldDatabase {
        /// Host and name.
        place: String,
        /// What it says it is.
        version: String,
    },
    /// Everything in the database was moved to another one.
    #[error(
        "the database {path} was moved elsewhere by `executor server export --retire`: start with --database-url-file; to \
         take it back, as it was then, remove {mark}"
    )]
    Retired {
        /// The database file.
        path: String,
        /// What says so.
        mark: String,
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
    /// There is no room for the database.
    #[error("there is no room on the database's disk: make room there, it goes on by itself then")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database is not there, or does not answer.
    #[error("the database does not answer: try again")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// All connections to the database were in use for as long as one is waited for, or a lock of others was not given back in
    /// time, or it took too long, or has to begin anew because of others.
    #[error("the database has more to do than it can: try again")]
    Busy,
    /// The clock of the database, which all its servers share, does not show what this server took it to: it was set, or
    /// another server saw that it was. Nothing is begun, prolonged or judged by it before it is asked again.
    #[error("the database's clock was set, and is just being asked again: try again")]
    ClockSet,
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
    /// There is no such upload, or nothing can be added to it any more.
    #[error("there is no upload {0} that parts can be added to")]
    UnknownUpload(i64),
    /// A job has uploaded as many indexes as one may.
    #[error(
        "job {job} has uploaded {limit} indexes by its token, those that are not complete among them, and a job may upload no \
         more: upload what it makes once"
    )]
    TooManyUploads {
        /// The job.
        job: JobId,
        /// How many it may upload.
        limit: i64,
    },
    /// An upload does not have such a part.
    #[error("the upload has {parts} parts, so there is no part {part}: they are numbered from 0")]
    NoSuchPart {
        /// Its number.
        part: u32,
        /// How many there are.
        parts: i64,
    },
    /// An upload does not have all its parts.
    #[error("the upload has {there} of its {parts} parts: send the others first")]
    MissingPart {
        /// How many are there.
        there: i64,
        /// How many there should be.
        parts: i64,
    },
    /// A part of an upload was replaced after it was looked at.
    #[error("a part of upload {0} was replaced while it was completed: complete it again")]
    PartsChanged(i64),
    /// The job's try has left as many files as one may.
    #[error("job {job} has left {limit} files, and may leave no more, so {path:?} is not kept: pack them")]
    TooManyArtifacts {
        /// The job.
        job: JobId,
        /// Where the file was that is one too many.
        path: String,
        /// The limit.
        limit: u64,
    },
    /// The job's try would leave more bytes than one may.
    #[error(
        "a job may leave {limit} bytes, and with {path:?} job {job} would leave {bytes}, so it is not kept: leave less"
    )]
    ArtifactsTooLarge {
        /// The job.
        job: JobId,
        /// Where the file was that is too much.
        path: String,
        /// Bytes of it and all others.
        bytes: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The object store can't be used as it was configured.
    #[error("the object store can't be used as it was configured")]
    ObjectStore {
        /// Why.
        #[source]
        source: Box<object_store::Error>,
    },
    /// The object store failed.
    #[error(transparent)]
    Objects(#[from] ObjectsFault),
    /// A job asks for what this server does not know.
    #[error(
        "job {0} was submitted to a server of a newer version, and asks for what this one does not know: ask a newer one, \
         or again when all are replaced"
    )]
    NewerSpec(JobId),
    /// A stored value can't be read back.
    #[error("{row} holds a {what} that can't be read")]
    Corrupt {
        /// Whose, such as `job 7`.
        row: String,
        /// Which value.
        what: &'static str,
        /// Only whoever counts it can make one.
        #[doc(hidden)]
        counted: Counted,
    },
}

impl StoreError {
    /// Whether it is no fault of the call's, and the same call may work soon, or at another server.
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Self::Busy | Self::Away(_) | Self::ClockSet | Self::NewerSpec(_) | Self::UnknownSealingKey { .. }
        )
    }

    /// Whoever did something for several callers at once did not come to its end.
    pub(crate) fn stopped() -> Self {
        Self::Database("what was done for this call with others was stopped".into())
    }
}
