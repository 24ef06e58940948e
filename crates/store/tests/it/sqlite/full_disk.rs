//! A disk that was full and is not any more.

use super::open_in;
use crate::contract::world::{Setup, new_job};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own, for as long as this lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(at).status();
        mount.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn writing_works_again_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(dir.path()) else {
        return testkit::missing_part(
            "writing_works_again_once_there_is_room",
            "root, to mount a small disk",
        );
    };
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let world = open_in(&data, Setup::default()).await.unwrap();
    let kept = world.submit("batches").await;
    let filler = dir.path().join("filler");
    let _ = std::fs::write(&filler, vec![0; 8 << 20]);
    let mut refused = 0;
    for _ in 0..2_000 {
        refused += u32::from(world.store.submit(new_job("batches")).await.is_err());
        if refused == 3 {
            break;
        }
    }
    assert_eq!(refused, 3, "the disk never filled");
    std::fs::remove_file(&filler).unwrap();
    let later = world.store.submit(new_job("batches")).await.expect("there is room again");
    assert!(later > kept);
    world.store.job(kept).await.unwrap();
}
