//! The data directory.

use super::{intruder, open_in, open_store};
use crate::contract::world::Setup;
use jobs::State;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use store::{Finish, NewRepository, Store, StoreError};
use wire::heartbeat::Telemetry;

#[tokio::test]
async fn only_one_store_at_a_time_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = open_in(dir.path(), Setup::default()).await.unwrap();
    let refused = open_in(dir.path(), Setup::default()).await.err();
    assert!(matches!(&refused, Some(StoreError::InUse(path)) if *path == dir.path().display().to_string()));
    drop(first);
    open_in(dir.path(), Setup::default()).await.unwrap();
}

#[tokio::test]
async fn it_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("new/data");
    let world = open_in(&data, Setup::default()).await.unwrap();
    let (id, lease, _) = world.running().await;
    world.open_entry(id, &lease, "text").await;
    let mut seen = 0;
    let mut directories = vec![data];
    while let Some(directory) = directories.pop() {
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 5, "lock, database, its two companions and a log");
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_directory_that_can_not_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = open_in(&file, Setup::default()).await.err();
    assert!(
        matches!(&refused, Some(StoreError::DataDir { path, .. }) if *path == file.display().to_string())
    );
}

#[tokio::test]
async fn everything_is_there_when_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let repository = NewRepository {
        namespace: jobs::Namespace::Global,
        name: "demo".to_owned(),
        source: "/srv/demo".to_owned(),
    };
    let (ended, running, queued, token) = {
        let world = open_in(dir.path(), Setup::default()).await.unwrap();
        let (ended, lease, _) = world.running().await;
        let entry = world.open_entry(ended, &lease, "one ").await;
        world.append(ended, &lease, entry, 4, "two").await.unwrap();
        world.store.finish(ended, &lease, Finish::Complete).await.unwrap();
        let (running, _, claimed) = world.running().await;
        let queued = world.submit("batches").await;
        world.store.add_repository(repository.clone()).await.unwrap();
        world.store.upsert_executor("exec-1", &[], &Telemetry::default(), None).await.unwrap();
        (ended, running, queued, claimed.token)
    };
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    for (id, state) in [(ended, State::Completed), (running, State::Processing), (queued, State::Queued)] {
        assert_eq!(world.store.job(id).await.unwrap().record.state, state);
    }
    assert_eq!(world.text(ended, 1, 1).await, "one two");
    assert_eq!(world.store.job_by_token(&token).await.unwrap().unwrap().id, running);
    assert_eq!(
        world.store.repository(&jobs::Namespace::Global, "demo").await.unwrap().unwrap().source,
        repository.source
    );
    assert_eq!(world.store.executors().await.unwrap().len(), 1);
    assert!(world.submit("batches").await > queued);
}

#[tokio::test]
async fn closing_leaves_one_file_and_ends_all_work() {
    let dir = tempfile::tempdir().unwrap();
    let (_, store) = open_store(dir.path(), Setup::default()).await.unwrap();
    store.close().await.unwrap();
    assert!(!dir.path().join("executor.db-wal").exists());
    assert!(matches!(store.executors().await, Err(StoreError::Database(_))));
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_in(dir.path(), Setup::default()).await.unwrap());
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'from the future', TRUE, x'00', 0)";
    sqlx::query(newer).execute(&mut intruder(&dir).await).await.unwrap();
    let refused = open_in(dir.path(), Setup::default()).await.err();
    assert!(matches!(&refused, Some(StoreError::UnknownSchema { path }) if path.ends_with("/executor.db")));
}
