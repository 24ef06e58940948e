//! Two servers on one database and one bucket.

use super::open_with_objects;
use crate::contract::world::{Setup, asking, lease, new_job};
use crate::objects::bucket;
use jiff::SignedDuration;
use jobs::Clock;
use std::sync::Arc;
use store::{Finish, NewLogEntry, ObjectsFault, Results, SqlStore, Store, StoreError};
use testkit::{MockClock, Postgres, S3Server};

/// A job that ended with this text in its log.
pub(super) async fn ended(store: &SqlStore, clock: &MockClock, text: &str) -> jobs::JobId {
    let id = store.submit(new_job("batches")).await.unwrap();
    let claimed = store.claim(&asking(&["batches"], "exec-1")).await.unwrap().pop().unwrap();
    let held = lease(&claimed);
    let entry = NewLogEntry {
        key: "step.docker.step.0.run".to_owned(),
        command: None,
        start_time: clock.now(),
        exit_code: Some(0),
        duration_ms: Some(1),
        out: text.to_owned(),
    };
    store.add_log_entry(id, &held, entry).await.unwrap();
    store.finish(id, &held, Finish::Complete).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_shows_the_log_of_a_job_that_ended() {
    let test = "another_server_shows_the_log_of_a_job_that_ended";
    let (Some(postgres), Some(mut s3)) = (Postgres::start(test), S3Server::start(test)) else { return };
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let setup = Setup { max_log_bytes: 64 << 20, ..Setup::default() };
    let choice = bucket(&s3, &s3.credentials());
    let open = || open_with_objects(postgres.url(), &clock, setup, choice.clone());
    let (_dir_a, a) = open().await.unwrap();
    let (_dir_b, b) = open().await.unwrap();
    a.check_objects().await.unwrap();
    assert_eq!(s3.keys(), Vec::<String>::new(), "the check leaves nothing");
    // So long that it takes several parts, and nothing that could be packed away.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:016x}", state ^ (state >> 29))
    });
    let text: String = noise.take(1_500_000).collect();
    let long = ended(&a, &clock, &text).await;
    let short = ended(&a, &clock, "ä€😀").await;
    assert_eq!(b.read_log(short, 1, 1, 0, 99).await.unwrap(), "ä€😀".as_bytes());
    assert_eq!(a.seal_logs(false).await.unwrap(), 2);
    let keys = s3.keys();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(keys.iter().all(|key| key.starts_with("ours/here/logs/0/")), "{keys:?}");
    for store in [&a, &b] {
        assert_eq!(store.log_entries(long, None).await.unwrap()[0].length, text.len() as u64);
        assert_eq!(store.read_log(short, 1, 1, 2, 99).await.unwrap(), "€😀".as_bytes());
        for offset in [0, 1 << 20, text.len() - 7] {
            let read = store.read_log(long, 1, 1, offset as u64, 300_000).await.unwrap();
            let end = text.len().min(offset + 300_000);
            assert!(read == text.as_bytes()[offset..end], "{offset}");
        }
    }
    // What is not there for the time being is told, and is there again later.
    let later = ended(&b, &clock, "later").await;
    s3.crash();
    let fault = a.read_log(long, 1, 1, 5 << 20, 9).await.unwrap_err();
    assert!(matches!(fault, StoreError::Objects(ObjectsFault::Failed { .. })), "{fault:?}");
    assert!(b.seal_logs(false).await.is_err());
    assert_eq!(b.read_log(later, 1, 1, 0, 99).await.unwrap(), b"later", "it stays");
    s3.restart();
    assert_eq!(b.seal_logs(true).await.unwrap(), 1);
    assert_eq!(a.read_log(later, 1, 1, 0, 99).await.unwrap(), b"later");
    // Either removes what neither needs any more: three logs, and what may be left of the one that failed.
    clock.advance(SignedDuration::from_hours(48));
    assert_eq!(b.forget_jobs(clock.now()).await.unwrap(), 3);
    assert_eq!(b.sweep_objects().await.unwrap(), 4);
    assert_eq!(s3.keys(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_told_and_lose_nothing() {
    let test = "wrong_credentials_are_told_and_lose_nothing";
    let (Some(postgres), Some(s3)) = (Postgres::start(test), S3Server::start(test)) else { return };
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let wrong = bucket(&s3, "test-key:not-the-secret");
    let (_dir, store) = open_with_objects(postgres.url(), &clock, Setup::default(), wrong).await.unwrap();
    let fault = store.check_objects().await.unwrap_err();
    assert!(matches!(fault, StoreError::Objects(ObjectsFault::Failed { .. })), "{fault:?}");
    assert!(fault.to_string().contains(&s3.url()), "{fault}");
    let told = format!("{fault:?}");
    assert!(!told.contains("not-the-secret"), "{told}");
    let id = ended(&store, &clock, "text").await;
    assert!(store.seal_logs(false).await.is_err());
    assert_eq!(store.read_log(id, 1, 1, 0, 99).await.unwrap(), b"text");
}
