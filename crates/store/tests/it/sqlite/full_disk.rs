//! A disk that was full and is not any more.

use super::open_in;
use crate::contract::world::{Setup, new_job};
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
        refused += u32::from(world.store.submit(new_job("batches")).await.is_err());
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
