//! A database's clock that is set, and several servers that share it.

use super::{is_there, open_clocked};
use crate::contract::world::{asking, lease, new_job};
use jiff::{SignedDuration, Timestamp};
use jobs::{Clock, JobId, Judgement, LeasePolicy, Namespace, State, WatchedClock};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{
    ActFilter, AuditLog, DatabaseChoice, DatabaseClock, Finish, NewAct, Place, SqlStore, Store, StoreError,
    note_act_beside,
};
use tempfile::TempDir;
use testkit::Postgres;

const LIMIT: Duration = Duration::from_secs(30);
const LEASE: Duration = Duration::from_secs(90);

/// A database whose clock can be set: who asks for the time there finds this function before the database's own.
struct Settable {
    url: String,
    operator: PgConnection,
    _postgres: Postgres,
}

impl Settable {
    async fn start(test: &str) -> Option<Self> {
        if !is_there(test) {
            return None;
        }
        let postgres = Postgres::start(test)?;
        let url = postgres.url_of_schema("settable%2Cpg_catalog");
        let mut operator = PgConnection::connect(&postgres.url()).await.unwrap();
        let make = "CREATE SCHEMA settable; CREATE TABLE settable.shift (seconds BIGINT); \
                    INSERT INTO settable.shift VALUES (0); \
                    CREATE FUNCTION settable.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS \
                    'SELECT pg_catalog.clock_timestamp() + make_interval(secs => (SELECT seconds FROM settable.shift))';";
        sqlx::raw_sql(make).execute(&mut operator).await.unwrap();
        Some(Self { url, operator, _postgres: postgres })
    }

    async fn set(&mut self, seconds: i64) {
        let set = AssertSqlSafe(format!("UPDATE settable.shift SET seconds = {seconds}"));
        sqlx::raw_sql(set).execute(&mut self.operator).await.unwrap();
    }

    async fn was_noted(&mut self) -> bool {
        let noted = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM settable.clock_watch)");
        noted.fetch_one(&mut self.operator).await.unwrap()
    }

    async fn server(&self) -> Server {
        let leases = LeasePolicy::of(LEASE);
        let clock = DatabaseClock::start(&self.url, &leases).await.unwrap();
        let clock = Arc::new(WatchedClock::new(clock, &leases));
        let (dir, store) = open_clocked(&self.url, clock.clone()).await;
        Server { store, clock, dir }
    }
}

struct Server {
    store: SqlStore,
    clock: Arc<WatchedClock>,
    dir: TempDir,
}

impl Server {
    /// Judges as one does that has heard everything since always.
    async fn judge(&self) -> Result<usize, StoreError> {
        let era = self.clock.era();
        let at = Judgement { now: self.clock.now(), attentive_since: Timestamp::UNIX_EPOCH, era };
        Ok(self.store.reset_stalled(at).await?.len())
    }

    /// Waits until its clock, which somebody has doubted, shows this. Doubted more often it would ask once more later.
    async fn shows(&self, shown: impl Fn(&WatchedClock) -> bool) {
        let begun = Instant::now();
        while !shown(&self.clock) {
            assert!(begun.elapsed() < LIMIT, "the clock does not follow");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The same for a time that is `seconds` from the host's.
    async fn shows_apart(&self, seconds: i64) {
        self.shows(|clock| (apart(clock) - seconds).abs() <= 1).await;
    }

    async fn claim(&self) -> store::Claimed {
        self.store.submit(new_job("batches")).await.unwrap();
        self.store.claim(&asking(&["batches"], "exec-1")).await.unwrap().remove(0)
    }

    async fn beat(&self, job: JobId) -> Result<usize, StoreError> {
        Ok(self.store.heartbeat("exec-1", &[job], LEASE).await?.known.len())
    }
}

fn apart(clock: &WatchedClock) -> i64 {
    clock.now().duration_since(Timestamp::now()).as_secs()
}

/// One server reads the clock while it is back, and what it renews then seems to be long over to another one, whose clock
/// never showed anything else than it should.
#[tokio::test]
async fn a_clock_that_one_server_saw_set_is_so_for_all() {
    let Some(mut database) = Settable::start("a_clock_that_one_server_saw_set_is_so_for_all").await else {
        return;
    };
    let (saw, saw_not) = (database.server().await, database.server().await);
    let job = saw.claim().await;
    assert_eq!(saw_not.judge().await.unwrap(), 0);
    let _ = saw_not.clock.look();
    database.set(-200).await;
    saw.clock.doubt();
    saw.shows_apart(-200).await;
    assert_eq!(saw.beat(job.job.id).await.unwrap(), 1, "it goes by the clock as it is");
    database.set(0).await;
    assert_eq!(apart(&saw_not.clock), 0, "it saw nothing");
    let judged = saw_not.judge().await;
    assert!(matches!(judged, Err(StoreError::ClockSet)), "{judged:?}");
    saw_not.shows(|clock| clock.era() == Some(1)).await;
    assert_eq!(apart(&saw_not.clock), 0);
    assert!(saw_not.clock.look().1, "nobody is judged for a whole lease");
    let job = saw_not.store.job(job.job.id).await.unwrap();
    assert_eq!((job.record.state, job.record.epoch), (State::Processing, 1));
}

/// A server that starts while the clock is back knows no other time: what others noted tells.
#[tokio::test]
async fn a_server_that_starts_while_the_clock_is_back_says_so() {
    let Some(mut database) = Settable::start("a_server_that_starts_while_the_clock_is_back_says_so").await
    else {
        return;
    };
    let saw_not = database.server().await;
    let begun = Instant::now();
    saw_not.clock.doubt();
    while !database.was_noted().await {
        assert!(begun.elapsed() < LIMIT, "nobody notes what the clock shows");
    }
    database.set(-200).await;
    let starts = database.server().await;
    let job = starts.claim().await;
    database.set(0).await;
    let judged = saw_not.judge().await;
    assert!(matches!(judged, Err(StoreError::ClockSet)), "{judged:?}");
    let job = saw_not.store.job(job.job.id).await.unwrap();
    assert_eq!(job.record.state, State::Processing);
}

/// Nothing is begun, renewed or judged by a time that is not the database's any more.
#[tokio::test]
async fn a_server_that_does_not_know_that_the_clock_was_set_writes_nothing_by_it() {
    let test = "a_server_that_does_not_know_that_the_clock_was_set_writes_nothing_by_it";
    let Some(mut database) = Settable::start(test).await else { return };
    let server = database.server().await;
    let first = server.claim().await;
    for seconds in [300, 0] {
        database.set(seconds).await;
        let beat = server.beat(first.job.id).await;
        assert!(matches!(beat, Err(StoreError::ClockSet)), "{beat:?}");
        server.shows_apart(seconds).await;
        assert_eq!(server.beat(first.job.id).await.unwrap(), 1, "it is asked again, and goes on");
    }
    assert_eq!(server.clock.era(), Some(1), "set back once");
    server.store.submit(new_job("batches")).await.unwrap();
    database.set(300).await;
    let claimed = server.store.claim(&asking(&["batches"], "exec-2")).await;
    assert!(matches!(claimed, Err(StoreError::ClockSet)), "{claimed:?}");
    server.shows_apart(300).await;
    assert_eq!(server.store.claim(&asking(&["batches"], "exec-2")).await.unwrap().len(), 1);
    server.store.finish(first.job.id, &lease(&first), Finish::Complete).await.unwrap();
}

/// Whoever exports has a clock of their host, which may be wrong.
#[tokio::test]
async fn what_is_done_beside_a_server_is_noted_at_the_databases_time() {
    let Some(mut settable) =
        Settable::start("what_is_done_beside_a_server_is_noted_at_the_databases_time").await
    else {
        return;
    };
    settable.set(86_400).await;
    let server = settable.server().await;
    let database = DatabaseChoice::Postgres { url: settable.url.clone() };
    let place = Place { dir: server.dir.path().to_owned(), database };
    let act = NewAct {
        actor: "root".to_owned(),
        actor_of: Namespace::Global,
        action: "database.export".to_owned(),
        subject: "database".to_owned(),
        namespace: Namespace::Global,
        origin: String::new(),
        detail: String::new(),
        reference: None,
    };
    note_act_beside(&place, &act).await.unwrap();
    let noted = server.store.acts(ActFilter { limit: 1, ..ActFilter::default() }).await.unwrap().remove(0);
    let ahead = noted.at.duration_since(Timestamp::now());
    assert!(ahead > SignedDuration::from_hours(23), "{ahead:#}");
}
