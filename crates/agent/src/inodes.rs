//! File systems that have room for bytes and none for another file.

use rustix::fs::statvfs;
use std::path::Path;

/// With fewer files left to make than this, what failed failed for want of them: whoever fails often removes some of
/// what it had made.
const FULL_BELOW: u64 = 16;

/// Files of a file system that can have next to no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted {
    /// How many there are.
    pub(crate) used: u64,
    /// How many there can be.
    pub(crate) limit: u64,
}

/// The files of the file system that `path` is on, if there can be next to no more of them.
pub(crate) fn exhausted(path: &Path) -> Option<Exhausted> {
    let stat = statvfs(path).ok()?;
    // Some file systems have no such limit.
    let is_full = stat.f_files > 0 && stat.f_favail < FULL_BELOW;
    is_full.then(|| Exhausted { used: stat.f_files.saturating_sub(stat.f_favail), limit: stat.f_files })
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::SmallDisk;

    #[test]
    fn a_disk_without_room_for_files_is_told_from_others() {
        let test = "inodes::tests::a_disk_without_room_for_files_is_told_from_others";
        let Some(disk) = SmallDisk::mount(test, 8 << 20) else { return };
        assert_eq!(exhausted(&disk.path()), None);
        let many = disk.use_up_files();
        let full = exhausted(&disk.path()).unwrap();
        assert!(full.used + FULL_BELOW > full.limit && full.limit > 100, "{full:?}");
        drop(many);
        assert_eq!((exhausted(&disk.path()), exhausted(Path::new("/proc"))), (None, None));
    }
}
