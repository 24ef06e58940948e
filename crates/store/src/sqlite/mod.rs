//! The store in one SQLite file, with log texts in files beside it.
//!
//! ```text
//! DIR/lock                          held for as long as the store is open
//! DIR/executor.db{,-wal,-shm}       everything but log texts
//! DIR/logs/<job>/<epoch>/<n>.log    the text of one log entry of one try
//! ```
//!
//! Every write is one `BEGIN IMMEDIATE` transaction; [`database::Database`] lets one in at a time, so
//! none ever waits for SQLite's own lock. A change of a job's state goes through [`life::Life`]: load,
//! decide by [`jobs::transition`], store under the condition that nothing moved.

mod claim;
mod database;
mod directory;
mod end;
mod executors;
mod files;
mod forget;
mod job_rows;
mod lease;
mod life;
mod logs;
mod repositories;
mod secrets;
mod statements;
mod store;
mod submit;
mod token;
mod tries;
mod values;

use crate::error::StoreError;
use crate::model::Change;
use database::Database;
use directory::DataDir;
use logs::Logs;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Changes that a slow listener may fall behind by before it misses some.
const CHANGES_CAPACITY: usize = 4_096;

/// How to open a [`SqliteStore`].
#[derive(Clone)]
pub struct SqliteOptions {
    /// Directory of the database and of the log texts; made when missing.
    pub dir: PathBuf,
    /// Where time comes from.
    pub clock: Arc<dyn jobs::Clock>,
    /// How often jobs are tried.
    pub retry: jobs::RetryPolicy,
    /// Bytes of log text of one job's try at most.
    pub max_log_bytes: u64,
    /// Jobs that one queue holds at most.
    pub max_queued: u64,
}

/// The store in one SQLite file. One process at a time may have it open.
pub struct SqliteStore {
    database: Database,
    logs: Logs,
    changes: broadcast::Sender<Change>,
    clock: Arc<dyn jobs::Clock>,
    retry: jobs::RetryPolicy,
    /// Jobs that one queue holds at most.
    max_queued: u64,
    /// Last, so that the directory is given up after everything in it.
    _dir: DataDir,
}

impl SqliteStore {
    /// Opens the store, and makes or updates it first where that is needed.
    pub async fn open(options: SqliteOptions) -> Result<Self, StoreError> {
        let dir = DataDir::lock(options.dir)?;
        let database = Database::open(&dir.database()).await?;
        let logs = Logs::new(dir.logs(), options.max_log_bytes);
        let (changes, _) = broadcast::channel(CHANGES_CAPACITY);
        let SqliteOptions { clock, retry, max_queued, .. } = options;
        Ok(Self { database, logs, changes, clock, retry, max_queued, _dir: dir })
    }

    /// Moves everything from the write-ahead log into the database file and empties the former.
    ///
    /// Until then the write-ahead log may hold bytes that the database no longer does, such as the
    /// secrets of jobs that ended. Call it every minute or so.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        self.database.checkpoint().await
    }

    /// Ends all work with the store; every call after this one fails. Dropping the store is as safe,
    /// but leaves the write-ahead log for the next [`SqliteStore::open`] to deal with.
    pub async fn close(&self) -> Result<(), StoreError> {
        let checkpointed = self.database.checkpoint().await;
        self.database.close().await;
        checkpointed
    }

    /// Nobody listening is fine.
    fn announce(&self, change: Change) {
        let _ = self.changes.send(change);
    }
}
