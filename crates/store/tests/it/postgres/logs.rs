//! Logs of tries that several servers take and read.

use super::objects::ended;
use super::{open_in, open_on, open_with_objects};
use crate::contract::world::{Setup, asking, lease, new_job};
use crate::objects::bucket;
use jiff::SignedDuration;
use jobs::{Clock, JobId, Lease};
use sqlx::{Connection, PgConnection};
use std::path::Path;
use std::sync::Arc;
use store::{Finish, NewLogEntry, ObjectsChoice, Results, SqlStore, Store, StoreError};
use testkit::{MockClock, Postgres, S3Server};

async fn running(store: &SqlStore) -> (JobId, Lease) {
    let id = store.submit(new_job("batches")).await.unwrap();
    let claimed = store.claim(&asking(&["batches"], "exec-1")).await.unwrap().pop().unwrap();
    assert_eq!(claimed.job.id, id);
    (id, lease(&claimed))
}

fn entry(clock: &MockClock, key: &str, out: &str) -> NewLogEntry {
    let (start_time, key, out) = (clock.now(), key.to_owned(), out.to_owned());
    NewLogEntry { key, command: None, start_time, exit_code: None, duration_ms: None, out }
}

async fn text(store: &SqlStore, id: JobId, entry: i64) -> String {
    String::from_utf8(store.read_log(id, 1, entry, 0, usize::MAX).await.unwrap()).unwrap()
}

async fn count(postgres: &Postgres, sql: &'static str) -> i64 {
    let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_take_one_log_by_turns() {
    let Some(postgres) = Postgres::start("servers_take_one_log_by_turns") else { return };
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir_a, a) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (_dir_b, b) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (id, held) = running(&a).await;
    let first = entry(&clock, "first", "ä");
    assert_eq!(a.add_log_entry(id, &held, first.clone()).await.unwrap(), 1);
    assert_eq!(b.add_log_entry(id, &held, first).await.unwrap(), 1, "the same again");
    assert_eq!(b.append_log(id, &held, 1, 2, "b", None, None).await.unwrap(), 3);
    assert_eq!(a.append_log(id, &held, 1, 2, "bc", None, None).await.unwrap(), 4);
    let gap = b.append_log(id, &held, 1, 5, "x", None, None).await;
    assert!(matches!(gap, Err(StoreError::LogGap { length: 4, offset: 5 })), "{gap:?}");
    assert_eq!(b.add_log_entry(id, &held, entry(&clock, "second", "")).await.unwrap(), 2);
    a.put_log_entry(id, &held, 2, entry(&clock, "second", "one")).await.unwrap();
    b.put_log_entry(id, &held, 2, entry(&clock, "second", "one two")).await.unwrap();
    a.put_log_entry(id, &held, 2, entry(&clock, "second", "other")).await.unwrap();
    for store in [&a, &b] {
        assert_eq!((text(store, id, 1).await, text(store, id, 2).await), ("äbc".into(), "other".into()));
        assert_eq!(store.read_log(id, 1, 1, 2, 1).await.unwrap(), b"bc", "four bytes are the least");
    }
    b.finish(id, &held, Finish::Complete).await.unwrap();
    let late = a.append_log(id, &held, 1, 4, "late", None, None).await;
    assert!(matches!(late, Err(StoreError::Rejected(_))), "{late:?}");
}

/// Each byte once and in its place, whichever server is first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_at_two_servers_at_once_is_there_once() {
    let Some(postgres) = Postgres::start("what_comes_at_two_servers_at_once_is_there_once") else { return };
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir_a, a) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (_dir_b, b) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (id, held) = running(&a).await;
    a.add_log_entry(id, &held, entry(&clock, "key", "")).await.unwrap();
    let mut expected = String::new();
    for n in 0..200 {
        let line = format!("line {n}\n");
        let offset = expected.len() as u64;
        let (one, other) = tokio::join!(
            a.append_log(id, &held, 1, offset, &line, None, None),
            b.append_log(id, &held, 1, offset, &line, None, None)
        );
        expected.push_str(&line);
        assert_eq!((one.unwrap(), other.unwrap()), (expected.len() as u64, expected.len() as u64));
    }
    assert_eq!(text(&a, id, 1).await, expected);
    let rows = count(&postgres, "SELECT COUNT(*) FROM log_texts").await;
    assert!(rows <= 2, "short lines are not rows of their own: {rows}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_try_that_two_servers_seal_at_once_has_one_object() {
    let test = "a_try_that_two_servers_seal_at_once_has_one_object";
    let (Some(postgres), Some(s3)) = (Postgres::start(test), S3Server::start(test)) else { return };
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let choice = bucket(&s3, &s3.credentials());
    let open = || open_with_objects(postgres.url(), &clock, Setup::default(), choice.clone());
    let (_dir_a, a) = open().await.unwrap();
    let (_dir_b, b) = open().await.unwrap();
    let mut jobs = Vec::new();
    for n in 0..20 {
        jobs.push(ended(&a, &clock, &format!("text {n}")).await);
    }
    let (by_a, by_b) = tokio::join!(a.seal_logs(true), b.seal_logs(true));
    assert_eq!(by_a.unwrap() + by_b.unwrap(), 20);
    assert_eq!(count(&postgres, "SELECT COUNT(*) FROM log_texts").await, 0);
    a.sweep_objects().await.unwrap();
    assert_eq!(s3.keys().len(), 20, "what the second one made is gone");
    assert_eq!(count(&postgres, "SELECT COUNT(*) FROM loose_objects").await, 0);
    for (n, id) in jobs.into_iter().enumerate() {
        assert_eq!(text(&b, id, 1).await, format!("text {n}"));
    }
}

/// What a server of an earlier version, or one that had a database of its own, left in its data directory.
fn write_file(dir: &Path, id: JobId, entry: i64, text: &str) {
    let of_try = dir.join("logs").join(id.to_string()).join("1");
    std::fs::create_dir_all(&of_try).unwrap();
    std::fs::write(of_try.join(format!("{entry}.log")), text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_from_before_are_read_and_sealed() {
    let Some(postgres) = Postgres::start("files_from_before_are_read_and_sealed") else { return };
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir_a, a) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let over = ended(&a, &clock, "").await;
    let (runs, held) = running(&a).await;
    a.add_log_entry(runs, &held, entry(&clock, "key", "")).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let long = "0123456789".repeat(300_000);
    write_file(dir.path(), over, 1, &long);
    write_file(dir.path(), runs, 1, "so far");
    write_file(dir.path(), runs, 7, "of an entry that nobody was told of");
    write_file(dir.path(), JobId(999), 1, "of another database");
    let b = open_in(dir.path(), postgres.url(), &clock, Setup::default(), ObjectsChoice::Directory);
    let b = b.await.unwrap();
    assert_eq!(text(&a, runs, 1).await, "so far");
    assert_eq!(a.append_log(runs, &held, 1, 6, ", so good", None, None).await.unwrap(), 15);
    assert!(text(&a, over, 1).await == long);
    let left: Vec<_> = std::fs::read_dir(dir.path().join("logs")).unwrap().collect();
    assert_eq!(left.len(), 1, "that of another database: {left:?}");
    assert_eq!(b.seal_logs(true).await.unwrap(), 1);
    assert!(text(&b, over, 1).await == long);
    assert_eq!(text(&b, runs, 1).await, "so far, so good");
}

/// Of two servers of an earlier version each had a part of what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_to_light_after_a_try_was_sealed_is_added() {
    let test = "what_comes_to_light_after_a_try_was_sealed_is_added";
    let (Some(postgres), Some(s3)) = (Postgres::start(test), S3Server::start(test)) else { return };
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let choice = bucket(&s3, &s3.credentials());
    let open = || open_with_objects(postgres.url(), &clock, Setup::default(), choice.clone());
    let (_dir_a, a) = open().await.unwrap();
    let (id, held) = running(&a).await;
    for (key, out) in [("one", "first and long"), ("two", "sec"), ("three", "")] {
        a.add_log_entry(id, &held, entry(&clock, key, out)).await.unwrap();
    }
    a.finish(id, &held, Finish::Complete).await.unwrap();
    assert_eq!(a.seal_logs(true).await.unwrap(), 1);
    let dir = tempfile::tempdir().unwrap();
    for (entry, text) in [(1, "first"), (2, "second"), (3, "third")] {
        write_file(dir.path(), id, entry, text);
    }
    let b = open_in(dir.path(), postgres.url(), &clock, Setup::default(), choice.clone()).await.unwrap();
    assert_eq!(b.seal_logs(true).await.unwrap(), 1);
    assert_eq!(b.seal_logs(true).await.unwrap(), 0);
    for store in [&a, &b] {
        let texts = [text(store, id, 1).await, text(store, id, 2).await, text(store, id, 3).await];
        assert_eq!(texts, ["first and long", "second", "third"]);
    }
    b.sweep_objects().await.unwrap();
    assert_eq!(s3.keys().len(), 1);
    // Files with nothing that is new.
    write_file(dir.path(), id, 1, "first");
    b.close().await.unwrap();
    drop(b);
    let b = open_in(dir.path(), postgres.url(), &clock, Setup::default(), choice.clone()).await.unwrap();
    assert_eq!(b.seal_logs(true).await.unwrap(), 0);
    assert_eq!(text(&b, id, 1).await, "first and long");
}

/// A pass asks for one object, and notes no others as being made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_store_that_is_away_is_asked_once_a_pass() {
    const NOTED: &str = "SELECT COUNT(*) FROM loose_objects";
    let test = "an_object_store_that_is_away_is_asked_once_a_pass";
    let (Some(postgres), Some(mut s3)) = (Postgres::start(test), S3Server::start(test)) else { return };
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let choice = bucket(&s3, &s3.credentials());
    let (_dir, store) = open_with_objects(postgres.url(), &clock, Setup::default(), choice).await.unwrap();
    for n in 0..10 {
        ended(&store, &clock, &format!("text {n}")).await;
    }
    s3.crash();
    assert!(store.seal_logs(false).await.is_err());
    assert_eq!(count(&postgres, NOTED).await, 1);
    let more = ended(&store, &clock, "more").await;
    assert_eq!(store.seal_logs(false).await.unwrap(), 0, "nothing is asked of it");
    assert_eq!(count(&postgres, NOTED).await, 1);
    assert!(store.seal_logs(true).await.is_err());
    assert_eq!(count(&postgres, NOTED).await, 2);
    s3.restart();
    assert_eq!(store.seal_logs(true).await.unwrap(), 11);
    assert_eq!(text(&store, more, 1).await, "more");
    let last = ended(&store, &clock, "last").await;
    assert_eq!(store.seal_logs(false).await.unwrap(), 1, "it is believed again");
    assert_eq!(text(&store, last, 1).await, "last");
    clock.advance(SignedDuration::from_hours(48));
    assert_eq!(store.sweep_objects().await.unwrap(), 2);
    assert_eq!(count(&postgres, NOTED).await, 0);
}

#[tokio::test]
async fn texts_go_with_their_job() {
    let test = "texts_go_with_their_job";
    let (Some(postgres), Some(mut s3)) = (Postgres::start(test), S3Server::start(test)) else { return };
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let choice = bucket(&s3, &s3.credentials());
    let setup = Setup { max_log_bytes: 64 << 20, ..Setup::default() };
    let (_dir, store) = open_with_objects(postgres.url(), &clock, setup, choice).await.unwrap();
    // More pieces than go at once.
    ended(&store, &clock, &"0123456789".repeat(2 << 20)).await;
    s3.crash();
    assert!(store.seal_logs(false).await.is_err());
    clock.advance(SignedDuration::from_secs(1));
    assert_eq!(store.forget_jobs(clock.now()).await.unwrap(), 1);
    assert_eq!(count(&postgres, "SELECT COUNT(*) FROM log_texts").await, 0);
    assert_eq!(count(&postgres, "SELECT COUNT(*) FROM jobs").await, 0);
}
