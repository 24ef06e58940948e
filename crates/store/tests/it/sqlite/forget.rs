//! What forgotten jobs leave on the disk: nothing.

use super::{intruder, open_in};
use crate::contract::world::{Setup, World};
use jobs::JobId;
use std::path::Path;
use store::{Finish, StoreError};

async fn ended(world: &World) -> JobId {
    let (id, lease, _) = world.running().await;
    world.open_entry(id, &lease, "text").await;
    world.store.finish(id, &lease, Finish::Complete).await.unwrap();
    id
}

fn logs(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("logs")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn nothing_of_a_forgotten_job_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let (old, kept) = (ended(&world).await, world.submit("batches").await);
    let running = world.claim("exec-1").await.unwrap();
    assert_eq!(running.job.id, kept);
    world.open_entry(kept, &crate::contract::world::lease(&running), "text").await;
    assert_eq!(logs(dir.path()), [old.to_string(), kept.to_string()]);
    world.advance(1);
    assert_eq!(world.store.forget_jobs(world.now()).await.unwrap(), 1);
    assert_eq!(logs(dir.path()), [kept.to_string()]);
    for table in ["jobs", "job_specs", "log_entries"] {
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let left: i64 = sqlx::query_scalar(count).fetch_one(&mut intruder(&dir).await).await.unwrap();
        assert_eq!(left, 1, "{table}");
    }
}

/// The rows lead to the files, so they must be the last to go.
#[tokio::test]
async fn what_was_begun_is_finished_by_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let cutoff = {
        let world = open_in(dir.path(), Setup::default()).await.unwrap();
        let (half_done, untouched) = (ended(&world).await, ended(&world).await);
        // As far as somebody came who was killed.
        std::fs::remove_dir_all(dir.path().join("logs").join(half_done.to_string())).unwrap();
        assert_eq!(logs(dir.path()), [untouched.to_string()]);
        world.advance(1);
        world.now()
    };
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    assert_eq!(world.store.forget_jobs(cutoff).await.unwrap(), 2);
    assert!(logs(dir.path()).is_empty());
}

#[tokio::test]
async fn a_log_that_can_not_be_removed_keeps_its_rows_and_nobody_else_s() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let (stuck, other) = (ended(&world).await, ended(&world).await);
    let path = dir.path().join("logs").join(stuck.to_string());
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::write(&path, "not a directory").unwrap();
    world.advance(1);
    assert_eq!(world.store.forget_jobs(world.now()).await.unwrap(), 1);
    assert!(world.store.job(other).await.is_err());
    let refused = world.store.forget_jobs(world.now()).await.unwrap_err();
    assert!(matches!(&refused, StoreError::LogFile { path: at, .. } if *at == path.display().to_string()));
    world.store.job(stuck).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(world.store.forget_jobs(world.now()).await.unwrap(), 1);
}
