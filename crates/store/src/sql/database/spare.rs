//! Why a connection to PostgreSQL was waited for in vain.
//!
//! Of a database that is not there, which it tries to reach until the time is over, a pool says the same as of one whose
//! connections all are used. So the connection that nobody's calls use is asked.

use super::postgres::PATIENCE;
use crate::error::StoreError;
use sqlx::postgres::PgPool;
use sqlx::{Connection, Error};
use std::time::Duration;
use tokio::time::timeout;

/// How long the database may take to say that it is there.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a pool is waited for, so that the reason is known when [`PATIENCE`] ends.
pub(super) const POOL_PATIENCE: Duration = PATIENCE.saturating_sub(ANSWER);

/// One connection, made when it is first needed, for whoever asks whether the database answers: calls that wait for all the
/// others must not look like a database that is away.
#[derive(Clone)]
pub(super) struct Spare(PgPool);

impl Spare {
    pub(super) const fn of(pool: PgPool) -> Self {
        Self(pool)
    }

    pub(super) const fn pool(&self) -> &PgPool {
        &self.0
    }

    /// What the fault of whoever wanted another connection is: the database has too much to do, or is away.
    pub(super) async fn tell(&self, fault: Error) -> StoreError {
        if !matches!(fault, Error::PoolTimedOut) {
            return fault.into();
        }
        // Just used, it would be believed to be there.
        let answers = async { self.0.acquire().await?.ping().await };
        match timeout(ANSWER, answers).await {
            Ok(Ok(())) => StoreError::Busy,
            Ok(Err(cause)) => StoreError::Away(Box::new(cause)),
            Err(_) => fault.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Durability, PostgresDatabase};
    use super::PATIENCE;
    use crate::error::StoreError;
    use crate::sql::session::{Session, Sql};
    use std::time::{Duration, Instant};
    use testkit::Postgres;

    const ASK: Sql = Sql { sqlite: "", postgres: "SELECT COUNT(*) FROM jobs" };

    /// What becomes of one call of each kind.
    async fn refusals(database: &PostgresDatabase) -> [Option<StoreError>; 3] {
        let read = async { database.lookup().await?.query(ASK).one::<(i64,)>().await };
        let (read, snapshot, write) =
            tokio::join!(read, database.snapshot(), database.write(Durability::PowerLoss));
        [read.err(), snapshot.err(), write.err()]
    }

    /// The connection of a database that has but one, which may take longer to make than its calls wait for it.
    async fn the_only_one(database: &PostgresDatabase) -> Session {
        let begun = Instant::now();
        loop {
            match database.lookup().await {
                Ok(session) => return session,
                Err(fault) => assert!(begun.elapsed() < PATIENCE, "{fault}"),
            }
        }
    }

    /// Somebody changes the schema, or a backup holds a lock: those that wait may try again.
    #[tokio::test]
    async fn who_waits_too_long_for_a_lock_is_told_that_it_is_busy() {
        const LOCK: Sql = Sql { sqlite: "", postgres: "LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE" };
        const IMPATIENT: Sql = Sql { sqlite: "", postgres: "SET lock_timeout = '50ms'" };
        let test = "who_waits_too_long_for_a_lock_is_told_that_it_is_busy";
        let Some(postgres) = Postgres::start(test) else { return };
        let database = PostgresDatabase::open(&postgres.url()).await.unwrap();
        let mut locks = database.write(Durability::PowerLoss).await.unwrap();
        locks.query(LOCK).execute().await.unwrap();
        let mut reads = database.lookup().await.unwrap();
        reads.query(IMPATIENT).execute().await.unwrap();
        let told = reads.query(ASK).one::<(i64,)>().await;
        assert!(matches!(told, Err(StoreError::Busy)), "{told:?}");
    }

    #[tokio::test]
    async fn a_database_that_is_stopped_is_away_and_one_with_much_to_do_is_not() {
        let test = "a_database_that_is_stopped_is_away_and_one_with_much_to_do_is_not";
        let Some(mut postgres) = Postgres::start(test) else { return };
        let database = PostgresDatabase::impatient(&postgres.url(), Duration::from_millis(300)).await;
        let used = the_only_one(&database).await;
        // Nor is it to be made while it is asked why the other one is waited for in vain.
        drop(database.asked().await.unwrap());
        let busy = refusals(&database).await;
        assert!(busy.iter().all(|told| matches!(told, Some(StoreError::Busy))), "{busy:?}");
        drop(used);
        postgres.crash();
        // The first ones find the connections that are lost, the others none at all.
        for _ in 0..2 {
            let away = refusals(&database).await;
            assert!(away.iter().all(|told| matches!(told, Some(StoreError::Away(_)))), "{away:?}");
        }
    }
}
