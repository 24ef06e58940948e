//! Looking at either database without changing it.

use super::{postgres, sqlite};
use crate::error::StoreError;
use crate::sql::look::DatabaseLook;
use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, PgPool, SqliteConnection};
use std::collections::BTreeSet;
use std::path::Path;

/// A schema, against the one that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// There is none yet: the first start makes it.
    Empty,
    /// It is the one that this version knows.
    Current,
    /// So many changes are made when this version starts.
    Behind(usize),
    /// It has changes that this version does not know.
    Newer,
}

impl SchemaState {
    /// `applied`: the numbers of the changes that were made; `known` ones are numbered from 1.
    fn of(applied: &[(i64,)], known: usize) -> Self {
        let known: BTreeSet<i64> = (1..).take(known).collect();
        let applied: BTreeSet<i64> = applied.iter().map(|(number,)| *number).collect();
        match (applied.is_empty(), applied.is_subset(&known), known.difference(&applied).count()) {
            (true, ..) => Self::Empty,
            (_, false, _) => Self::Newer,
            (_, true, 0) => Self::Current,
            (_, true, missing) => Self::Behind(missing),
        }
    }

    /// Refuses the database at `place` to whoever only reads: nothing may be changed for them, not even the schema.
    pub(super) fn check_readable(self, place: String) -> Result<(), StoreError> {
        match self {
            Self::Current => Ok(()),
            Self::Empty => Err(StoreError::NoSchema { path: place }),
            Self::Behind(_) => Err(StoreError::OldSchema { path: place }),
            Self::Newer => Err(StoreError::UnknownSchema { path: place }),
        }
    }
}

const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";

/// Whether the file of an embedded database is not there, or was only made.
pub(super) fn holds_nothing(path: &Path) -> bool {
    !path.metadata().is_ok_and(|file| file.len() > 0)
}

/// The schema of a file that holds something.
pub(super) async fn schema_of_sqlite(connection: &mut SqliteConnection) -> Result<SchemaState, StoreError> {
    const THERE: &str = "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
    let (tables,): (i64,) = sqlx::query_as(THERE).fetch_one(&mut *connection).await?;
    let applied =
        if tables == 0 { Vec::new() } else { sqlx::query_as(APPLIED).fetch_all(connection).await? };
    Ok(SchemaState::of(&applied, sqlite::MIGRATIONS.len()))
}

/// The schema of a PostgreSQL database.
pub(super) async fn schema_of_postgres(pool: &PgPool) -> Result<SchemaState, StoreError> {
    const THERE: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    let (there,): (bool,) = sqlx::query_as(THERE).fetch_one(pool).await?;
    let applied = if there { sqlx::query_as(APPLIED).fetch_all(pool).await? } else { Vec::new() };
    Ok(SchemaState::of(&applied, postgres::MIGRATIONS.len()))
}

/// The embedded database's file.
pub(in crate::sql) async fn look_at_sqlite(path: &Path) -> Result<DatabaseLook, StoreError> {
    const VERSION: &str = "SELECT sqlite_version()";
    let nothing = holds_nothing(path);
    let options = SqliteConnectOptions::new().read_only(true);
    let options =
        if nothing { options.filename(":memory:").read_only(false) } else { options.filename(path) };
    let mut connection = options.connect().await?;
    let (version,): (String,) = sqlx::query_as(VERSION).fetch_one(&mut connection).await?;
    let schema = schema_of_sqlite(&mut connection).await?;
    connection.close().await?;
    Ok(DatabaseLook { version: format!("SQLite {version}"), schema, clock_ahead: None })
}

/// A PostgreSQL database.
pub(in crate::sql) async fn look_at_postgres(url: &str) -> Result<DatabaseLook, StoreError> {
    const VERSION: &str = "SELECT current_setting('server_version')";
    const NOW: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint";
    let pool = postgres::connect(url, 1).await?;
    let (version,): (String,) = sqlx::query_as(VERSION).fetch_one(&pool).await?;
    let schema = schema_of_postgres(&pool).await?;
    let before = Timestamp::now();
    let (micros,): (i64,) = sqlx::query_as(NOW).fetch_one(&pool).await?;
    let here = before + before.duration_until(Timestamp::now()) / 2;
    pool.close().await;
    let ahead = Timestamp::from_microsecond(micros).map(|there| there.duration_since(here));
    Ok(DatabaseLook {
        version: format!("PostgreSQL {version}"),
        schema,
        clock_ahead: ahead.ok().or(Some(SignedDuration::MAX)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_compared_by_its_changes() {
        for (applied, expected) in [
            (&[][..], SchemaState::Empty),
            (&[(1,), (2,), (3,)], SchemaState::Current),
            (&[(1,)], SchemaState::Behind(2)),
            (&[(1,), (2,), (3,), (4,)], SchemaState::Newer),
        ] {
            assert_eq!(SchemaState::of(applied, 3), expected);
        }
    }
}
