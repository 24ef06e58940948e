//! The store in SQL, with log texts in files beside it.
//!
//! ```text
//! DIR/lock                          held for as long as the store is open
//! DIR/executor.db{,-wal,-shm}       everything but log texts, unless it is in PostgreSQL
//! DIR/logs/<job>/<epoch>/<n>.log    the text of one log entry of one try
//! ```
//!
//! What is done is written once for both databases: a statement is a [`session::Sql`], and runs in a
//! [`session::Session`]. They differ in how transactions live side by side. SQLite has one writer;
//! [`database::SqliteFile`] lets one in at a time, so none ever waits for SQLite's own lock. PostgreSQL has many, each of
//! which sees what others committed meanwhile: so whoever changes a job locks its row first ([`job_rows::load_all`]), and
//! looks again at what it had only looked up. A change of a job's state goes through [`life::Life`]: load, decide by
//! [`jobs::transition`], store under the condition that nothing moved.

mod claim;
mod database;
mod decided;
mod directory;
mod due;
mod end;
mod executors;
mod files;
mod forget;
mod heads;
mod job_rows;
mod keys;
mod lane_rows;
mod lanes;
mod lease;
mod life;
mod logs;
mod news;
mod notices;
mod queues;
mod repositories;
mod room;
mod secrets;
mod session;
mod statements;
mod store;
mod submit;
mod token;
mod tries;
mod values;

pub use database::DatabaseClock;

use crate::error::StoreError;
use crate::model::Change;
use database::{Database, PostgresDatabase, SqliteFile, Write};
use directory::DataDir;
use lanes::Lanes;
use logs::Logs;
use news::News;
use notices::Notices;
use room::Room;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Which database to keep everything in.
#[derive(Clone, Default)]
pub enum DatabaseChoice {
    /// One file in the data directory.
    #[default]
    Embedded,
    /// A PostgreSQL database.
    Postgres {
        /// Where it is and who we are there: `postgres://USER:PASSWORD@HOST:PORT/NAME`.
        url: String,
    },
}

/// How to open a [`SqlStore`].
#[derive(Clone)]
pub struct StoreOptions {
    /// Directory of log texts, and of the embedded database; made when missing.
    pub dir: PathBuf,
    /// Which database.
    pub database: DatabaseChoice,
    /// Where time comes from.
    pub clock: Arc<dyn jobs::Clock>,
    /// How often jobs are tried.
    pub retry: jobs::RetryPolicy,
    /// Bytes of log text of one job's try at most.
    pub max_log_bytes: u64,
    /// Jobs that one queue holds at most.
    pub max_queued: u64,
}

/// The store in SQL. One process at a time may have its data directory open.
pub struct SqlStore {
    database: Database,
    logs: Logs,
    notices: Notices,
    lanes: Arc<Lanes>,
    room: Room,
    clock: Arc<dyn jobs::Clock>,
    retry: jobs::RetryPolicy,
    /// Jobs that one queue holds at most.
    max_queued: u64,
    /// Last, so that the directory is given up after everything in it.
    _dir: DataDir,
}

impl SqlStore {
    /// Opens the store, and makes or updates it first where that is needed.
    pub async fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let dir = DataDir::lock(options.dir)?;
        let lanes = Arc::<Lanes>::default();
        let (database, notices) = match &options.database {
            DatabaseChoice::Embedded => (
                Database::Sqlite(SqliteFile::open(&dir.database()?).await?),
                Notices::here(Arc::clone(&lanes)),
            ),
            DatabaseChoice::Postgres { url } => {
                let database = PostgresDatabase::open(url).await?;
                let notices = Notices::everywhere(database.pool().clone(), Arc::clone(&lanes)).await?;
                (Database::Postgres(database), notices)
            }
        };
        let logs = Logs::new(dir.logs(), options.max_log_bytes);
        let StoreOptions { clock, retry, max_queued, .. } = options;
        let room = Room::default();
        Ok(Self { database, logs, notices, lanes, room, clock, retry, max_queued, _dir: dir })
    }

    /// Moves everything from an embedded database's write-ahead log into its file and empties the former.
    ///
    /// Until then the write-ahead log may hold bytes that the database no longer does, such as the
    /// secrets of jobs that ended. Call it every minute or so.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        self.database.checkpoint().await
    }

    /// Ends all work with the store; every call after this one fails. Dropping the store is as safe,
    /// but leaves the write-ahead log for the next [`SqlStore::open`] to deal with.
    pub async fn close(&self) -> Result<(), StoreError> {
        let checkpointed = self.database.checkpoint().await;
        self.notices.close().await;
        self.database.close().await;
        checkpointed
    }

    /// Makes so what was written, and tells those who wait for it.
    async fn commit(&self, write: Write<'_>) -> Result<(), StoreError> {
        write.commit().await?.into_iter().for_each(|news| self.announce(news));
        Ok(())
    }

    /// The same, or takes back what was written where it failed. Until that is done it holds the rows that it changed
    /// or meant to change, so nobody is told of a fault before.
    async fn settle<T>(&self, write: Write<'_>, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        match outcome {
            Ok(done) => self.commit(write).await.map(|()| done),
            Err(fault) => {
                write.roll_back().await?;
                Err(fault)
            }
        }
    }

    fn announce(&self, news: News) {
        self.notices.announce(news);
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.notices.subscribe()
    }
}
