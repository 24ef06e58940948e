//! Rows that can't be read.

use super::{intruder, open_in};
use crate::contract::world::{Setup, errored, new_job};
use jobs::State;
use store::{Finish, JobFilter, QueueChange, StoreError};
use wire::heartbeat::Telemetry;

#[tokio::test]
async fn an_unreadable_job_is_told_and_does_not_block_its_queue() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let damaged = world.submit("batches").await;
    let sound = world.submit("batches").await;
    let spoil = "UPDATE job_specs SET spec = '{\"from\":\"the future\"}' WHERE job = 1";
    sqlx::query(spoil).execute(&mut intruder(&dir).await).await.unwrap();

    let told = |error: Option<StoreError>| {
        let error = error.unwrap();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert_eq!(error.to_string(), "job 1 holds a specification that can't be read");
    };
    told(world.store.spec(damaged).await.err());
    assert_eq!(world.store.jobs(JobFilter { limit: 9, ..JobFilter::default() }).await.unwrap().len(), 2);
    assert_eq!(world.claim("exec-1").await.unwrap().job.id, sound);
    assert!(world.claim("exec-1").await.is_none());
    let state: String = sqlx::query_scalar("SELECT state FROM jobs WHERE id = 1")
        .fetch_one(&mut intruder(&dir).await)
        .await
        .unwrap();
    assert_eq!(state, "failed");
}

#[tokio::test]
async fn an_unreadable_job_does_not_keep_others_from_being_reset() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    world.running().await;
    let (sound, ..) = world.running().await;
    let spoil = "UPDATE jobs SET end_detail = '?' WHERE id = 1";
    sqlx::query(spoil).execute(&mut intruder(&dir).await).await.unwrap();
    let reset = world.stall_all().await;
    assert_eq!(reset.iter().map(|job| job.id).collect::<Vec<_>>(), [sound]);
}

#[tokio::test]
async fn a_damaged_end_is_no_reason_not_to_try_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::with_failures(2)).await.unwrap();
    let (id, lease, _) = world.running().await;
    world.store.finish(id, &lease, errored()).await.unwrap();
    let spoil = "UPDATE jobs SET end_detail = '{}' WHERE id = 1";
    sqlx::query(spoil).execute(&mut intruder(&dir).await).await.unwrap();
    assert!(matches!(world.store.job(id).await, Err(StoreError::Corrupt { what: "end reason", .. })));
    world.advance(20);
    assert_eq!(world.claim("exec-1").await.unwrap().job.record.state, State::Processing);
}

#[tokio::test]
async fn a_lost_log_file_reads_as_empty_and_can_be_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let (id, lease, _) = world.running().await;
    let entry = world.open_entry(id, &lease, "text").await;
    drop(world);
    std::fs::remove_dir_all(dir.path().join("logs/1")).unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    assert_eq!(world.text(id, 1, entry).await, "");
    let gap = world.append(id, &lease, entry, 4, "more").await;
    assert!(matches!(gap, Err(StoreError::LogGap { length: 0, offset: 4 })), "{gap:?}");
    assert_eq!(world.append(id, &lease, entry, 0, "textmore").await.unwrap(), 8);
}

/// Such as what a later version wrote: only the jobs that need it wait.
#[tokio::test]
async fn unreadable_needs_are_nothing_to_other_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let mut large = new_job("batches");
    large.spec.needs.memory = Some(1 << 30);
    world.store.submit(large).await.unwrap();
    let spoil = "UPDATE lanes SET needs = '{\"quantum\":1}'";
    sqlx::query(spoil).execute(&mut intruder(&dir).await).await.unwrap();
    let sound = world.submit("batches").await;
    assert_eq!(world.claim("exec-1").await.unwrap().job.id, sound);
}

#[tokio::test]
async fn unreadable_times_are_counted_and_nothing_to_what_is_told_of_a_queue() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    world.submit("batches").await;
    let mut other = new_job("batches");
    other.owner = "user:ann".to_owned();
    world.store.submit(other).await.unwrap();
    world.store.change_queue("batches", QueueChange { paused: Some(true), max_running: None }).await.unwrap();
    let sound = world.store.queue("batches", u64::MAX).await.unwrap();
    assert_eq!((sound.queued, sound.unreadable, sound.oldest_queued_at), (2, 0, Some(world.now())));
    for spoil in [
        "UPDATE jobs SET queued_at = 9000000000000000000 WHERE id = 1",
        "UPDATE queues SET paused_at = -9e18",
    ] {
        sqlx::query(spoil).execute(&mut intruder(&dir).await).await.unwrap();
    }
    let told = world.store.queue("batches", u64::MAX).await.unwrap();
    assert_eq!((told.queued, told.unreadable, told.oldest_queued_at), (2, 2, Some(world.now())));
    assert!(told.rules.paused_at.is_some());
}

#[tokio::test]
async fn a_census_counts_what_can_not_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    for name in ["one", "two"] {
        world
            .store
            .upsert_executor(name, &["batches".to_owned()], &Telemetry::default(), None)
            .await
            .unwrap();
    }
    let spoil = "UPDATE executors SET telemetry = '?' WHERE name = 'one'";
    sqlx::query(spoil).execute(&mut intruder(&dir).await).await.unwrap();
    let (census, before) = (world.store.census().await.unwrap(), StoreError::unreadable());
    assert_eq!((census.executors, world.store.executors().await.unwrap().len()), (2, 1));
    assert_eq!(StoreError::unreadable(), before + 1);
    assert!(census.database_bytes > 0 && census.connections <= census.max_connections);
}

/// That one tells of itself may be news to this version.
#[tokio::test]
async fn an_executor_says_what_only_a_later_version_knows() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    world.store.upsert_executor("one", &["batches".to_owned()], &Telemetry::default(), None).await.unwrap();
    let later = r#"UPDATE executors SET telemetry = '{"os": "linux", "takesNone": "asleep", "mood": [1]}'"#;
    sqlx::query(later).execute(&mut intruder(&dir).await).await.unwrap();
    let row = world.store.executor("one").await.unwrap();
    assert_eq!((row.telemetry.os.as_str(), row.takes_none), ("linux", None));
}

#[tokio::test]
async fn a_sealed_log_that_is_damaged_is_told_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let (id, lease, _) = world.running().await;
    world.open_entry(id, &lease, "text").await;
    world.store.finish(id, &lease, Finish::Complete).await.unwrap();
    assert_eq!(world.store.seal_logs(true).await.unwrap(), 1);
    let objects = dir.path().join("objects/logs/0");
    for object in std::fs::read_dir(objects).unwrap() {
        let path = object.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, vec![b'?'; bytes.len()]).unwrap();
    }
    let before = StoreError::unreadable();
    let told = world.store.read_log(id, 1, 1, 0, 99).await.unwrap_err();
    assert!(matches!(told, StoreError::Corrupt { what: "text", .. }), "{told:?}");
    assert_eq!(StoreError::unreadable(), before + 1);
}
