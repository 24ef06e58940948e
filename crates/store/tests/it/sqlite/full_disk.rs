//! A disk that was full and is not any more.

use super::open_in;
use crate::contract::world::{Setup, new_job};
use store::{Finish, ObjectsFault, StoreError};
use testkit::SmallDisk;

#[tokio::test]
async fn writing_works_again_once_there_is_room() {
    let Some(disk) = SmallDisk::mount("writing_works_again_once_there_is_room", 16 << 20) else { return };
    let data = disk.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let world = open_in(&data, Setup::default()).await.unwrap();
    let kept = world.submit("batches").await;
    disk.fill(0);
    let mut refused = 0;
    for _ in 0..2_000 {
        if let Err(fault) = world.store.submit(new_job("batches")).await {
            // Why it failed, rather than what came of that.
            assert!(matches!(fault, StoreError::Full(_)), "{fault:?}");
            refused += 1;
        }
        if refused == 3 {
            break;
        }
    }
    assert_eq!(refused, 3, "the disk never filled");
    disk.make_room();
    let later = world.store.submit(new_job("batches")).await.expect("there is room again");
    assert!(later > kept);
    world.store.job(kept).await.unwrap();
}

#[tokio::test]
async fn a_log_that_there_is_no_room_to_seal_stays_what_it_is() {
    let test = "a_log_that_there_is_no_room_to_seal_stays_what_it_is";
    let Some(disk) = SmallDisk::mount(test, 16 << 20) else { return };
    let dir = tempfile::tempdir().unwrap();
    // The database and the texts are elsewhere: it is the object store alone that is full.
    std::os::unix::fs::symlink(disk.path(), dir.path().join("objects")).unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let (id, held, _) = world.running().await;
    world.open_entry(id, &held, &"text ".repeat(10_000)).await;
    world.store.finish(id, &held, Finish::Complete).await.unwrap();
    disk.fill(0);
    let fault = world.store.seal_logs(false).await.unwrap_err();
    assert!(matches!(fault, StoreError::Objects(ObjectsFault::Full { .. })), "{fault:?}");
    assert_eq!(world.text(id, 1, 1).await.len(), 50_000);
    disk.make_room();
    assert_eq!(world.store.seal_logs(true).await.unwrap(), 1);
    assert_eq!(world.text(id, 1, 1).await.len(), 50_000);
}
