//! Limits that take many rows to reach.

use super::{intruder, open_in};
use crate::contract::world::Setup;
use jiff::SignedDuration;
use jobs::{JobId, Namespace, Role};
use std::time::Duration;
use store::{NewToken, QueueChange, StoreError};
use tokio::time::timeout;
use wire::heartbeat::Telemetry;

#[tokio::test]
async fn one_try_has_a_number_of_entries() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let (id, lease, _) = world.running().await;
    let almost_all = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) \
                      INSERT INTO log_entries (job, epoch, entry, key, start_time) SELECT 1, 1, i, 'x', 0 FROM n";
    sqlx::query(almost_all).execute(&mut intruder(&dir).await).await.unwrap();
    assert_eq!(world.open_entry(id, &lease, "").await, 10_000);
    let refused = world.store.add_log_entry(id, &lease, world.entry("")).await;
    assert!(matches!(refused, Err(StoreError::TooManyLogEntries { limit: 10_000, .. })), "{refused:?}");
}

#[tokio::test]
async fn any_number_of_jobs_can_stall_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let (first, ..) = world.running().await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 450) \
                INSERT INTO jobs (queue, repository, commit_id, queued_at, state, epoch, executor, \
                last_heartbeat_at, lease) SELECT queue, repository, commit_id, queued_at, state, epoch, \
                executor, last_heartbeat_at, lease FROM jobs, n";
    sqlx::query(many).execute(&mut intruder(&dir).await).await.unwrap();
    let reset = world.stall_all().await;
    let expect: Vec<_> = (first.0..=450).map(JobId).collect();
    assert_eq!(reset.into_iter().map(|job| job.id).collect::<Vec<_>>(), expect);
}

#[tokio::test]
async fn a_new_executor_takes_the_place_of_the_one_that_is_silent_for_longest() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
                INSERT INTO executors (name, queues, telemetry, first_seen_at, last_seen_at) \
                SELECT 'old-' || i, '[]', '{}', i, i FROM n";
    sqlx::query(many).execute(&mut intruder(&dir).await).await.unwrap();
    world.store.set_maintenance("old-1", Some(world.now())).await.unwrap();
    for name in ["new", "old-2", "new"] {
        world.advance(1);
        world.store.upsert_executor(name, &[], &Telemetry::default()).await.unwrap();
    }
    world.store.upsert_executor("newer", &[], &Telemetry::default()).await.unwrap();
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM executors")
        .fetch_one(&mut intruder(&dir).await)
        .await
        .unwrap();
    assert_eq!(count, 10_000);
    let names: Vec<_> = world.store.executors().await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names[..3], ["new", "newer", "old-2"]);
    assert_eq!(names[names.len() - 2..], ["old-5", "old-1"], "the silent ones went, oldest first");
    let spoil = "UPDATE executors SET telemetry = '' WHERE name = 'old-2'";
    sqlx::query(spoil).execute(&mut intruder(&dir).await).await.unwrap();
    assert_eq!(world.store.executors().await.unwrap().len(), 9_999, "one that can't be read hides no other");
}

#[tokio::test]
async fn tokens_that_have_expired_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let new = |name: &str| NewToken {
        name: name.to_owned(),
        role: Role::Reader,
        namespace: Namespace::Global,
        created_by: "root".to_owned(),
        expires_at: None,
    };
    // The first one for good, the others for a minute.
    let all = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
               INSERT INTO tokens (digest, name, role, namespace, created_by, created_at, expires_at) \
               SELECT CAST(i AS BLOB), 'token ' || i, 'reader', '', 'root', 0, CASE WHEN i > 1 THEN $1 END FROM n";
    let expires_at = (world.now() + SignedDuration::from_secs(60)).as_microsecond();
    sqlx::query(all).bind(expires_at).execute(&mut intruder(&dir).await).await.unwrap();
    let refused = world.store.create_token(new("one more")).await.unwrap_err();
    assert!(refused.to_string().starts_with("there are 10000 "), "{refused}");
    assert_eq!(world.store.tokens(None).await.unwrap().len(), 10_000, "nothing was changed");
    world.advance(60);
    world.store.create_token(new("one more")).await.unwrap();
    let names: Vec<_> = world.store.tokens(None).await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["one more", "token 1"]);
}

/// Where there is nothing to be had nobody waits for a turn to write.
#[tokio::test]
async fn a_full_queue_makes_no_writers() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let change = QueueChange { max_running: Some(1), ..QueueChange::default() };
    world.store.change_queue("batches", change).await.unwrap();
    world.running().await;
    world.submit("batches").await;
    let mut writer = intruder(&dir).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    let claimed = timeout(Duration::from_secs(5), world.claim("exec-1")).await;
    assert!(claimed.expect("it waits for the writer").is_none());
}
