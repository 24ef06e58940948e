//! Connections, transactions and migrations.

use super::statements::statements;
use crate::error::StoreError;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, Sqlite, SqliteConnection, Transaction};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// Connections for look-ups. In WAL mode they neither wait for the writer nor hold it up.
const READERS: u32 = 4;
/// How long a statement waits for a lock of SQLite's own. Only another program, such as somebody's
/// `sqlite3`, can make it wait.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// The write-ahead log is cut back to this size whenever it starts over.
const WAL_SIZE_LIMIT: &str = "67108864";

statements! {
    BEGIN = "BEGIN IMMEDIATE";
    CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)";
}

/// What a transaction survives once it is committed. Both survive the death of every process.
#[derive(Debug, Clone, Copy)]
pub(super) enum Durability {
    /// The loss of power as well: commit waits for the disk.
    PowerLoss,
    /// Written to the disk together with the next one that waits. For news that are soon repeated.
    Crash,
}

/// The database file.
pub(super) struct Database {
    /// One connection with `synchronous=FULL`.
    synced: SqlitePool,
    /// One connection with `synchronous=NORMAL`. The commits of both go into one write-ahead log, in
    /// order, so a synced commit brings along every relaxed one before it.
    relaxed: SqlitePool,
    readers: SqlitePool,
    /// Whose turn it is to write. A queue here is fair and costs nothing; SQLite's own lock is polled.
    turn: Mutex<()>,
}

impl Database {
    /// Opens the file and brings its schema up to date.
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        let writer = options(path)
            // Freed bytes are overwritten: they may have been secrets.
            .pragma("secure_delete", "ON")
            .pragma("journal_size_limit", WAL_SIZE_LIMIT);
        let synced = connect(writer.clone().synchronous(SqliteSynchronous::Full), 1).await?;
        migrate(&synced, path).await?;
        let relaxed = connect(writer.synchronous(SqliteSynchronous::Normal), 1).await?;
        let readers = connect(options(path).read_only(true), READERS).await?;
        Ok(Self { synced, relaxed, readers, turn: Mutex::new(()) })
    }

    /// Connections for look-ups.
    pub(super) const fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Begins to write, when everybody before has finished. Dropped without a commit, nothing happened.
    pub(super) async fn write(&self, durability: Durability) -> Result<Write<'_>, StoreError> {
        let turn = self.turn.lock().await;
        let pool = match durability {
            Durability::PowerLoss => &self.synced,
            Durability::Crash => &self.relaxed,
        };
        Ok(Write { transaction: pool.begin_with(BEGIN).await?, _turn: turn })
    }

    /// Moves everything from the write-ahead log into the database file and empties the former.
    pub(super) async fn checkpoint(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        sqlx::query(CHECKPOINT).execute(&self.synced).await?;
        Ok(())
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.relaxed.close().await;
        self.synced.close().await;
    }
}

/// A transaction that writes.
pub(super) struct Write<'a> {
    /// Before `_turn`: it is dropped, and so rolled back, first.
    transaction: Transaction<'static, Sqlite>,
    _turn: MutexGuard<'a, ()>,
}

impl Write<'_> {
    /// Makes it so.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }
}

impl Deref for Write<'_> {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for Write<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}

async fn connect(options: SqliteConnectOptions, connections: u32) -> Result<SqlitePool, StoreError> {
    let pool = PoolOptions::new()
        .max_connections(connections)
        .min_connections(connections)
        // A connection to a file does not go stale. But on a full disk SQLite ends a transaction by
        // itself, which its driver does not hear of: such a connection would refuse every further one.
        .test_before_acquire(false)
        .before_acquire(|connection: &mut SqliteConnection, _| {
            Box::pin(async move { Ok(!connection.is_in_transaction()) })
        })
        .idle_timeout(None)
        .max_lifetime(None);
    Ok(pool.connect_with(options).await?)
}

async fn migrate(pool: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    match Migrator::with_migrations(migrations()).run(pool).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_)) => {
            Err(StoreError::UnknownSchema { path: path.display().to_string() })
        }
        Err(error) => Err(StoreError::Database(Box::new(error))),
    }
}

/// Every change of the schema, oldest first. Those that were released are never edited again.
fn migrations() -> Vec<Migration> {
    let jobs = include_str!("../../migrations/0001_jobs.sql").into_sql_str();
    let files = include_str!("../../migrations/0002_files.sql").into_sql_str();
    let specs = include_str!("../../migrations/0003_specs.sql").into_sql_str();
    let retention = include_str!("../../migrations/0004_retention.sql").into_sql_str();
    let leases = include_str!("../../migrations/0005_leases.sql").into_sql_str();
    let faults = include_str!("../../migrations/0006_faults.sql").into_sql_str();
    vec![
        Migration::new(1, "jobs".into(), MigrationType::Simple, jobs, false),
        Migration::new(2, "files".into(), MigrationType::Simple, files, false),
        Migration::new(3, "specs".into(), MigrationType::Simple, specs, false),
        Migration::new(4, "retention".into(), MigrationType::Simple, retention, false),
        Migration::new(5, "leases".into(), MigrationType::Simple, leases, false),
        Migration::new(6, "faults".into(), MigrationType::Simple, faults, false),
    ]
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

#[cfg(test)]
impl Database {
    /// An empty one, and the directory that goes with it.
    pub(super) async fn temporary() -> (tempfile::TempDir, Self) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("executor.db");
        std::fs::write(&path, "").unwrap();
        let database = Self::open(&path).await.unwrap();
        (dir, database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What all connections of a pool say to some pragmas, `None` if they don't agree.
    async fn pragmas(pool: &SqlitePool, connections: u32) -> Option<[String; 5]> {
        const ASKED: &str = "SELECT CAST(synchronous AS TEXT), journal_mode, CAST(foreign_keys AS TEXT), \
                             CAST(timeout AS TEXT), CAST(secure_delete AS TEXT) \
                             FROM pragma_synchronous, pragma_journal_mode, pragma_foreign_keys, \
                             pragma_busy_timeout, pragma_secure_delete";
        let mut held = Vec::new();
        let mut said = Vec::new();
        for _ in 0..connections {
            let mut connection = pool.acquire().await.unwrap();
            let row: (String, String, String, String, String) =
                sqlx::query_as(ASKED).fetch_one(&mut *connection).await.unwrap();
            said.push(<[String; 5]>::from(row));
            held.push(connection);
        }
        let first = said.pop()?;
        said.iter().all(|other| *other == first).then_some(first)
    }

    /// That a submit survives a loss of power hangs on these alone: no other test would see one go.
    #[tokio::test]
    async fn every_connection_is_as_durability_and_references_need_it() {
        const NORMAL: &str = "1";
        const FULL: &str = "2";
        let (_dir, database) = Database::temporary().await;
        let expected = |synchronous: &str| [synchronous, "wal", "1", "10000", "1"].map(str::to_owned);
        assert_eq!(pragmas(&database.synced, 1).await, Some(expected(FULL)));
        assert_eq!(pragmas(&database.relaxed, 1).await, Some(expected(NORMAL)));
        let [_, journal, references, patience, _] = pragmas(&database.readers, READERS).await.unwrap();
        assert_eq!([journal.as_str(), &references, &patience], ["wal", "1", "10000"]);
        // Which of the two a transaction is given.
        for (durability, synchronous) in [(Durability::PowerLoss, 2_i64), (Durability::Crash, 1)] {
            let mut write = database.write(durability).await.unwrap();
            let told: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *write).await.unwrap();
            assert_eq!(told, synchronous, "{durability:?}");
        }
        let limit: i64 =
            sqlx::query_scalar("PRAGMA journal_size_limit").fetch_one(&database.synced).await.unwrap();
        assert_eq!(limit.to_string(), WAL_SIZE_LIMIT);
    }

    #[tokio::test]
    async fn an_older_database_is_brought_up_to_date() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("executor.db");
        std::fs::write(&path, "").unwrap();
        let old = connect(options(&path), 1).await.unwrap();
        Migrator::with_migrations(migrations().drain(..1).collect()).run(&old).await.unwrap();
        let job = "INSERT INTO jobs (queue, repository, commit_id, spec, queued_at) \
                   VALUES ('batches', ?, '', ?, 0)";
        for (repository, spec) in
            [("app", r#"{"rev":"main","steps":[]}"#), ("", r#"{"steps":[]}"#), ("", "?")]
        {
            sqlx::query(job).bind(repository).bind(spec).execute(&old).await.unwrap();
        }
        let errored = "INSERT INTO jobs (queue, repository, commit_id, spec, queued_at, state, finished_at) \
                       VALUES ('batches', '', '', '{}', 0, 'errored', 5)";
        sqlx::query(errored).execute(&old).await.unwrap();
        old.close().await;
        let database = Database::open(&path).await.unwrap();
        let kept = "SELECT rev, spec FROM jobs JOIN job_specs ON job = id ORDER BY id";
        let kept: Vec<(String, String)> = sqlx::query_as(kept).fetch_all(database.readers()).await.unwrap();
        let specs: Vec<_> = kept.iter().map(|(rev, spec)| (rev.as_str(), spec.as_str())).collect();
        let expect =
            [("main", r#"{"rev":"main","steps":[]}"#), ("", r#"{"steps":[]}"#), ("", "?"), ("", "{}")];
        assert_eq!(specs, expect);
        let retry = "SELECT retry_at FROM jobs WHERE state = 'errored'";
        let retry: Option<i64> = sqlx::query_scalar(retry).fetch_one(database.readers()).await.unwrap();
        assert_eq!(retry, Some(10_000_005));
    }
}
