//! The durable queue: jobs, their logs, uploaded files, executors, repositories and secrets; who may do what, and who did.
//!
//! [`Store`] is the contract; [`SqlStore`] keeps it in one SQLite file or in PostgreSQL. Every implementation passes the
//! same suite (`tests/it`).
//!
//! Invariants: only this crate knows SQL. What a call has answered `Ok` to survives the death of
//! every process. A write that changes a job's state is decided by [`jobs::transition`] and guarded a
//! second time in SQL.

mod clock;
mod contract;
mod error;
mod identity;
mod model;
mod objects;
mod people;
mod sealing;
mod sql;

pub use clock::SystemClock;
pub use contract::{AuditLog, Identities, People, Results, Store};
pub use error::{Countable, StoreError};
pub use identity::{
    ActFilter, ActRow, IdentityRow, NewAct, NewRegistration, NewToken, RegistrationRow, TokenRow,
};
pub use model::{
    AccessFilter, ArtifactRow, Asking, Census, Change, Claimed, EndedRow, ExecutorRow, FILE_CHARGE, FileRow,
    Finish, HeartbeatAnswer, HeldJob, Hold, JobFilter, JobRow, LogEntryRow, NewArtifact, NewFile, NewJob,
    NewLogEntry, NewObject, NewRepository, NewSecret, NewUpload, OpenedSecret, QueueChange, QueueRow,
    QueueRules, RepositoryRow, RunningRow, SecretAccessRow, SecretCursor, SecretFilter, SecretRow,
    StoredSpec, TryRow, UploadFilter, UploadPartRow, UploadRow, shortened_command,
};
pub use objects::{ObjectWriter, Objects, ObjectsChoice, ObjectsFault, S3Choice, S3Credentials};
pub use people::{NewPerson, NewSession, PersonRow, SessionOf, SessionRow, SessionTerms};
pub use sealing::{BadKeys, Keyring, new_key_line};
pub use sql::{
    DatabaseChoice, DatabaseClock, DatabaseLook, Moved, Place, Retirement, SchemaState, SqlStore,
    StoreOptions, TransferError, export, import, look_at_database, look_at_keys, migrate, note_act_beside,
};
