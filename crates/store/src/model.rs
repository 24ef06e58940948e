//! Plain data in and out of the store.

mod artifacts;
mod commands;
mod executors;
mod files;
mod job;
mod logs;
mod queues;
mod repositories;
mod secrets;
mod uploads;

pub use artifacts::{ArtifactRow, NewArtifact};
pub use commands::shortened_command;
pub use executors::{Asking, ExecutorRow, HeartbeatAnswer, RunningRow};
pub use files::{FILE_CHARGE, FileRow, NewFile};
pub use job::{Claimed, EndedRow, Finish, HeldJob, Hold, JobFilter, JobRow, NewJob, StoredSpec, TryRow};
pub use logs::{LogEntryRow, NewLogEntry};
pub use queues::{QueueChange, QueueRow, QueueRules};
pub use repositories::{NewRepository, RepositoryRow};
pub use secrets::{
    AccessFilter, NewSecret, OpenedSecret, SecretAccessRow, SecretCursor, SecretFilter, SecretRow,
};
pub use uploads::{NewObject, NewUpload, UploadFilter, UploadPartRow, UploadRow};

use jobs::JobId;

/// What there is at one moment, for whoever watches. None of it is read, so no row can be in its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Executors that are remembered, those that can't be read among them.
    pub executors: u64,
    /// Secrets that are kept.
    pub secrets: u64,
    /// Repositories.
    pub repositories: u64,
    /// Bytes of the database.
    pub database_bytes: u64,
    /// Connections to the database that are open.
    pub connections: u32,
    /// Those of them that nobody uses.
    pub idle_connections: u32,
    /// Connections at most.
    pub max_connections: u32,
}

/// Something happened that somebody may wait for. A hint, not a record: read the store for the truth.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// A queue has a job to claim.
    Queued(String),
    /// A job's state changed.
    Job(JobId),
    /// A job's log grew.
    Log(JobId),
    /// What operators say of queues or executors changed: there may be jobs to claim.
    Rules,
}
