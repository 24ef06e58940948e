//! How large a mirror is while it is fetched: its source decides what comes, and the disk is everybody's.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often it is looked at. A source as fast as the network sends no more than some hundred MiB in between.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Returns when the objects in the mirror at `dir` take more than `limit` bytes.
pub(super) async fn outgrown(dir: &Path, limit: u64) {
    while !is_larger(dir, limit).await {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether they do now.
pub(super) async fn is_larger(dir: &Path, limit: u64) -> bool {
    let objects = dir.join("objects");
    // What can't be read is not there yet, or no more.
    tokio::task::spawn_blocking(move || size(&objects)).await.is_ok_and(|size| size > limit)
}

/// Bytes of packs, of objects that are by themselves, and of what is to be either.
fn size(objects: &Path) -> u64 {
    let below = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let files = below(objects.to_owned()).flat_map(|dir| below(dir.path()));
    files.filter_map(|file| io::Result::ok(file.metadata())).map(|file| file.len()).sum()
}
