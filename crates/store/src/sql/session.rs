//! Talking to either database in one way.
//!
//! Every statement is written once, with `$1` for its first argument, and names only types that both have:
//! BIGINT, TEXT, BYTEA and BOOLEAN. Where the two differ, [`Sql`] holds both texts.

use super::database::PostgresLookup;
use crate::error::StoreError;
use futures_util::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{
    ColumnIndex, Decode, Encode, Execute, FromRow, PgConnection, Postgres, Row as _, Sqlite,
    SqliteConnection, Transaction, Type,
};

/// One statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sql {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

/// A connection, for look-ups or within a transaction.
pub(super) enum Session {
    SqliteLookup(PoolConnection<Sqlite>),
    SqliteWrite(Transaction<'static, Sqlite>),
    PostgresLookup(PostgresLookup),
    PostgresWrite(Transaction<'static, Postgres>),
}

enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Session {
    /// Begins a statement.
    pub(super) fn query(&mut self, sql: Sql) -> Query<'_> {
        match self {
            Self::SqliteLookup(connection) => Query::Sqlite(sqlx::query(sql.sqlite), connection),
            Self::SqliteWrite(transaction) => Query::Sqlite(sqlx::query(sql.sqlite), transaction),
            Self::PostgresLookup(lookup) => Query::Lookup(sql.postgres, sqlx::query(sql.postgres), lookup),
            Self::PostgresWrite(transaction) => Query::Postgres(sqlx::query(sql.postgres), transaction),
        }
    }

    /// Runs a statement whose rows are one text each, and hands them on one by one, however many there are; says how many
    /// there were.
    pub(super) async fn each<E: From<StoreError>>(
        &mut self,
        sql: Sql,
        take: &mut (dyn FnMut(&str) -> Result<(), E> + Send),
    ) -> Result<u64, E> {
        let mut taken = 0;
        match self.connection().map_err(StoreError::from)? {
            Connection::Sqlite(connection) => {
                let mut rows = sqlx::query(sql.sqlite).fetch(connection);
                while let Some(row) = rows.try_next().await.map_err(StoreError::from)? {
                    take(row.try_get(0).map_err(StoreError::from)?)?;
                    taken += 1;
                }
            }
            Connection::Postgres(connection) => {
                let mut rows = sqlx::query(sql.postgres).fetch(connection);
                while let Some(row) = rows.try_next().await.map_err(StoreError::from)? {
                    take(row.try_get(0).map_err(StoreError::from)?)?;
                    taken += 1;
                }
            }
        }
        Ok(taken)
    }

    /// Makes so what was written.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::SqliteWrite(transaction) => transaction.commit().await?,
            Self::PostgresWrite(transaction) => transaction.commit().await?,
            Self::SqliteLookup(_) | Self::PostgresLookup(_) => {}
        }
        Ok(())
    }

    /// Forgets what was written.
    pub(super) async fn roll_back(self) -> Result<(), StoreError> {
        match self {
            Self::SqliteWrite(transaction) => transaction.rollback().await?,
            Self::PostgresWrite(transaction) => transaction.rollback().await?,
            Self::SqliteLookup(_) | Self::PostgresLookup(_) => {}
        }
        Ok(())
    }

    fn connection(&mut self) -> Result<Connection<'_>, sqlx::Error> {
        Ok(match self {
            Self::SqliteLookup(connection) => Connection::Sqlite(connection),
            Self::SqliteWrite(transaction) => Connection::Sqlite(transaction),
            Self::PostgresLookup(lookup) => Connection::Postgres(lookup.connection()?),
            Self::PostgresWrite(transaction) => Connection::Postgres(transaction),
        })
    }
}

/// A statement with the arguments it has so far.
pub(super) enum Query<'c> {
    Sqlite(sqlx::query::Query<'c, Sqlite, SqliteArguments>, &'c mut SqliteConnection),
    /// With its text, for it may be run twice.
    Lookup(&'static str, sqlx::query::Query<'c, Postgres, PgArguments>, &'c mut PostgresLookup),
    Postgres(sqlx::query::Query<'c, Postgres, PgArguments>, &'c mut PgConnection),
}

/// What both databases take as an argument.
pub(super) trait Argument<'t>:
    Encode<'t, Sqlite> + Type<Sqlite> + Encode<'t, Postgres> + Type<Postgres>
{
}
impl<'t, T> Argument<'t> for T where
    T: Encode<'t, Sqlite> + Type<Sqlite> + Encode<'t, Postgres> + Type<Postgres>
{
}

/// What is read of a row of either database.
pub(super) trait FromEither: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> {}
impl<T> FromEither for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> {}

impl Query<'_> {
    /// Gives the next argument.
    pub(super) fn bind<'t, T: Argument<'t>>(self, value: T) -> Self {
        match self {
            Self::Sqlite(query, connection) => Self::Sqlite(query.bind(value), connection),
            Self::Lookup(sql, query, lookup) => Self::Lookup(sql, query.bind(value), lookup),
            Self::Postgres(query, connection) => Self::Postgres(query.bind(value), connection),
        }
    }

    /// Runs it; says how many rows it wrote.
    pub(super) async fn execute(self) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(query, connection) => query.execute(connection).await?.rows_affected(),
            Self::Lookup(_, query, lookup) => query.execute(lookup.connection()?).await?.rows_affected(),
            Self::Postgres(query, connection) => query.execute(connection).await?.rows_affected(),
        })
    }

    /// Runs it for all its rows.
    pub(super) async fn rows(self) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(query, connection) => {
                query.fetch_all(connection).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Lookup(sql, query, lookup) => {
                lookup.rows(sql, arguments(query)?).await?.into_iter().map(Row::Postgres).collect()
            }
            Self::Postgres(query, connection) => {
                query.fetch_all(connection).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Runs it for its first row, if it has one.
    pub(super) async fn row(self) -> Result<Option<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(query, connection) => query.fetch_optional(connection).await?.map(Row::Sqlite),
            Self::Lookup(sql, query, lookup) => lookup.row(sql, arguments(query)?).await?.map(Row::Postgres),
            Self::Postgres(query, connection) => query.fetch_optional(connection).await?.map(Row::Postgres),
        })
    }

    /// Runs it for all its rows, as tuples.
    pub(super) async fn all<T: FromEither>(self) -> Result<Vec<T>, StoreError> {
        self.rows().await?.iter().map(Row::read).collect()
    }

    /// Runs it for its first row as a tuple, if it has one.
    pub(super) async fn optional<T: FromEither>(self) -> Result<Option<T>, StoreError> {
        self.row().await?.as_ref().map(Row::read).transpose()
    }

    /// Runs it for its only row, as a tuple.
    pub(super) async fn one<T: FromEither>(self) -> Result<T, StoreError> {
        self.optional().await?.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }
}

/// What was bound.
fn arguments(mut query: sqlx::query::Query<'_, Postgres, PgArguments>) -> Result<PgArguments, StoreError> {
    let bound = query.take_arguments().map_err(sqlx::Error::Encode)?;
    Ok(bound.unwrap_or_default())
}

/// A row of either database.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// One column.
    pub(super) fn get<'r, T>(&'r self, column: &'static str) -> Result<T, StoreError>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
        &'static str: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    fn read<T: FromEither>(&self) -> Result<T, StoreError> {
        Ok(match self {
            Self::Sqlite(row) => T::from_row(row)?,
            Self::Postgres(row) => T::from_row(row)?,
        })
    }
}
