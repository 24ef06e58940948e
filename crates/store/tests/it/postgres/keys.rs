//! Keys of which several servers give places.

use super::{is_there, open_on};
use crate::contract::world::{ALL_QUEUES, Setup, asking, lease, new_job};
use jiff::SignedDuration;
use jobs::{Clock, Concurrency};
use sqlx::{Connection, PgConnection};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Finish, NewJob, Store};
use testkit::{MockClock, Postgres};

const LIMIT: Duration = Duration::from_secs(20);

fn keyed(key: &str) -> NewJob {
    let mut job = new_job("batches");
    job.spec.concurrency = Some(Concurrency { key: key.to_owned(), limit: 1 });
    job
}

/// Returns when so many wait for an advisory lock.
async fn waiting(observer: &mut PgConnection, locks: i64) {
    let begun = Instant::now();
    let ask = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    while sqlx::query_scalar::<_, i64>(ask).fetch_one(&mut *observer).await.unwrap() < locks {
        assert!(begun.elapsed() < LIMIT, "nobody waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Jobs of two keys are due at one moment, and two servers have some of both in hand, in another order.
#[tokio::test]
async fn nobody_waits_for_keys_in_a_circle() {
    if !is_there("nobody_waits_for_keys_in_a_circle") {
        return;
    }
    let postgres = Postgres::start("nobody_waits_for_keys_in_a_circle").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_first_dir, first) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (_second_dir, second) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let servers = [Arc::new(first), Arc::new(second)];
    let due = clock.now() + SignedDuration::from_secs(1);
    // As many as one transaction takes, twice.
    let keys = (0..200).map(|n| ["a", "b"][n % 2]).chain((0..200).map(|n| ["b", "a"][n % 2]));
    let mut jobs: Vec<NewJob> = keys.map(keyed).collect();
    for job in &mut jobs {
        job.spec.not_before = Some(due);
    }
    servers[0].submit_all(jobs).await.unwrap();
    clock.advance(SignedDuration::from_secs(1));

    let mut holder = PgConnection::connect(&postgres.url()).await.unwrap();
    let hold = "SELECT pg_advisory_lock(hashtextextended(chr(31) || key, 0)) FROM (VALUES ('a'), ('b')) AS keys (key)";
    sqlx::query(hold).execute(&mut holder).await.unwrap();
    let mut releases = Vec::new();
    for (number, server) in servers.iter().enumerate() {
        let server = Arc::clone(server);
        releases.push(tokio::spawn(async move { server.release_due().await }));
        waiting(&mut holder, number as i64 + 1).await;
    }
    sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut holder).await.unwrap();
    let mut released = 0;
    for release in releases {
        released += release.await.unwrap().unwrap();
    }
    assert_eq!(released, 400);
}

/// Who is next for a place is being changed by somebody who comes to nothing.
#[tokio::test]
async fn a_place_that_nobody_took_is_handed_on() {
    if !is_there("a_place_that_nobody_took_is_handed_on") {
        return;
    }
    let postgres = Postgres::start("a_place_that_nobody_took_is_handed_on").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir, store) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let ids = store.submit_all(vec![keyed("a"), keyed("a"), keyed("b")]).await.unwrap();
    let asking = asking(&ALL_QUEUES, "exec-1");
    let claimed = store.claim(&asking).await.unwrap().pop().unwrap();
    let mut other = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::query("BEGIN").execute(&mut other).await.unwrap();
    sqlx::query("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE")
        .bind(ids[1].0)
        .execute(&mut other)
        .await
        .unwrap();
    store.finish(ids[0], &lease(&claimed), Finish::Complete).await.unwrap();
    assert_eq!(store.hand_on_places().await.unwrap(), 0, "it is still in hand");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(store.claim(&asking).await.unwrap().pop().unwrap().job.id, ids[2]);
    assert!(store.claim(&asking).await.unwrap().is_empty());
    assert_eq!(store.hand_on_places().await.unwrap(), 1);
    assert_eq!(store.claim(&asking).await.unwrap().pop().unwrap().job.id, ids[1]);
}
