//! The store in SQL, with log texts in files beside it or in it.
//!
//! ```text
//! DIR/lock                          held for as long as the store is open
//! DIR/executor.db{,-wal,-shm}       everything but log texts, unless it is in PostgreSQL
//! DIR/logs/<job>/<epoch>/<n>.log    the text of one log entry of one try, until that is over, unless it is in PostgreSQL
//! DIR/objects/                      what is in no table, unless it is in S3: see `objects`
//! ```
//!
//! What is done is written once for both databases: a statement is a [`session::Sql`], and runs in a
//! [`session::Session`]. They differ in how transactions live side by side. SQLite has one writer;
//! [`database::SqliteFile`] lets one in at a time, so none ever waits for SQLite's own lock. PostgreSQL has many, each of
//! which sees what others committed meanwhile: so whoever changes a job locks its row first ([`job_rows::load_all`]), and
//! looks again at what it had only looked up. A change of a job's state goes through [`life::Life`]: load, decide by
//! [`jobs::transition`], store under the condition that nothing moved.

mod artifacts;
mod audit;
mod belief;
mod census;
mod claim;
mod database;
mod decided;
mod directory;
mod due;
mod duties;
mod end;
mod executors;
mod files;
mod forget;
mod heads;
mod identities;
mod identity_store;
mod job_rows;
mod keys;
mod lane_rows;
mod lanes;
mod lease;
mod life;
mod logs;
mod look;
mod loose;
mod new_lanes;
mod news;
mod notices;
mod people;
mod people_store;
mod portions;
mod queue_portions;
mod queues;
mod registrations;
mod repositories;
mod results_store;
mod room;
mod running;
mod secrets;
mod session;
mod sessions;
mod shared_time;
mod shares;
mod statements;
mod store;
mod submissions;
mod submit;
mod sums;
mod together;
mod token;
mod tokens;
mod tolerant;
mod transfer;
mod tries;
mod uploads;
mod values;
mod versions;

pub use database::{DatabaseClock, SchemaState};
pub(crate) use directory::make_private_dir;
pub use look::{DatabaseLook, look_at_database, look_at_keys};
pub use transfer::{Moved, Place, Retirement, TransferError, export, import, migrate, note_act_beside};

use crate::error::StoreError;
use crate::model::{Change, JobRow, NewJob};
use crate::objects::{Objects, ObjectsChoice};
use crate::sealing::Keyring;
use database::{Database, PostgresDatabase, SqliteFile, Write};
use directory::DataDir;
use end::End;
use jobs::JobId;
use lanes::Lanes;
use logs::Logs;
use news::News;
use notices::Notices;
use room::Room;
use shares::Shares;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use sums::Sums;
use together::Together;
use tokio::sync::broadcast;

/// Rows in one listing at most, whatever was asked for: the largest page, and the one that tells that there is another.
const MAX_LISTED: u32 = 501;

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
    /// Where sealed logs go, and what jobs leave.
    pub objects: ObjectsChoice,
    /// Where time comes from.
    pub clock: Arc<dyn jobs::Clock>,
    /// How often jobs are tried.
    pub retry: jobs::RetryPolicy,
    /// What secrets are sealed with.
    pub keys: Arc<Keyring>,
    /// Bytes of log text of one job's try at most.
    pub max_log_bytes: u64,
    /// Jobs that one queue holds at most.
    pub max_queued: u64,
}

/// The store in SQL. One process at a time may have its data directory open.
pub struct SqlStore {
    database: Database,
    logs: Logs,
    objects: Objects,
    notices: Notices,
    lanes: Arc<Lanes>,
    room: Room,
    /// What namespaces have of queues.
    portions: Room,
    sums: Sums,
    shares: AllShares,
    /// Up to when pauses before another try were told to be over, in microseconds.
    pauses_told: AtomicI64,
    /// Single submissions and ends, of several callers at once.
    submits: Together<NewJob, Result<JobId, StoreError>>,
    ends: Together<End, Result<JobRow, StoreError>>,
    clock: Arc<dyn jobs::Clock>,
    keys: Arc<Keyring>,
    missing_key: secrets::MissingKey,
    retry: jobs::RetryPolicy,
    /// Jobs that one queue holds at most.
    max_queued: u64,
    /// Last, so that the directory is given up after everything in it.
    _dir: DataDir,
}

/// How many rows each namespace has of what is forgotten where there are too many.
#[derive(Default)]
struct AllShares {
    audit: Shares,
    accesses: Shares,
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
        let objects = Objects::open(&options.objects, dir.path())?;
        let objects = match &database {
            Database::Sqlite(_) => objects,
            Database::Postgres(_) => objects.of_one_among_several(),
        };
        let logs = Logs::new(database.texts(), dir.logs(), options.max_log_bytes);
        let StoreOptions { clock, keys, retry, max_queued, .. } = options;
        let turns = database.writers();
        let store = Self {
            database,
            logs,
            objects,
            notices,
            lanes,
            room: Room::default(),
            portions: Room::default(),
            sums: Sums::default(),
            shares: AllShares::default(),
            pauses_told: AtomicI64::new(i64::MIN),
            submits: Together::new(turns),
            ends: Together::new(turns),
            clock,
            keys,
            missing_key: secrets::MissingKey::default(),
            retry,
            max_queued,
            _dir: dir,
        };
        secrets::adopt(&store, &store.keys).await?;
        logs::move_in(&store).await?;
        Ok(store)
    }

    /// Moves everything from an embedded database's write-ahead log into its file and empties the former.
    ///
    /// Until then the write-ahead log may hold bytes that the database no longer does, such as the
    /// secrets of jobs that ended. Call it every minute or so.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        self.database.checkpoint().await
    }

    /// The keys that secrets are sealed with.
    pub fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// Takes these keys in place of those there are, for new secrets and old ones. Refused is a list without a key that
    /// something is sealed with. Call [`SqlStore::seal_anew`] next.
    pub async fn take_up_keys(&self, keys: &Keyring) -> Result<(), StoreError> {
        secrets::take_up(self, keys).await
    }

    /// Seals everything with the first key that is not, while all else goes on; says how many transactions that took. What
    /// other servers seal meanwhile with another one is left to the next call.
    pub async fn seal_anew(&self) -> Result<u64, StoreError> {
        secrets::seal_anew(self).await
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
                write.roll_back().await;
                Err(fault)
            }
        }
    }

    fn announce(&self, news: News) {
        self.notices.announce(news);
    }

    /// Tells those who wait in this process of what every other one finds by itself.
    fn announce_here(&self, change: Change) {
        self.notices.announce_here(change);
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.notices.subscribe()
    }
}

#[cfg(test)]
impl SqlStore {
    /// An empty one with an embedded database, the directory that goes with it, and its clock.
    async fn temporary() -> (tempfile::TempDir, Self, Arc<testkit::MockClock>) {
        Self::temporary_in(DatabaseChoice::Embedded).await
    }

    /// The same in a database that is empty.
    async fn temporary_in(database: DatabaseChoice) -> (tempfile::TempDir, Self, Arc<testkit::MockClock>) {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(testkit::MockClock::at(1_700_000_000));
        let options = StoreOptions {
            dir: dir.path().to_owned(),
            database,
            objects: ObjectsChoice::Directory,
            clock: Arc::clone(&clock) as _,
            retry: jobs::RetryPolicy::default(),
            keys: Arc::new(Keyring::parse(&format!("test:{}", "1".repeat(64))).unwrap()),
            max_log_bytes: 1 << 20,
            max_queued: 100,
        };
        (dir, Self::open(options).await.unwrap(), clock)
    }
}
