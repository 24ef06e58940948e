//! A PostgreSQL database.

use super::first::{self, Wait, connect_first};
use super::look::schema_of_postgres;
use super::lost::{Losses, PostgresLookup};
use super::spare::{POOL_PATIENCE, Spare};
use super::{Durability, Write, migrated, migrator};
use crate::error::StoreError;
use crate::sql::session::Session;
use sqlx::migrate::MigrateError;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Postgres, Transaction};
use std::str::FromStr;
use std::time::Duration;

/// Connections of one server for its calls at most. The database has a hundred for everybody, unless told otherwise.
pub(in crate::sql) const CONNECTIONS: u32 = 16;
/// How long the one is kept that nobody has used since.
const SPARE_IDLE: Duration = Duration::from_mins(1);
/// How long a call waits for a connection: the database may be starting again.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// A connection that was used within this time is taken to be there, unless another one was lost since.
const FRESH: Duration = Duration::from_secs(1);
/// What every connection is told first. Nobody may hold up the others for long, time has one zone, and who has waited for a
/// lock sees what was done before it, whatever others on this database prefer.
const SETTINGS: &str = "SET lock_timeout = '20s'; SET idle_in_transaction_session_timeout = '60s'; SET TIME ZONE 'UTC'; \
                        SET default_transaction_isolation = 'read committed'; \
                        SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
                        SET plan_cache_mode = force_generic_plan";
/// Whoever changes the schema may take longer, and the others wait for it.
const PATIENT: &str = "SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0";
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// This transaction is on the disk a little after its commit was answered.
const RELAXED: &str = "SET LOCAL synchronous_commit = off";
/// The oldest one that is tested: 15.
const OLDEST: i32 = 150_000;

/// Every change of the schema, oldest first.
pub(super) const MIGRATIONS: [(&str, &str); 18] = [
    ("store", include_str!("../../../migrations/postgres/0001_store.sql")),
    ("lanes", include_str!("../../../migrations/postgres/0002_lanes.sql")),
    ("places", include_str!("../../../migrations/postgres/0003_places.sql")),
    ("identity", include_str!("../../../migrations/postgres/0004_identity.sql")),
    ("secrets", include_str!("../../../migrations/postgres/0005_secrets.sql")),
    ("people", include_str!("../../../migrations/postgres/0006_people.sql")),
    ("artifacts", include_str!("../../../migrations/postgres/0007_artifacts.sql")),
    ("late_calls", include_str!("../../../migrations/postgres/0008_late_calls.sql")),
    ("log_texts", include_str!("../../../migrations/postgres/0009_log_texts.sql")),
    ("repository_credentials", include_str!("../../../migrations/postgres/0010_repository_credentials.sql")),
    ("file_objects", include_str!("../../../migrations/postgres/0011_file_objects.sql")),
    ("audit_often", include_str!("../../../migrations/postgres/0012_audit_often.sql")),
    ("retries", include_str!("../../../migrations/postgres/0013_retries.sql")),
    ("shares", include_str!("../../../migrations/postgres/0014_shares.sql")),
    ("references", include_str!("../../../migrations/postgres/0015_references.sql")),
    ("clock_watch", include_str!("../../../migrations/postgres/0016_clock_watch.sql")),
    ("duties", include_str!("../../../migrations/postgres/0017_duties.sql")),
    ("own_uploads", include_str!("../../../migrations/postgres/0018_own_uploads.sql")),
];

/// A PostgreSQL database.
pub(in crate::sql) struct PostgresDatabase {
    pool: PgPool,
    spare: Spare,
    losses: Losses,
}

impl PostgresDatabase {
    /// Connects and brings the schema up to date; servers that start at once take turns.
    pub(in crate::sql) async fn open(url: &str) -> Result<Self, StoreError> {
        let database = Self::connect(url, CONNECTIONS).await?;
        database.check_version().await?;
        migrated(database.migrate().await, || database.place())?;
        Ok(database)
    }

    /// Connects beside the servers that may use it, to read it or to write a little to it. They may be of an older version: the schema
    /// stays as it is, and must be this one's.
    pub(in crate::sql) async fn beside(url: &str) -> Result<Self, StoreError> {
        let database = Self::connect(url, 1).await?;
        database.check_version().await?;
        schema_of_postgres(&database.pool).await?.check_readable(database.place())?;
        Ok(database)
    }

    async fn connect(url: &str, connections: u32) -> Result<Self, StoreError> {
        let losses = Losses::default();
        let pool = connect_with(url, connections, SETTINGS, losses.clone(), Wait::ForStart).await?;
        let spare = pool_options(1, SETTINGS, losses.clone()).idle_timeout(SPARE_IDLE);
        let spare = Spare::of(spare.connect_lazy_with((*pool.connect_options()).clone()));
        Ok(Self { pool, spare, losses })
    }

    /// One with a single connection, for which calls wait only for so long.
    #[cfg(test)]
    pub(super) async fn impatient(url: &str, patience: Duration) -> Self {
        let mut database = Self::open(url).await.unwrap();
        let options = (*database.pool.connect_options()).clone();
        let pool = pool_options(1, SETTINGS, database.losses.clone()).acquire_timeout(patience);
        database.pool = pool.connect_lazy_with(options);
        database
    }

    /// Where it is, without secrets.
    fn place(&self) -> String {
        first::place(&self.pool.connect_options())
    }

    async fn migrate(&self) -> Result<(), MigrateError> {
        let mut connection = self.pool.acquire().await?;
        connection.execute(PATIENT).await?;
        // It is not told otherwise again.
        connection.close_on_drop();
        migrator(&MIGRATIONS).run(&mut *connection).await
    }

    async fn check_version(&self) -> Result<(), StoreError> {
        const VERSION: &str =
            "SELECT current_setting('server_version_num')::int, current_setting('server_version')";
        let (number, version): (i32, String) = sqlx::query_as(VERSION).fetch_one(&self.pool).await?;
        if number < OLDEST {
            return Err(StoreError::OldDatabase { place: self.place(), version });
        }
        Ok(())
    }

    /// Its connections, for what is said beside transactions.
    pub(in crate::sql) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) async fn snapshot(&self) -> Result<Session, StoreError> {
        let mut transaction = match self.pool.begin_with(SNAPSHOT).await {
            Ok(transaction) => transaction,
            Err(fault) => return Err(self.spare.tell(fault).await),
        };
        // Whoever takes the rows may be slow.
        transaction.execute("SET LOCAL idle_in_transaction_session_timeout = 0").await?;
        Ok(Session::PostgresWrite(transaction))
    }

    pub(super) async fn lookup(&self) -> Result<Session, StoreError> {
        Ok(Session::PostgresLookup(PostgresLookup::new(&self.pool, &self.losses, &self.spare).await?))
    }

    /// The connection of whoever asks whether it answers.
    pub(super) async fn asked(&self) -> Result<Session, StoreError> {
        Ok(Session::PostgresLookup(PostgresLookup::new(self.spare.pool(), &self.losses, &self.spare).await?))
    }

    /// Begins to write, beside others.
    pub(super) async fn write(&self, durability: Durability) -> Result<Write<'_>, StoreError> {
        let begun = match self.begin(durability).await {
            // Nothing was done yet.
            Err(fault) if self.losses.note(&fault) => self.begin(durability).await,
            begun => begun,
        };
        match begun {
            Ok(transaction) => Ok(Write::of(Session::PostgresWrite(transaction), None)),
            Err(fault) => Err(self.spare.tell(fault).await),
        }
    }

    async fn begin(&self, durability: Durability) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        if durability == Durability::Crash {
            transaction.execute(RELAXED).await?;
        }
        Ok(transaction)
    }

    pub(super) fn connections(&self) -> (u32, u32, u32) {
        (self.pool.size(), u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX), CONNECTIONS)
    }

    pub(super) async fn close(&self) {
        self.spare.pool().close().await;
        self.pool.close().await;
    }
}

/// Connects at least once.
pub(super) async fn connect(url: &str, connections: u32) -> Result<PgPool, StoreError> {
    connect_with(url, connections, SETTINGS, Losses::default(), Wait::ForStart).await
}

/// The same, also to a database that is started at the same time.
pub(super) async fn connect_when_there(url: &str, connections: u32) -> Result<PgPool, StoreError> {
    connect_with(url, connections, SETTINGS, Losses::default(), Wait::ForAnybody).await
}

async fn connect_with(
    url: &str,
    connections: u32,
    settings: &'static str,
    losses: Losses,
    wait: Wait,
) -> Result<PgPool, StoreError> {
    // What sqlx says of a URL that it can't read may hold the password in it.
    let options = PgConnectOptions::from_str(url).map_err(|_| StoreError::DatabaseUrl)?;
    let options = options.application_name("executor server").disable_statement_logging();
    connect_first(&options, wait).await?;
    Ok(pool_options(connections, settings, losses).connect_with(options).await?)
}

fn pool_options(connections: u32, settings: &'static str, losses: Losses) -> PoolOptions<Postgres> {
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(POOL_PATIENCE)
        // Else each is asked whether it is there before each use, which takes as long as the use.
        .test_before_acquire(false)
        .before_acquire(move |connection: &mut PgConnection, about| {
            let believed = about.idle_for < FRESH && !losses.may_concern(about.idle_for);
            Box::pin(async move { Ok(believed || connection.ping().await.is_ok()) })
        })
        .after_connect(move |connection: &mut PgConnection, _| {
            Box::pin(async move { connection.execute(settings).await.map(drop) })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::session::Sql;
    use crate::sql::{statements, transfer};
    use sqlx::migrate::Migrate;
    use sqlx::{AssertSqlSafe, Row, SqlSafeStr};
    use std::collections::{BTreeMap, BTreeSet};
    use testkit::Postgres as Server;

    /// PostgreSQL resolves every table, column, function and type when it prepares.
    #[tokio::test]
    async fn every_statement_fits_the_schema() {
        let Some(postgres) = Server::start("every_statement_fits_the_schema") else { return };
        let database = PostgresDatabase::open(&postgres.url()).await.unwrap();
        for (name, sql) in statements::all() {
            let prepared = database.pool.prepare(sql.postgres.into_sql_str()).await;
            prepared.unwrap_or_else(|error| panic!("{name}: {error}: {}", sql.postgres));
        }
    }

    /// What one store exports the other imports.
    #[test]
    fn both_databases_have_the_same_latest_change() {
        assert_eq!(MIGRATIONS[MIGRATIONS.len() - 1].0, super::super::sqlite::SCHEMA);
    }

    /// A column that was forgotten would be lost. What is known of a database's clock, and who has a duty, is nothing to another
    /// database.
    #[tokio::test]
    async fn an_export_has_every_column() {
        const ASKED: &str = "SELECT table_name::text, column_name::text FROM information_schema.columns \
                             WHERE table_schema = 'public' \
                             AND table_name NOT IN ('_sqlx_migrations', 'clock_watch', 'duties')";
        let Some(postgres) = Server::start("an_export_has_every_column") else { return };
        let database = PostgresDatabase::open(&postgres.url()).await.unwrap();
        let found: Vec<(String, String)> = sqlx::query_as(ASKED).fetch_all(&database.pool).await.unwrap();
        let mut columns = BTreeMap::<String, BTreeSet<String>>::new();
        for (table, column) in found {
            columns.entry(table).or_default().insert(column);
        }
        let exported: BTreeMap<_, _> =
            transfer::columns().into_iter().map(|(t, c)| (t.to_owned(), c)).collect();
        assert_eq!(columns, exported);
    }

    /// How it goes about a statement that it knows nothing of, neither arguments nor how many rows there are.
    async fn plan(connection: &mut PgConnection, sql: &str) -> Vec<String> {
        let arguments = (1..=20).filter(|n| sql.contains(&format!("${n}"))).map(|_| "NULL");
        let arguments = arguments.collect::<Vec<_>>().join(", ");
        let list = if arguments.is_empty() { arguments } else { format!("({arguments})") };
        let ask = format!("PREPARE asked AS {sql}; EXPLAIN EXECUTE asked{list}; DEALLOCATE asked");
        let plan = sqlx::raw_sql(AssertSqlSafe(ask)).fetch_all(connection).await.unwrap();
        plan.iter().map(|row| row.get(0)).collect()
    }

    /// It must not wait for statistics, which come late and change.
    #[tokio::test]
    async fn no_statement_reads_all_jobs() {
        let Some(postgres) = Server::start("no_statement_reads_all_jobs") else { return };
        let database = PostgresDatabase::open(&postgres.url()).await.unwrap();
        let mut connection = database.pool.acquire().await.unwrap();
        // A lock has no plan.
        for (name, sql) in statements::all().filter(|(_, sql)| !sql.postgres.starts_with("LOCK ")) {
            let plan = plan(&mut connection, sql.postgres).await;
            let reads_all = |line: &String| line.contains("Seq Scan on jobs") || line.contains("Hash Join");
            assert!(!plan.iter().any(reads_all), "{name}: {plan:#?}");
        }
    }

    /// Reading all rows by their ids until enough are found would be no table scan, and as slow.
    #[tokio::test]
    async fn looks_of_pages_and_pauses_use_their_own_index() {
        let Some(postgres) = Server::start("looks_of_pages_and_pauses_use_their_own_index") else { return };
        let database = PostgresDatabase::open(&postgres.url()).await.unwrap();
        let mut connection = database.pool.acquire().await.unwrap();
        let own = [("RUN_BY", "jobs_running_of"), ("OVER", "jobs_paused"), ("LIST_OF_JOB", "uploads_of_job")];
        for (statement, index) in own {
            let (_, sql) = statements::all().find(|(name, _)| *name == statement).unwrap();
            let plan = plan(&mut connection, sql.postgres).await;
            let mut scans =
                plan.iter().filter(|line| line.contains(" on jobs") || line.contains(" on uploads"));
            assert!(scans.all(|line| line.contains(index)), "{statement}: {plan:#?}");
            assert!(plan.iter().any(|line| line.contains(index)), "{statement}: {plan:#?}");
        }
    }

    #[tokio::test]
    async fn what_newer_versions_wrote_is_left_alone() {
        let Some(postgres) = Server::start("what_newer_versions_wrote_is_left_alone") else { return };
        let database = PostgresDatabase::open(&postgres.url()).await.unwrap();
        let future = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                      VALUES (999, 'later', TRUE, '', 0)";
        database.pool.execute(future).await.unwrap();
        for refused in [
            PostgresDatabase::open(&postgres.url()).await.err(),
            PostgresDatabase::beside(&postgres.url()).await.err(),
        ] {
            assert!(matches!(refused, Some(StoreError::UnknownSchema { .. })), "{refused:?}");
        }
    }

    /// A server of the version before goes on with what it knows, whoever reads beside it.
    #[tokio::test]
    async fn a_schema_that_is_only_read_stays_what_it_is() {
        const CHANGES: &str = "SELECT COUNT(*) FROM _sqlx_migrations";
        const TABLES: &str = "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'";
        let Some(postgres) = Server::start("a_schema_that_is_only_read_stays_what_it_is") else { return };
        let refused = async || PostgresDatabase::beside(&postgres.url()).await.err();
        let pool = connect(&postgres.url(), 1).await.unwrap();
        let count = async |what| sqlx::query_scalar::<_, i64>(what).fetch_one(&pool).await.unwrap();
        let empty = refused().await;
        assert!(matches!(empty, Some(StoreError::NoSchema { .. })), "{empty:?}");
        assert_eq!(count(TABLES).await, 0);
        let known = MIGRATIONS.len();
        migrator(&MIGRATIONS[..known - 1]).run(&pool).await.unwrap();
        let old = refused().await;
        assert!(matches!(old, Some(StoreError::OldSchema { .. })), "{old:?}");
        assert_eq!(count(CHANGES).await, known as i64 - 1);
        PostgresDatabase::open(&postgres.url()).await.unwrap().close().await;
        let reading = PostgresDatabase::beside(&postgres.url()).await.unwrap();
        let mut snapshot = reading.snapshot().await.unwrap();
        let write = "DELETE FROM jobs";
        let write = snapshot.query(Sql { sqlite: write, postgres: write }).execute().await;
        assert!(write.is_err(), "nothing can be changed by accident");
    }

    /// What operators set for a whole database is not what locks and counts were thought out for.
    #[tokio::test]
    async fn settings_of_the_database_do_not_matter() {
        let Some(postgres) = Server::start("settings_of_the_database_do_not_matter") else { return };
        let mut operator = PgConnection::connect(&postgres.url()).await.unwrap();
        let set = "ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'";
        operator.execute(set).await.unwrap();
        let database = PostgresDatabase::open(&postgres.url()).await.unwrap();
        let mut write = database.pool.begin().await.unwrap();
        let level: String =
            sqlx::query_scalar("SHOW transaction_isolation").fetch_one(&mut *write).await.unwrap();
        assert_eq!(level, "read committed");
        let patience: String = sqlx::query_scalar("SHOW lock_timeout").fetch_one(&mut *write).await.unwrap();
        assert_eq!(patience, "20s", "also after the migration");
    }

    /// Servers that start at once take turns, however long the first one takes.
    #[tokio::test]
    async fn who_waits_for_the_schema_is_patient() {
        const ASK: &str = "SELECT COUNT(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted \
                           AND locktype = 'advisory' AND clock_timestamp() - query_start > '300 milliseconds'";
        let Some(postgres) = Server::start("who_waits_for_the_schema_is_patient") else { return };
        let mut first = PgConnection::connect(&postgres.url()).await.unwrap();
        first.lock().await.unwrap();
        let losses = Losses::default();
        let hasty = "SET lock_timeout = '100ms'";
        let pool = connect_with(&postgres.url(), 2, hasty, losses.clone(), Wait::ForStart).await.unwrap();
        let second = PostgresDatabase { spare: Spare::of(pool.clone()), pool, losses };
        let hold = async {
            while sqlx::query_scalar::<_, i64>(ASK).fetch_one(&mut first).await.unwrap() == 0 {
                tokio::task::yield_now().await;
            }
            first.unlock().await.unwrap();
        };
        let migrate = async { second.migrate().await.unwrap() };
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(hold, migrate) }).await.unwrap();
    }

    #[tokio::test]
    async fn a_url_that_can_not_be_read_is_not_told() {
        let refused = PostgresDatabase::open("postgres//executor:hunter2@host/name").await.err().unwrap();
        let told = format!("{refused} {refused:?}");
        assert!(matches!(refused, StoreError::DatabaseUrl) && !told.contains("hunter2"), "{told}");
    }
}
