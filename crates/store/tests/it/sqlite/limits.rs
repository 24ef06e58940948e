//! Limits that take many rows to reach.

use super::{intruder, open_in};
use crate::contract::world::Setup;
use jobs::JobId;
use store::StoreError;

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
                last_heartbeat_at) SELECT queue, repository, commit_id, queued_at, state, epoch, \
                executor, last_heartbeat_at FROM jobs, n";
    sqlx::query(many).execute(&mut intruder(&dir).await).await.unwrap();
    let reset = world.stall_all().await;
    let expect: Vec<_> = (first.0..=450).map(JobId).collect();
    assert_eq!(reset.into_iter().map(|job| job.id).collect::<Vec<_>>(), expect);
}
