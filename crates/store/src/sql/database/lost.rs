//! Connections to PostgreSQL that are gone without our knowing, as all are after it was started again.
//!
//! To ask each before each use whether it is there would take as long as the use. So the first that turns out to be lost
//! has all asked that were not used since; and what it was wanted for is done with another one, where nothing was done yet.

use super::spare::Spare;
use crate::error::StoreError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::{Error, PgConnection, Postgres};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a database says, at any moment, that ends connections: its operator does, it crashed, it starts or stops, this one
/// was idle for too long.
const ENDED: [&str; 4] = ["57P01", "57P02", "57P03", "57P05"];

/// When a connection was last found to be lost.
#[derive(Clone, Default)]
pub(super) struct Losses(Arc<Mutex<Option<Instant>>>);

impl Losses {
    /// Notes it if the fault is that the connection was lost; says whether it is.
    pub(super) fn note(&self, fault: &Error) -> bool {
        let lost = is_lost(fault);
        if lost {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        lost
    }

    /// Whether one that nobody has used for so long may be lost as well.
    pub(super) fn may_concern(&self, idle_for: Duration) -> bool {
        let latest = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.is_some_and(|latest| latest.elapsed() <= idle_for)
    }
}

/// Whether a fault is that a connection was lost.
fn is_lost(fault: &Error) -> bool {
    match fault {
        Error::Io(_) => true,
        Error::Database(said) => said.code().is_some_and(|code| ENDED.contains(&&*code)),
        _ => false,
    }
}

/// Whether a fault is that the database is not there, or was not just now. Whoever waits for a connection in vain can't know
/// better by itself: see `spare`.
pub(super) fn is_away(fault: &Error) -> bool {
    is_lost(fault) || matches!(fault, Error::PoolTimedOut)
}

/// A connection for look-ups. They change nothing, so one that finds it lost is made again with another connection.
pub(in crate::sql) struct PostgresLookup {
    /// None only while another one is waited for.
    connection: Option<PoolConnection<Postgres>>,
    pool: PgPool,
    losses: Losses,
    spare: Spare,
}

impl PostgresLookup {
    pub(super) async fn new(pool: &PgPool, losses: &Losses, spare: &Spare) -> Result<Self, StoreError> {
        let (pool, losses, spare) = (pool.clone(), losses.clone(), spare.clone());
        let mut lookup = Self { connection: None, pool, losses, spare };
        lookup.connect().await?;
        Ok(lookup)
    }

    /// The connection as it is.
    pub(in crate::sql) fn connection(&mut self) -> Result<&mut PgConnection, Error> {
        self.connection.as_deref_mut().ok_or(Error::PoolClosed)
    }

    /// All rows of a statement that changes nothing.
    pub(in crate::sql) async fn rows(
        &mut self,
        sql: &'static str,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>, StoreError> {
        let rows = match sqlx::query_with(sql, arguments.clone()).fetch_all(self.connection()?).await {
            Err(fault) => sqlx::query_with(sql, arguments).fetch_all(self.another(fault).await?).await,
            rows => rows,
        };
        Ok(rows?)
    }

    /// Its first row, if it has one.
    pub(in crate::sql) async fn row(
        &mut self,
        sql: &'static str,
        arguments: PgArguments,
    ) -> Result<Option<PgRow>, StoreError> {
        let row = match sqlx::query_with(sql, arguments.clone()).fetch_optional(self.connection()?).await {
            Err(fault) => sqlx::query_with(sql, arguments).fetch_optional(self.another(fault).await?).await,
            row => row,
        };
        Ok(row?)
    }

    /// Takes another connection in the place of this one, if `fault` is that this one was lost; given back first, for all may want
    /// another at once.
    async fn another(&mut self, fault: Error) -> Result<&mut PgConnection, StoreError> {
        if !self.losses.note(&fault) {
            return Err(fault.into());
        }
        drop(self.connection.take());
        self.connect().await
    }

    async fn connect(&mut self) -> Result<&mut PgConnection, StoreError> {
        match self.pool.acquire().await {
            Ok(connection) => Ok(&mut **self.connection.insert(connection)),
            Err(fault) => Err(self.spare.tell(fault).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::postgres::CONNECTIONS;
    use super::super::{Durability, PostgresDatabase};
    use crate::sql::session::Sql;
    use sqlx::{Connection, PgConnection};
    use std::time::Duration;
    use testkit::Postgres;

    const LIMIT: Duration = Duration::from_secs(20);
    const ASK: Sql = Sql { sqlite: "", postgres: "SELECT COUNT(*) FROM jobs" };

    /// As many connections as there may be, which nobody uses, and which the database has ended.
    async fn all_lost(postgres: &Postgres, database: &PostgresDatabase) {
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            held.push(database.lookup().await.unwrap());
        }
        drop(held);
        let idle = async {
            while database.connections().1 < CONNECTIONS {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, idle).await.unwrap();
        assert_eq!(end_all(postgres).await, u64::from(CONNECTIONS));
    }

    /// Ends all connections of servers; says how many there were. It takes less time than they are believed in unasked.
    async fn end_all(postgres: &Postgres) -> u64 {
        const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE application_name = 'executor server'";
        const LEFT: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'executor server'";
        let mut operator = PgConnection::connect(&postgres.url()).await.unwrap();
        let ended = sqlx::query(END).execute(&mut operator).await.unwrap().rows_affected();
        let gone =
            async { while sqlx::query_scalar::<_, i64>(LEFT).fetch_one(&mut operator).await.unwrap() > 0 {} };
        tokio::time::timeout(LIMIT, gone).await.unwrap();
        ended
    }

    #[tokio::test]
    async fn calls_do_not_fail_for_connections_that_ended_before() {
        let test = "calls_do_not_fail_for_connections_that_ended_before";
        let Some(postgres) = Postgres::start(test) else { return };
        let database = PostgresDatabase::open(&postgres.url()).await.unwrap();
        let read = async || -> Result<(i64,), _> { database.lookup().await?.query(ASK).one().await };
        let write = async |durability| database.write(durability).await.map(drop);
        all_lost(&postgres, &database).await;
        let reads = futures_util::future::join_all((0..CONNECTIONS).map(|_| read())).await;
        assert!(reads.iter().all(Result::is_ok), "{reads:?}");
        for durability in [Durability::PowerLoss, Durability::Crash] {
            all_lost(&postgres, &database).await;
            let writes = futures_util::future::join_all((0..CONNECTIONS).map(|_| write(durability))).await;
            assert!(writes.iter().all(Result::is_ok), "{writes:?}");
        }
    }

    /// What was done in a transaction is gone with its connection, and nobody takes it for done.
    #[tokio::test]
    async fn a_transaction_whose_connection_is_lost_fails() {
        let Some(postgres) = Postgres::start("a_transaction_whose_connection_is_lost_fails") else { return };
        let database = PostgresDatabase::open(&postgres.url()).await.unwrap();
        let mut write = database.write(Durability::PowerLoss).await.unwrap();
        write.query(ASK).one::<(i64,)>().await.unwrap();
        assert!(end_all(&postgres).await > 0);
        assert!(write.query(ASK).one::<(i64,)>().await.is_err());
    }

    #[test]
    fn a_database_that_is_away_is_told_from_one_that_failed() {
        use crate::error::StoreError;
        let refused = sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert!(matches!(StoreError::from(refused), StoreError::Away(_)));
        assert!(matches!(StoreError::from(sqlx::Error::PoolTimedOut), StoreError::Away(_)));
        assert!(matches!(StoreError::from(sqlx::Error::RowNotFound), StoreError::Database(_)));
    }
}
