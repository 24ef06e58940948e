//! The time that all servers of a database share.

use super::postgres;
use crate::error::StoreError;
use jiff::{SignedDuration, Timestamp};
use sqlx::PgPool;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often the database is asked. Between two times the host's monotonic clock counts, which nobody sets.
const ASKED_EVERY: Duration = Duration::from_secs(10);
/// An answer that took longer says too little.
const SLOWEST_ANSWER: Duration = Duration::from_secs(1);

const ASK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// The clock of a PostgreSQL database: servers whose own clocks differ, or are set, agree on it.
///
/// While the database can't be asked, time goes on from its latest answer.
#[derive(Debug)]
pub struct DatabaseClock {
    /// What the database's clock showed at a moment of ours.
    latest: Mutex<(Timestamp, Instant)>,
    begun: Instant,
}

impl DatabaseClock {
    /// Asks for the time, and goes on asking for as long as somebody has this clock.
    pub async fn start(url: &str) -> Result<Arc<Self>, StoreError> {
        let pool = postgres::connect_when_there(url, 1).await?;
        let latest = ask(&pool).await?.ok_or(StoreError::DatabaseTime)?;
        let clock = Arc::new(Self { latest: Mutex::new(latest), begun: Instant::now() });
        tokio::spawn(follow(pool, Arc::downgrade(&clock)));
        Ok(clock)
    }

    fn at(&self, moment: Instant) -> Timestamp {
        let (time, asked) = *self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let since = SignedDuration::try_from(moment.saturating_duration_since(asked));
        time.saturating_add(since.unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
    }
}

impl jobs::Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    fn with_monotonic(&self) -> (Timestamp, Duration) {
        let moment = Instant::now();
        (self.at(moment), moment.saturating_duration_since(self.begun))
    }
}

async fn follow(pool: PgPool, clock: Weak<DatabaseClock>) {
    loop {
        tokio::time::sleep(ASKED_EVERY).await;
        let asked = ask(&pool).await;
        let Some(clock) = clock.upgrade() else { return pool.close().await };
        match asked {
            Ok(Some(latest)) => *clock.latest.lock().unwrap_or_else(PoisonError::into_inner) = latest,
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "the database does not tell the time; going on from its latest answer");
            }
        }
    }
}

/// What its clock shows, taken to be so half-way through the question; `None` if that took too long.
async fn ask(pool: &PgPool) -> Result<Option<(Timestamp, Instant)>, StoreError> {
    let mut connection = pool.acquire().await?;
    let asked = Instant::now();
    let micros: i64 = sqlx::query_scalar(ASK).fetch_one(&mut *connection).await?;
    let took = asked.elapsed();
    let time = Timestamp::from_microsecond(micros).map_err(|_| StoreError::DatabaseTime)?;
    Ok((took <= SLOWEST_ANSWER).then_some((time, asked + took / 2)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::Clock;
    use testkit::Postgres;

    #[tokio::test]
    async fn it_is_the_databases_and_goes_on_without_it() {
        let Some(mut postgres) = Postgres::start("it_is_the_databases_and_goes_on_without_it") else {
            return;
        };
        let clock = DatabaseClock::start(&postgres.url()).await.unwrap();
        // Both run on one host here, so it can be compared with the host's.
        let apart = clock.now().duration_since(Timestamp::now()).abs();
        assert!(apart < SignedDuration::from_secs(1), "{apart}");
        postgres.crash();
        let (before, begun) = clock.with_monotonic();
        std::thread::sleep(Duration::from_millis(20));
        let (after, ended) = clock.with_monotonic();
        assert_eq!(
            after.duration_since(before),
            SignedDuration::try_from(ended.checked_sub(begun).unwrap()).unwrap()
        );
    }
}
