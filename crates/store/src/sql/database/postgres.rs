//! A PostgreSQL database.

use super::{Durability, Write, migrated, migrator};
use crate::error::StoreError;
use crate::sql::session::Session;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{ConnectOptions, Executor, PgConnection};
use std::str::FromStr;
use std::time::Duration;

/// Connections of one server at most. The database has a hundred for everybody, unless told otherwise.
const CONNECTIONS: u32 = 16;
/// How long a call waits for a connection: the database may be starting again.
const PATIENCE: Duration = Duration::from_secs(30);
/// What every connection is told first. Nobody may hold up the others for long, and time has one zone.
const SETTINGS: &str =
    "SET lock_timeout = '20s'; SET idle_in_transaction_session_timeout = '60s'; SET TIME ZONE 'UTC'";
/// This transaction is on the disk a little after its commit was answered.
const RELAXED: &str = "SET LOCAL synchronous_commit = off";
/// The oldest one that is tested: 15.
const OLDEST: i32 = 150_000;

/// Every change of the schema, oldest first.
const MIGRATIONS: [(&str, &str); 3] = [
    ("store", include_str!("../../../migrations/postgres/0001_store.sql")),
    ("lanes", include_str!("../../../migrations/postgres/0002_lanes.sql")),
    ("places", include_str!("../../../migrations/postgres/0003_places.sql")),
];

/// A PostgreSQL database.
pub(in crate::sql) struct PostgresDatabase {
    pool: PgPool,
}

impl PostgresDatabase {
    /// Connects and brings the schema up to date; servers that start at once take turns.
    pub(in crate::sql) async fn open(url: &str) -> Result<Self, StoreError> {
        let pool = connect(url, CONNECTIONS).await?;
        let options = pool.connect_options();
        let place = format!("{}/{}", options.get_host(), options.get_database().unwrap_or_default());
        let database = Self { pool };
        database.check_version(&place).await?;
        migrated(migrator(&MIGRATIONS).run(&database.pool).await, || place)?;
        Ok(database)
    }

    async fn check_version(&self, place: &str) -> Result<(), StoreError> {
        const VERSION: &str =
            "SELECT current_setting('server_version_num')::int, current_setting('server_version')";
        let (number, version): (i32, String) = sqlx::query_as(VERSION).fetch_one(&self.pool).await?;
        if number < OLDEST {
            return Err(StoreError::OldDatabase { place: place.to_owned(), version });
        }
        Ok(())
    }

    /// Its connections, for what is said beside transactions.
    pub(in crate::sql) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) async fn lookup(&self) -> Result<Session, StoreError> {
        Ok(Session::PostgresLookup(self.pool.acquire().await?))
    }

    /// Begins to write, beside others.
    pub(super) async fn write(&self, durability: Durability) -> Result<Write<'_>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        if durability == Durability::Crash {
            transaction.execute(RELAXED).await?;
        }
        Ok(Write::of(Session::PostgresWrite(transaction), None))
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Connects at least once.
pub(super) async fn connect(url: &str, connections: u32) -> Result<PgPool, StoreError> {
    // What sqlx says of a URL that it can't read may hold the password in it.
    let options = PgConnectOptions::from_str(url).map_err(|_| StoreError::DatabaseUrl)?;
    let options = options.application_name("executor server").disable_statement_logging();
    let pool = PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection: &mut PgConnection, _| {
            Box::pin(async move { connection.execute(SETTINGS).await.map(drop) })
        })
        .connect_with(options)
        .await?;
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statements;
    use sqlx::SqlSafeStr;
    use testkit::Postgres;

    /// PostgreSQL resolves every table, column, function and type when it prepares.
    #[tokio::test]
    async fn every_statement_fits_the_schema() {
        let Some(postgres) = Postgres::start("every_statement_fits_the_schema") else { return };
        let database = PostgresDatabase::open(&postgres.url()).await.unwrap();
        for (name, sql) in statements::all() {
            let prepared = database.pool.prepare(sql.postgres.into_sql_str()).await;
            prepared.unwrap_or_else(|error| panic!("{name}: {error}: {}", sql.postgres));
        }
    }

    #[tokio::test]
    async fn what_newer_versions_wrote_is_left_alone() {
        let Some(postgres) = Postgres::start("what_newer_versions_wrote_is_left_alone") else { return };
        let database = PostgresDatabase::open(&postgres.url()).await.unwrap();
        let future = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                      VALUES (999, 'later', TRUE, '', 0)";
        database.pool.execute(future).await.unwrap();
        let refused = PostgresDatabase::open(&postgres.url()).await.err();
        assert!(matches!(refused, Some(StoreError::UnknownSchema { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn a_url_that_can_not_be_read_is_not_told() {
        let refused = PostgresDatabase::open("postgres//executor:hunter2@host/name").await.err().unwrap();
        let told = format!("{refused} {refused:?}");
        assert!(matches!(refused, StoreError::DatabaseUrl) && !told.contains("hunter2"), "{told}");
    }
}
