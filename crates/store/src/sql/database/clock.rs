//! The time that all servers of a database share.

use super::postgres;
use crate::error::StoreError;
use crate::sql::values::span;
use jiff::{SignedDuration, Timestamp};
use jobs::LeasePolicy;
use sqlx::PgPool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often the database is asked. Between two times the host's monotonic clock counts, which nobody sets.
const ASKED_EVERY: Duration = Duration::from_secs(10);
/// Whoever doubts an answer waits so long at least for the next one.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
/// How often it is asked before a server gives up to start, each time because the answer took too long.
const FIRST_TRIES: u32 = 10;
/// Of what time that clock may differ from ours though nobody sets it: a thousandth.
const DRIFT: u32 = 1_000;

/// What it shows, and how often somebody saw that it was set back. It was now, where it shows less than it did when somebody
/// asked last, or than whoever asks can explain ($1). That is told before anybody goes by the answer.
const ASK: &str = "INSERT INTO clock_watch AS watch (id, latest, steps) \
                   SELECT 1, shown, (shown < $1 - $2)::int \
                       FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS shown) AS asked \
                   ON CONFLICT (id) DO UPDATE SET latest = EXCLUDED.latest, \
                       steps = watch.steps + (EXCLUDED.latest < GREATEST(watch.latest, $1) - $2)::int \
                   RETURNING latest, steps";
/// The same where no server has made the table yet. Servers of the version before may have given leases there; nobody is judged
/// before this one was up for a whole lease.
const ASK_FIRST: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, 0::bigint";
/// There is no such table.
const NO_TABLE: &str = "42P01";

/// The clock of a PostgreSQL database: servers whose own clocks differ, or are set, agree on it.
///
/// While the database can't be asked, time goes on from its latest answer; what is written by that is held against the
/// database's clock then (`shared_time`).
#[derive(Debug)]
pub struct DatabaseClock {
    latest: Mutex<Answer>,
    tolerance: Duration,
    begun: Instant,
    doubted: Arc<Notify>,
}

/// What the database's clock showed at a moment of ours, and how often it was seen to be set back by then.
#[derive(Debug, Clone, Copy)]
struct Answer {
    time: Timestamp,
    asked: Instant,
    era: i64,
}

impl DatabaseClock {
    /// Asks for the time, and goes on asking for as long as somebody has this clock; leases of `policy` are counted by it.
    pub async fn start(url: &str, policy: &LeasePolicy) -> Result<Arc<Self>, StoreError> {
        let tolerance = policy.tolerance();
        let pool = postgres::connect_when_there(url, 1).await?;
        let latest = first_answer(&pool, tolerance).await?;
        let doubted = Arc::<Notify>::default();
        let clock = Self {
            latest: Mutex::new(latest),
            tolerance,
            begun: Instant::now(),
            doubted: Arc::clone(&doubted),
        };
        let clock = Arc::new(clock);
        tokio::spawn(follow(pool, Arc::downgrade(&clock), doubted));
        Ok(clock)
    }

    fn latest(&self) -> MutexGuard<'_, Answer> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, moment: Instant) -> Timestamp {
        self.latest().at(moment)
    }

    /// The least that the database's clock shows now unless it was set back, in microseconds.
    fn least(&self) -> i64 {
        let (latest, now) = (*self.latest(), Instant::now());
        let drifted = now.saturating_duration_since(latest.asked) / DRIFT;
        latest.at(now).as_microsecond().saturating_sub(span(drifted))
    }
}

impl Answer {
    fn at(&self, moment: Instant) -> Timestamp {
        let since = SignedDuration::try_from(moment.saturating_duration_since(self.asked));
        self.time.saturating_add(since.unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
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

    fn era(&self) -> Option<i64> {
        Some(self.latest().era)
    }

    fn tolerance(&self) -> Duration {
        self.tolerance
    }

    fn doubt(&self) {
        self.doubted.notify_one();
    }
}

async fn follow(pool: PgPool, clock: Weak<DatabaseClock>, doubted: Arc<Notify>) {
    loop {
        tokio::time::sleep(LEAST_PAUSE).await;
        let _ = tokio::time::timeout(ASKED_EVERY, doubted.notified()).await;
        let question = clock.upgrade().map(|clock| (clock.least(), clock.tolerance));
        let Some((least, tolerance)) = question else { return pool.close().await };
        let asked = ask(&pool, least, tolerance).await;
        let Some(clock) = clock.upgrade() else { return pool.close().await };
        match asked {
            Ok(Some(latest)) => *clock.latest() = latest,
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "the database does not tell the time; going on from its latest answer");
            }
        }
    }
}

/// One that did not take too long, if there is any.
async fn first_answer(pool: &PgPool, tolerance: Duration) -> Result<Answer, StoreError> {
    for _ in 0..FIRST_TRIES {
        if let Some(answer) = ask(pool, 0, tolerance).await? {
            return Ok(answer);
        }
    }
    Err(StoreError::DatabaseTime)
}

/// What its clock shows, taken to be so half-way through the question; `None` if that took so long that it says too little.
async fn ask(pool: &PgPool, least: i64, tolerance: Duration) -> Result<Option<Answer>, StoreError> {
    let mut connection = pool.acquire().await?;
    let asked = Instant::now();
    let answer = sqlx::query_as(ASK).bind(least).bind(span(tolerance)).fetch_one(&mut *connection).await;
    let (shown, era): (i64, i64) = match answer {
        Err(error) if is_no_table(&error) => sqlx::query_as(ASK_FIRST).fetch_one(&mut *connection).await?,
        answer => answer?,
    };
    let took = asked.elapsed();
    let time = Timestamp::from_microsecond(shown).map_err(|_| StoreError::DatabaseTime)?;
    Ok((took <= tolerance).then_some(Answer { time, asked: asked + took / 2, era }))
}

fn is_no_table(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == NO_TABLE)
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
        let clock = DatabaseClock::start(&postgres.url(), &LeasePolicy::default()).await.unwrap();
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
