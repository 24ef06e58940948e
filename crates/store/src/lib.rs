//! The durable queue: jobs, their logs, uploaded files, executors and repositories.
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
mod model;
mod sql;

pub use clock::SystemClock;
pub use contract::Store;
pub use error::StoreError;
pub use model::{
    Asking, Change, Claimed, ExecutorRow, FILE_CHARGE, FileRow, Finish, HeartbeatAnswer, HeldJob, Hold,
    JobFilter, JobRow, LogEntryRow, NewFile, NewJob, NewLogEntry, NewRepository, QueueChange, QueueRow,
    QueueRules, RepositoryRow, TryRow,
};
pub use sql::{DatabaseChoice, DatabaseClock, SqlStore, StoreOptions};
