//! The database in one file.

use super::look::{holds_nothing, schema_of_sqlite};
use super::{Durability, Write, migrated, migrator};
use crate::error::StoreError;
use crate::sql::session::Session;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use std::path::Path;
use std::time::Duration;
use tokio::sync::Mutex;

/// Connections for look-ups. In WAL mode they neither wait for the writer nor hold it up.
const READERS: u32 = 4;
/// How long a statement waits for a lock of SQLite's own. Only another program, such as somebody's
/// `sqlite3`, can make it wait.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// The write-ahead log is cut back to this size whenever it starts over.
const WAL_SIZE_LIMIT: &str = "67108864";

const BEGIN: &str = "BEGIN IMMEDIATE";
const CHECKPOINT: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// Every change of the schema, oldest first.
pub(super) const MIGRATIONS: [(&str, &str); 23] = [
    ("jobs", include_str!("../../../migrations/sqlite/0001_jobs.sql")),
    ("files", include_str!("../../../migrations/sqlite/0002_files.sql")),
    ("specs", include_str!("../../../migrations/sqlite/0003_specs.sql")),
    ("retention", include_str!("../../../migrations/sqlite/0004_retention.sql")),
    ("leases", include_str!("../../../migrations/sqlite/0005_leases.sql")),
    ("faults", include_str!("../../../migrations/sqlite/0006_faults.sql")),
    ("lanes", include_str!("../../../migrations/sqlite/0007_lanes.sql")),
    ("places", include_str!("../../../migrations/sqlite/0008_places.sql")),
    ("identity", include_str!("../../../migrations/sqlite/0009_identity.sql")),
    ("secrets", include_str!("../../../migrations/sqlite/0010_secrets.sql")),
    ("people", include_str!("../../../migrations/sqlite/0011_people.sql")),
    ("artifacts", include_str!("../../../migrations/sqlite/0012_artifacts.sql")),
    ("late_calls", include_str!("../../../migrations/sqlite/0013_late_calls.sql")),
    ("log_texts", include_str!("../../../migrations/sqlite/0014_log_texts.sql")),
    ("repository_credentials", include_str!("../../../migrations/sqlite/0015_repository_credentials.sql")),
    ("file_objects", include_str!("../../../migrations/sqlite/0016_file_objects.sql")),
    ("audit_often", include_str!("../../../migrations/sqlite/0017_audit_often.sql")),
    ("retries", include_str!("../../../migrations/sqlite/0018_retries.sql")),
    ("shares", include_str!("../../../migrations/sqlite/0019_shares.sql")),
    ("references", include_str!("../../../migrations/sqlite/0020_references.sql")),
    ("clock_watch", include_str!("../../../migrations/sqlite/0021_clock_watch.sql")),
    ("duties", include_str!("../../../migrations/sqlite/0022_duties.sql")),
    ("own_uploads", include_str!("../../../migrations/sqlite/0023_own_uploads.sql")),
];

/// The latest of them.
pub(super) const SCHEMA: &str = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// The database file.
pub(in crate::sql) struct SqliteFile {
    /// One connection with `synchronous=FULL`.
    synced: SqlitePool,
    /// One connection with `synchronous=NORMAL`. The commits of both go into one write-ahead log, in
    /// order, so a synced commit brings along every relaxed one before it.
    relaxed: SqlitePool,
    readers: SqlitePool,
    /// One connection for whoever asks whether it answers, which lists that take long must not keep from it.
    asked: SqlitePool,
    /// Whose turn it is to write. A queue here is fair and costs nothing; SQLite's own lock is polled.
    turn: Mutex<()>,
}

impl SqliteFile {
    /// Opens the file and brings its schema up to date.
    pub(in crate::sql) async fn open(path: &Path) -> Result<Self, StoreError> {
        let writer = options(path)
            // Freed bytes are overwritten: they may have been secrets.
            .pragma("secure_delete", "ON")
            .pragma("journal_size_limit", WAL_SIZE_LIMIT);
        let synced = connect(writer.clone().synchronous(SqliteSynchronous::Full), 1).await?;
        let outcome = migrator(&MIGRATIONS).run(&synced).await;
        migrated(outcome, || path.display().to_string())?;
        let relaxed = connect(writer.synchronous(SqliteSynchronous::Normal), 1).await?;
        let readers = connect(options(path).read_only(true), READERS).await?;
        let asked = connect(options(path).read_only(true), 1).await?;
        Ok(Self { synced, relaxed, readers, asked, turn: Mutex::new(()) })
    }

    /// Opens a file for look-ups alone, also one that a server uses.
    pub(in crate::sql) async fn for_reading(path: &Path) -> Result<Self, StoreError> {
        let place = || path.display().to_string();
        if holds_nothing(path) {
            return Err(StoreError::NoSchema { path: place() });
        }
        let readers = connect(options(path).read_only(true), 1).await?;
        schema_of_sqlite(&mut *readers.acquire().await?).await?.check_readable(place())?;
        let (synced, relaxed, asked) = (readers.clone(), readers.clone(), readers.clone());
        Ok(Self { synced, relaxed, readers, asked, turn: Mutex::new(()) })
    }

    /// Opens a file to write a little to it beside the server that may use it, which waits for that as it would for anybody's
    /// `sqlite3`.
    pub(in crate::sql) async fn beside(path: &Path) -> Result<Self, StoreError> {
        let place = || path.display().to_string();
        if holds_nothing(path) {
            return Err(StoreError::NoSchema { path: place() });
        }
        let writer = connect(options(path).synchronous(SqliteSynchronous::Full), 1).await?;
        schema_of_sqlite(&mut *writer.acquire().await?).await?.check_readable(place())?;
        let (synced, relaxed, readers, asked) = (writer.clone(), writer.clone(), writer.clone(), writer);
        Ok(Self { synced, relaxed, readers, asked, turn: Mutex::new(()) })
    }

    pub(super) async fn snapshot(&self) -> Result<Session, StoreError> {
        Ok(Session::SqliteWrite(self.readers.begin().await.map_err(waited)?))
    }

    pub(super) async fn lookup(&self) -> Result<Session, StoreError> {
        Ok(Session::SqliteLookup(self.readers.acquire().await.map_err(waited)?))
    }

    /// The connection of whoever asks whether it answers.
    pub(super) async fn asked(&self) -> Result<Session, StoreError> {
        Ok(Session::SqliteLookup(self.asked.acquire().await.map_err(waited)?))
    }

    /// Begins to write, when everybody before has finished.
    pub(super) async fn write(&self, durability: Durability) -> Result<Write<'_>, StoreError> {
        let turn = self.turn.lock().await;
        let pool = match durability {
            Durability::PowerLoss => &self.synced,
            Durability::Crash => &self.relaxed,
        };
        let session = Session::SqliteWrite(pool.begin_with(BEGIN).await.map_err(waited)?);
        Ok(Write::of(session, Some(turn)))
    }

    /// Moves everything from the write-ahead log into the database file and empties the former.
    pub(super) async fn checkpoint(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        sqlx::query(CHECKPOINT).execute(&self.synced).await?;
        Ok(())
    }

    pub(super) fn connections(&self) -> (u32, u32, u32) {
        (self.readers.size(), u32::try_from(self.readers.num_idle()).unwrap_or(u32::MAX), READERS)
    }

    pub(super) async fn close(&self) {
        self.asked.close().await;
        self.readers.close().await;
        self.relaxed.close().await;
        self.synced.close().await;
    }
}

/// A file is never away: whoever waits for a connection in vain waits for those who use them.
fn waited(fault: sqlx::Error) -> StoreError {
    match fault {
        sqlx::Error::PoolTimedOut => StoreError::Busy,
        fault => fault.into(),
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

#[cfg(test)]
impl SqliteFile {
    /// A connection for what no statement of the store does.
    pub(in crate::sql) async fn raw(&self) -> sqlx::pool::PoolConnection<sqlx::Sqlite> {
        self.synced.acquire().await.unwrap()
    }

    /// How it goes about a statement, without statistics, as it always is.
    pub(in crate::sql) async fn plan(&self, sql: crate::sql::session::Sql) -> Vec<String> {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.sqlite));
        let plan = sqlx::raw_sql(explain).fetch_all(&mut *self.raw().await).await.unwrap();
        plan.iter().map(|row| sqlx::Row::get(row, "detail")).collect()
    }

    /// An empty one, and the directory that goes with it.
    pub(in crate::sql) async fn temporary() -> (tempfile::TempDir, Self) {
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
    use crate::sql::session::Sql;
    use crate::sql::{statements, transfer};
    use sqlx::{Executor, SqlSafeStr, Statement};
    use std::collections::{BTreeMap, BTreeSet};

    /// SQLite resolves every table, column and function when it prepares, so this is the check that a
    /// compiler can't do.
    #[tokio::test]
    async fn every_statement_fits_the_schema() {
        let (_dir, database) = SqliteFile::temporary().await;
        for (name, sql) in statements::all() {
            let prepared = database.readers.prepare(sql.sqlite.into_sql_str()).await;
            let prepared = prepared.unwrap_or_else(|error| panic!("{name}: {error}: {}", sql.sqlite));
            assert_eq!(prepared.sql().as_str(), sql.sqlite);
        }
    }

    #[test]
    fn a_file_is_never_away() {
        assert!(matches!(waited(sqlx::Error::PoolTimedOut), StoreError::Busy));
    }

    /// A column that was forgotten would be lost. How long queues are is counted by triggers; who has a duty now has none
    /// elsewhere.
    #[tokio::test]
    async fn an_export_has_every_column() {
        const ASKED: &str = "SELECT tables.name, columns.name FROM sqlite_schema AS tables \
                             JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table' \
                             AND tables.name NOT IN ('_sqlx_migrations', 'sqlite_sequence', 'queue_lengths', 'duties')";
        let (_dir, database) = SqliteFile::temporary().await;
        let found: Vec<(String, String)> = sqlx::query_as(ASKED).fetch_all(&database.readers).await.unwrap();
        let mut columns = BTreeMap::<String, BTreeSet<String>>::new();
        for (table, column) in found {
            columns.entry(table).or_default().insert(column);
        }
        let exported: BTreeMap<_, _> =
            transfer::columns().into_iter().map(|(t, c)| (t.to_owned(), c)).collect();
        assert_eq!(columns, exported);
    }

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
        let (_dir, database) = SqliteFile::temporary().await;
        let expected = |synchronous: &str| [synchronous, "wal", "1", "10000", "1"].map(str::to_owned);
        assert_eq!(pragmas(&database.synced, 1).await, Some(expected(FULL)));
        assert_eq!(pragmas(&database.relaxed, 1).await, Some(expected(NORMAL)));
        let [_, journal, references, patience, _] = pragmas(&database.readers, READERS).await.unwrap();
        assert_eq!([journal.as_str(), &references, &patience], ["wal", "1", "10000"]);
        // Which of the two a transaction is given.
        for (durability, synchronous) in [(Durability::PowerLoss, 2_i64), (Durability::Crash, 1)] {
            let mut write = database.write(durability).await.unwrap();
            let ask = "PRAGMA synchronous";
            let (told,): (i64,) = write.query(Sql { sqlite: ask, postgres: ask }).one().await.unwrap();
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
        migrator(&MIGRATIONS[..1]).run(&old).await.unwrap();
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
        let repositories =
            "INSERT INTO repositories (name, source, created_at) VALUES ('a', '/a', 1), ('b', '/b', 2)";
        old.execute(repositories).await.unwrap();
        old.execute("DELETE FROM repositories WHERE name = 'b'").await.unwrap();
        old.close().await;
        let database = SqliteFile::open(&path).await.unwrap();
        let mut connection = database.raw().await;
        let added =
            "INSERT INTO repositories (namespace, name, source, created_at) VALUES ('', 'c', '/c', 3)";
        connection.execute(added).await.unwrap();
        drop(connection);
        let ids = "SELECT id, namespace, name FROM repositories ORDER BY id";
        let ids: Vec<(i64, String, String)> = sqlx::query_as(ids).fetch_all(&database.readers).await.unwrap();
        let ids: Vec<_> = ids.iter().map(|(id, of, name)| (*id, of.as_str(), name.as_str())).collect();
        assert_eq!(ids, [(1, "", "a"), (3, "", "c")], "an id is never given again");
        let kept = "SELECT rev, spec FROM jobs JOIN job_specs ON job = id ORDER BY id";
        let kept: Vec<(String, String)> = sqlx::query_as(kept).fetch_all(&database.readers).await.unwrap();
        let specs: Vec<_> = kept.iter().map(|(rev, spec)| (rev.as_str(), spec.as_str())).collect();
        let expect =
            [("main", r#"{"rev":"main","steps":[]}"#), ("", r#"{"steps":[]}"#), ("", "?"), ("", "{}")];
        assert_eq!(specs, expect);
        let retry = "SELECT retry_at FROM jobs WHERE state = 'errored'";
        let retry: Option<i64> = sqlx::query_scalar(retry).fetch_one(&database.readers).await.unwrap();
        assert_eq!(retry, Some(10_000_005));
    }
}
