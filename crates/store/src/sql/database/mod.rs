//! Connections, transactions and migrations.

mod clock;
#[cfg(test)]
mod expand;
mod first;
mod look;
mod lost;
mod postgres;
mod spare;
mod sqlite;

pub use clock::DatabaseClock;
pub use look::SchemaState;
pub(super) use look::{look_at_postgres, look_at_sqlite};
pub(super) use lost::PostgresLookup;
pub(super) use postgres::{CONNECTIONS, PostgresDatabase};
pub(super) use sqlite::SqliteFile;

use super::logs::Texts;
use super::news::News;
use super::session::Session;
use crate::error::StoreError;
use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use std::ops::{Deref, DerefMut};
use tokio::sync::MutexGuard;

/// What a transaction survives once it is committed. Both survive the death of every process of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The loss of power as well: commit waits for the disk.
    PowerLoss,
    /// Written to the disk together with the next one that waits; a PostgreSQL that is killed before may lose it. For news
    /// that are soon repeated.
    Crash,
}

/// Where everything is kept but the texts of logs.
pub(super) enum Database {
    Sqlite(SqliteFile),
    Postgres(PostgresDatabase),
}

impl Database {
    /// Whether it keeps how many jobs each queue holds.
    pub(super) const fn knows_queue_lengths(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Where texts of logs are until they are sealed. A file is quicker, and only one server has it.
    pub(super) const fn texts(&self) -> Texts {
        match self {
            Self::Sqlite(_) => Texts::Files,
            Self::Postgres(_) => Texts::Rows,
        }
    }

    /// How many transactions are made at one time for calls that share them.
    pub(super) const fn writers(&self) -> usize {
        match self {
            Self::Sqlite(_) => 1,
            // Where one waits for a lock, others go on.
            Self::Postgres(_) => 4,
        }
    }

    /// A connection for look-ups.
    pub(super) async fn lookup(&self) -> Result<Session, StoreError> {
        match self {
            Self::Sqlite(file) => file.lookup().await,
            Self::Postgres(database) => database.lookup().await,
        }
    }

    /// A connection for a short question, whatever the others are used for.
    pub(super) async fn asked(&self) -> Result<Session, StoreError> {
        match self {
            Self::Sqlite(file) => file.asked().await,
            Self::Postgres(database) => database.asked().await,
        }
    }

    /// Begins to write. Dropped without a commit, nothing happened.
    pub(super) async fn write(&self, durability: Durability) -> Result<Write<'_>, StoreError> {
        match self {
            Self::Sqlite(file) => file.write(durability).await,
            Self::Postgres(database) => database.write(durability).await,
        }
    }

    /// The latest change of the schema, which both have.
    pub(super) const fn schema() -> &'static str {
        sqlite::SCHEMA
    }

    /// A transaction for look-ups alone, which sees everything as it is when it begins.
    pub(super) async fn snapshot(&self) -> Result<Session, StoreError> {
        match self {
            Self::Sqlite(file) => file.snapshot().await,
            Self::Postgres(database) => database.snapshot().await,
        }
    }

    /// Moves what was written into the place where it stays, where that is another one.
    pub(super) async fn checkpoint(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(file) => file.checkpoint().await,
            // It does so by itself.
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Connections for look-ups: those that are open, those of them that nobody uses, and how many there may be. Who
    /// writes to the embedded database waits for a turn, not for a connection.
    pub(super) fn connections(&self) -> (u32, u32, u32) {
        match self {
            Self::Sqlite(file) => file.connections(),
            Self::Postgres(database) => database.connections(),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(file) => file.close().await,
            Self::Postgres(database) => database.close().await,
        }
    }
}

/// A transaction that writes.
pub(super) struct Write<'a> {
    /// Before `_turn`: it is dropped, and so rolled back, first.
    session: Session,
    /// What to tell once it is committed.
    news: Vec<News>,
    /// Where only one may write at a time, this is the one.
    _turn: Option<MutexGuard<'a, ()>>,
}

impl Write<'_> {
    /// Begun, with nothing written yet.
    const fn of(session: Session, turn: Option<MutexGuard<'_, ()>>) -> Write<'_> {
        Write { session, news: Vec::new(), _turn: turn }
    }

    /// Has something told once it is committed.
    pub(super) fn tell(&mut self, news: News) {
        self.news.push(news);
    }

    /// Ends it as if nothing had been written. That it can't be ended is no fault: the database has done so itself, as one
    /// with a full disk does, or its connection is lost. And why it was to be ended is what matters.
    pub(super) async fn roll_back(self) {
        if let Err(fault) = self.session.roll_back().await {
            let error = &fault as &dyn std::error::Error;
            tracing::debug!(error, "a transaction was not there any more when it was to be taken back");
        }
    }

    /// Makes it so; returns what is to be told now.
    pub(super) async fn commit(self) -> Result<Vec<News>, StoreError> {
        self.session.commit().await?;
        Ok(self.news)
    }
}

impl Deref for Write<'_> {
    type Target = Session;
    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Write<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

/// Changes of a schema, oldest first, from their names and texts. Those that were released are never edited again.
fn migrator(changes: &[(&'static str, &'static str)]) -> Migrator {
    let numbered = (1..).zip(changes);
    let migration = |(number, (name, sql)): (i64, &(&'static str, &'static str))| {
        Migration::new(number, (*name).into(), MigrationType::Simple, (*sql).into_sql_str(), false)
    };
    Migrator::with_migrations(numbered.map(migration).collect())
}

/// What became of bringing the schema of the database at `place` up to date.
fn migrated(outcome: Result<(), MigrateError>, place: impl FnOnce() -> String) -> Result<(), StoreError> {
    match outcome {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_)) => {
            Err(StoreError::UnknownSchema { path: place() })
        }
        Err(error) => Err(StoreError::Database(Box::new(error))),
    }
}

/// What a database says where its disk is full: SQLite of its files, and of what its processes share; PostgreSQL.
const FULL: [&str; 3] = ["13", "4874", "53100"];
/// What PostgreSQL says to who waited too long for a lock, or took too long, or has to begin anew because of others.
const BUSY: [&str; 4] = ["55P03", "57014", "40001", "40P01"];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if code.is_some_and(|code| FULL.contains(&&*code)) {
            return Self::Full(Box::new(error));
        }
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if let Some(code) = code.filter(|code| BUSY.contains(&&**code)) {
            let fault = &error as &dyn std::error::Error;
            tracing::warn!(code = &*code, error = fault, "the database did not come to what was asked");
            return Self::Busy;
        }
        if lost::is_away(&error) {
            return Self::Away(Box::new(error));
        }
        Self::Database(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::session::Sql;
    use std::time::Duration;

    const ASK: Sql = Sql { sqlite: "SELECT COUNT(*) FROM jobs", postgres: "SELECT COUNT(*) FROM jobs" };

    /// Balancers would take a server from its clients because it has much to do, and give the others more.
    async fn answers_while_all_connections_are_used(database: Database) {
        let (_, _, most) = database.connections();
        let mut used = Vec::new();
        for _ in 0..most {
            used.push(database.lookup().await.unwrap());
        }
        for _ in 0..2 {
            let asking = async { database.asked().await?.query(ASK).one::<(i64,)>().await };
            let asked = tokio::time::timeout(Duration::from_secs(10), asking).await;
            assert_eq!(asked.expect("it waits for nobody").unwrap(), (0,));
        }
        drop(used);
        database.close().await;
    }

    #[tokio::test]
    async fn the_embedded_one_answers_while_all_its_connections_are_used() {
        let (_dir, file) = SqliteFile::temporary().await;
        answers_while_all_connections_are_used(Database::Sqlite(file)).await;
    }

    #[tokio::test]
    async fn postgresql_answers_while_all_connections_to_it_are_used() {
        let test = "postgresql_answers_while_all_connections_to_it_are_used";
        let Some(postgres) = testkit::Postgres::start(test) else { return };
        let database = PostgresDatabase::open(&postgres.url()).await.unwrap();
        answers_while_all_connections_are_used(Database::Postgres(database)).await;
    }
}
