//! Lanes that several servers make.

use super::{is_there, open_on};
use crate::contract::world::{Setup, new_job};
use sqlx::{Connection, PgConnection};
use std::sync::Arc;
use std::time::Duration;
use store::{Countable, NewJob, Store, StoreError};
use testkit::{MockClock, Postgres};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);
const FILL: &str = "INSERT INTO lanes (queue, owner, needs) \
                    SELECT 'batches', 'org:acme', '{\"labels\":[\"l' || i || '\"]}' FROM generate_series($1::bigint, $2) AS i";

fn labelled(label: &str) -> NewJob {
    let mut job = NewJob { owner: "org:acme".to_owned(), ..new_job("batches") };
    job.spec.needs.labels.insert(label.to_owned());
    job
}

/// What another server is about to make counts, and nobody whose job needs nothing in particular waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_has_no_more_lanes_by_asking_several_servers() {
    if !is_there("a_namespace_has_no_more_lanes_by_asking_several_servers") {
        return;
    }
    let postgres = Postgres::start("a_namespace_has_no_more_lanes_by_asking_several_servers").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir, store) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (_other_dir, other) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (store, other) = (Arc::new(store), Arc::new(other));
    let mut behind = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::query(FILL).bind(1_i64).bind(49_990_i64).execute(&mut behind).await.unwrap();

    let mut server = behind.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(1700, 4)").execute(&mut *server).await.unwrap();
    sqlx::query(FILL).bind(50_001_i64).bind(50_009_i64).execute(&mut *server).await.unwrap();
    let two = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.submit_all(vec![labelled("a"), labelled("b")]).await }
    });
    let waiting = "SELECT COUNT(*) FROM pg_locks WHERE classid = 1700 AND objid = 4 AND NOT granted";
    let waits = async {
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *server).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, waits).await.expect("it waits for the other server");
    let plain = NewJob { owner: "org:acme".to_owned(), ..new_job("batches") };
    timeout(LIMIT, other.submit(plain)).await.expect("nobody waits for that").unwrap();
    server.commit().await.unwrap();
    let refused = two.await.unwrap().unwrap_err();
    assert!(
        matches!(refused, StoreError::TooManyOf { of: Countable::Lanes, limit: 50_000, .. }),
        "{refused:?}"
    );
    // The lane of those that need nothing is one of them.
    let refused = other.submit(labelled("a")).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooManyOf { .. }), "{refused:?}");
}

/// In whichever order their jobs come, they make the lanes that there is room for, and never wait in a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_race_make_as_many_lanes_as_there_may_be() {
    const ROUNDS: usize = 10;
    if !is_there("servers_that_race_make_as_many_lanes_as_there_may_be") {
        return;
    }
    let postgres = Postgres::start("servers_that_race_make_as_many_lanes_as_there_may_be").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir, store) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (_other_dir, other) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let mut behind = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::query(FILL).bind(1_i64).bind(49_900_i64).execute(&mut behind).await.unwrap();
    let race = async |server: &store::SqlStore, name: &str| {
        let mut made = 0;
        for round in 0..ROUNDS {
            // The first five of a round are the same for both.
            let own = (0..5).map(|n| labelled(&format!("{name}-{round}-{n}")));
            let both = (0..5).map(|n| labelled(&format!("both-{round}-{n}")));
            let plain = NewJob { owner: format!("user:{round}"), ..new_job("batches") };
            match server.submit_all(own.chain(both).chain([plain]).collect()).await {
                Ok(_) => made += 1,
                Err(StoreError::TooManyOf { of: Countable::Lanes, .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        made
    };
    let (first, second) = tokio::join!(race(&store, "first"), race(&other, "second"));
    assert!(first + second >= ROUNDS, "{first} {second}");
    let count = "SELECT COUNT(*) FROM lanes WHERE owner = 'org:acme'";
    let lanes: i64 = sqlx::query_scalar(count).fetch_one(&mut behind).await.unwrap();
    assert!((49_986..=50_000).contains(&lanes), "{lanes}");
}

/// Whoever makes a few while there are few does not count whose they are; but nobody counts before they are there, and they
/// are not made once others, who counted, made many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_that_are_made_unasked_are_waited_for_and_wait_for_those_who_count() {
    let test = "lanes_that_are_made_unasked_are_waited_for_and_wait_for_those_who_count";
    if !is_there(test) {
        return;
    }
    let postgres = Postgres::start(test).unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir, store) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let store = Arc::new(store);
    let mut behind = PgConnection::connect(&postgres.url()).await.unwrap();
    let many = || (0..101).map(|n| labelled(&format!("many-{n}"))).collect::<Vec<_>>();
    for (lock, jobs) in [
        ("SELECT pg_advisory_xact_lock(1700, 4)", vec![labelled("few")]),
        ("SELECT pg_advisory_xact_lock_shared(1700, 4)", many()),
    ] {
        sqlx::query(FILL).bind(1_i64).bind(100_i64).execute(&mut behind).await.unwrap();
        let mut server = behind.begin().await.unwrap();
        sqlx::query(lock).execute(&mut *server).await.unwrap();
        let submitting = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.submit_all(jobs).await }
        });
        let waiting = "SELECT COUNT(*) FROM pg_locks WHERE classid = 1700 AND objid = 4 AND NOT granted";
        let waits = async {
            while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *server).await.unwrap() == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, waits).await.expect("it waits for the other server");
        sqlx::query(FILL).bind(101_i64).bind(50_000_i64).execute(&mut *server).await.unwrap();
        server.commit().await.unwrap();
        let refused = submitting.await.unwrap().unwrap_err();
        assert!(
            matches!(refused, StoreError::TooManyOf { of: Countable::Lanes, limit: 50_000, .. }),
            "{refused:?}"
        );
        let clear = "DELETE FROM lanes WHERE owner = 'org:acme'";
        sqlx::query(clear).execute(&mut behind).await.unwrap();
    }
}
