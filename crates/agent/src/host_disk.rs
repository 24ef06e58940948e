//! Room on the disks of this host: jobs' disks, their logs and what they download all grow there. It is
//! one disk for the daemonless runtime; an engine keeps its own, and workspaces may be on a third.

use crate::inodes;
use jobs::EndReason;
use rustix::fs::statvfs;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tracing::{debug, info, warn};

/// The floor that is kept unless another one is set: a twentieth of the disk,
const PART: u64 = 20;
/// but at least this many bytes,
const LEAST: u64 = 1 << 30;
/// at most this many, which is what one job may write unless another limit is set,
const MOST: u64 = 20 << 30;
/// and never more than a tenth of a small disk.
const SMALL_DISK_PART: u64 = 10;
/// A disk on which fewer files than this can be made takes no job, which is what a clone and an unpacked image may
/// well need,
const MOST_FILES: u64 = 100_000;
/// or fewer than this part of those that it can hold.
const FILES_PART: u64 = 20;
/// Once below the floor, this part of it must be free on top of it before jobs are taken again, so
/// that a disk whose room goes up and down at the floor does not change our mind all the time.
const MARGIN_PART: u64 = 10;
/// With less than this left, in bytes, what failed failed for want of room. Whoever fails often
/// removes what it had written so far.
const FULL_BELOW: u64 = 16 << 20;

/// The disk that a directory of ours is on.
#[derive(Debug, Clone)]
pub(crate) struct HostDisk {
    dir: PathBuf,
}

/// All disks of this host that jobs fill.
#[derive(Debug, Clone)]
pub(crate) struct HostDisks(Vec<HostDisk>);

/// Bytes of a file system, and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    free: u64,
    total: u64,
    /// How many more there can be, and how many in all; `None` where there is no such limit.
    files: Option<(u64, u64)>,
}

impl HostDisk {
    pub(crate) fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Bytes that are free, and how many of them are to stay so.
    pub(crate) fn free_and_floor(&self, set: Option<u64>) -> Option<(u64, u64)> {
        let room = room(&self.dir).ok()?;
        Some((room.free, set.unwrap_or_else(|| fitting_disk_floor(room.total))))
    }

    fn device(&self) -> Option<u64> {
        self.dir.metadata().map(|found| found.dev()).ok()
    }
}

impl HostDisks {
    /// Those of a directory of ours, and of others that a runtime names.
    pub(crate) fn of(dir: &Path, others: Vec<PathBuf>) -> Self {
        let dirs = [dir.to_owned()].into_iter().chain(others);
        Self(dirs.map(|dir| HostDisk { dir }).collect())
    }

    /// One of them is full: the reason for a job that met this, with the one that has the least room.
    pub(crate) fn full(&self) -> EndReason {
        let free = |disk: &&HostDisk| {
            let free = room(&disk.dir).map_or(u64::MAX, |room| room.free);
            if is_full_at(&disk.dir) { free.min(FULL_BELOW) } else { free }
        };
        let fullest = self.0.iter().min_by_key(free);
        full_at(fullest.map_or(Path::new(""), |disk| &disk.dir))
    }

    /// Whether one of them has next to no room left.
    pub(crate) fn is_full(&self) -> bool {
        self.0.iter().any(|disk| is_full_at(&disk.dir))
    }

    /// Whether `path` is on one of them, and not on a disk of its own.
    pub(crate) fn hold(&self, path: &Path) -> bool {
        let device = path.metadata().map(|found| found.dev()).ok();
        device.is_some_and(|device| self.0.iter().any(|disk| disk.device() == Some(device)))
    }

    /// One of each, where several directories are on the same.
    fn each_once(&self) -> impl Iterator<Item = &HostDisk> {
        let mut seen = BTreeSet::new();
        self.0.iter().filter(move |disk| disk.device().is_none_or(|device| seen.insert(device)))
    }
}

/// The disk that `path` is on is full: the reason for a job that met this.
pub(crate) fn full_at(path: &Path) -> EndReason {
    let free = room(path).map_or(0, |room| room.free);
    let shown = path.to_string_lossy().into_owned();
    match inodes::exhausted(path).filter(|_| free >= FULL_BELOW) {
        Some(inodes::Exhausted { used, limit }) => EndReason::HostInodesFull { path: shown, limit, used },
        None => EndReason::HostDiskFull { path: shown, free },
    }
}

/// Whether there is next to no room left where `dir` is, for bytes or for files.
fn is_full_at(dir: &Path) -> bool {
    room(dir).is_ok_and(|room| room.free < FULL_BELOW) || inodes::exhausted(dir).is_some()
}

/// Whether an operation failed because a disk has no room.
pub(crate) fn has_no_room(fault: &io::Error) -> bool {
    matches!(fault.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Watches that there is enough room to take a job.
#[derive(Debug)]
pub(crate) struct Floor {
    /// Bytes; 0 is no floor, `None` one that fits the disk.
    set: Option<u64>,
    /// Directories whose disks have too little.
    below: BTreeSet<PathBuf>,
}

impl Floor {
    pub(crate) fn new(set: Option<u64>) -> Self {
        Self { set, below: BTreeSet::new() }
    }

    /// Looks again whether a job may be taken, which takes room on each of `disks`; says so once when this
    /// changes for one of them.
    pub(crate) fn lets_in(&mut self, disks: &HostDisks) -> bool {
        // One that is not there for now, such as an engine's that is away, is judged when it is there again.
        self.below.retain(|dir| disks.0.iter().any(|disk| disk.dir == *dir));
        let mut lets_in = true;
        for disk in disks.each_once() {
            lets_in &= self.has_room(&disk.dir);
        }
        lets_in
    }

    fn has_room(&mut self, dir: &Path) -> bool {
        let room = match room(dir) {
            Ok(room) => room,
            Err(fault) => {
                // A job that needs the directory will say more.
                debug!(path = %dir.display(), %fault, "failed to look for room on the disk");
                return true;
            }
        };
        let was_below = self.below.contains(dir);
        let needed = |floor: u64| if was_below { floor + floor / MARGIN_PART } else { floor };
        let floor = self.set.unwrap_or_else(|| fitting_disk_floor(room.total));
        let (path, free) = (dir.display(), room.free);
        let few_files = room.files.filter(|(left, all)| *left < needed(self.files(*all)));
        let is_below = free < needed(floor) || few_files.is_some();
        match (was_below, is_below, few_files) {
            (false, true, Some((left, all))) if free >= floor => warn!(
                %path, left, floor = self.files(all),
                "fewer files can be made on the disk than the floor that is to be kept: no jobs are taken until there \
                 can be more"
            ),
            (false, true, _) => warn!(
                %path, free, floor,
                "less room is free on the disk than the floor that is to be kept: no jobs are taken until there is more"
            ),
            (true, false, _) => info!(%path, free, floor, "there is room on the disk: jobs are taken again"),
            _ => {}
        }
        if is_below {
            self.below.insert(dir.to_owned());
        } else {
            self.below.remove(dir);
        }
        !is_below
    }

    /// How many more files a disk must be able to hold that can hold `all`.
    fn files(&self, all: u64) -> u64 {
        if self.set == Some(0) { 0 } else { fitting_files_floor(all) }
    }
}

/// What must be free on a disk of `total` bytes before a job is taken, unless somebody said otherwise.
pub fn fitting_disk_floor(total: u64) -> u64 {
    (total / PART).clamp(LEAST, MOST).min(total / SMALL_DISK_PART)
}

/// How many more files a disk must be able to hold before a job is taken, if it can hold `all`. It is kept with any
/// floor for bytes but none.
pub fn fitting_files_floor(all: u64) -> u64 {
    (all / FILES_PART).min(MOST_FILES)
}

fn room(path: &Path) -> io::Result<Room> {
    let stat = statvfs(path)?;
    let files = (stat.f_files > 0).then_some((stat.f_favail, stat.f_files));
    Ok(Room { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_fits_the_disk() {
        let gib = 1 << 30;
        for (total, floor) in [
            (0, 0),
            (gib, gib / 10),
            (10 * gib, gib),
            (20 * gib, gib),
            (100 * gib, 5 * gib),
            (400 * gib, 20 * gib),
            (4_000 * gib, 20 * gib),
        ] {
            assert_eq!(fitting_disk_floor(total), floor, "{total}");
        }
    }

    #[test]
    fn a_directory_below_is_on_the_same_disk_and_proc_is_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("below")).unwrap();
        let disks = HostDisks::of(dir.path(), Vec::new());
        assert!(disks.hold(&dir.path().join("below")));
        assert!(!disks.hold(Path::new("/proc/self")) && !disks.hold(Path::new("/nowhere")));
        assert!(HostDisks::of(dir.path(), vec!["/proc".into()]).hold(Path::new("/proc/self")));
    }

    #[test]
    fn no_floor_lets_everybody_in_and_a_high_one_nobody() {
        let disks = HostDisks::of(&std::env::temp_dir(), Vec::new());
        assert!(Floor::new(Some(0)).lets_in(&disks));
        assert!(!Floor::new(Some(u64::MAX / 2)).lets_in(&disks));
        assert!(Floor::new(Some(u64::MAX / 2)).lets_in(&HostDisks::of(Path::new("/nowhere"), Vec::new())));
    }

    #[test]
    fn each_disk_counts_and_one_of_several_directories_is_counted_once() {
        let test = "each_disk_counts_and_one_of_several_directories_is_counted_once";
        let Some(small) = testkit::SmallDisk::mount(test, 64 << 20) else { return };
        let (here, there) = (tempfile::tempdir().unwrap(), small.path());
        let disks = HostDisks::of(here.path(), vec![there.clone(), there.join("lost+found")]);
        assert_eq!(disks.each_once().count(), 2);
        let mut floor = Floor::new(Some(32 << 20));
        assert!(floor.lets_in(&disks) && !disks.is_full());
        small.fill(1 << 20);
        assert!(!floor.lets_in(&disks) && disks.is_full());
        assert!(
            matches!(disks.full(), EndReason::HostDiskFull { path, .. } if *path == *there.to_string_lossy())
        );
        assert!(floor.lets_in(&HostDisks::of(here.path(), Vec::new())));
        small.make_room();
        assert!(floor.lets_in(&disks) && floor.below.is_empty());
    }

    #[test]
    fn a_disk_that_can_hold_few_more_files_takes_no_job() {
        let test = "host_disk::tests::a_disk_that_can_hold_few_more_files_takes_no_job";
        let Some(small) = testkit::SmallDisk::mount(test, 32 << 20) else { return };
        let here = tempfile::tempdir().unwrap();
        let disks = HostDisks::of(here.path(), vec![small.path()]);
        let (mut floor, mut any) = (Floor::new(Some(1)), Floor::new(Some(0)));
        assert!(floor.lets_in(&disks));
        let many = small.use_up_files();
        assert!(!floor.lets_in(&disks) && any.lets_in(&disks));
        assert!(
            matches!(disks.full(), EndReason::HostInodesFull { path, .. } if *path == *small.path().to_string_lossy())
        );
        let few = fitting_files_floor(room(&small.path()).unwrap().files.unwrap().1);
        for name in 0..few {
            std::fs::remove_file(many.path().join(name.to_string())).unwrap();
        }
        assert!(Floor::new(Some(1)).lets_in(&disks) && !floor.lets_in(&disks), "it wants a tenth more now");
        drop(many);
        assert!(floor.lets_in(&disks) && floor.below.is_empty());
        assert_eq!((fitting_files_floor(0), fitting_files_floor(1 << 40)), (0, MOST_FILES));
    }
}
