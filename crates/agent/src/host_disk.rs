//! Room on the disk of this host: jobs' disks, their logs and what they download all grow on it.

use jobs::EndReason;
use rustix::fs::statvfs;
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

/// Bytes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    free: u64,
    total: u64,
}

impl HostDisk {
    pub(crate) fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The disk is full: the reason for a job that met this.
    pub(crate) fn full(&self) -> EndReason {
        full_at(&self.dir)
    }

    /// Bytes that are free, and how many of them are to stay so.
    pub(crate) fn free_and_floor(&self, set: Option<u64>) -> Option<(u64, u64)> {
        let room = room(&self.dir).ok()?;
        Some((room.free, set.unwrap_or_else(|| fitting_disk_floor(room.total))))
    }

    /// Whether there is next to no room left.
    pub(crate) fn is_full(&self) -> bool {
        room(&self.dir).is_ok_and(|room| room.free < FULL_BELOW)
    }

    /// Whether `path` is on this disk, and not on one of its own.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
        device(path).is_some_and(|own| device(&self.dir) == Some(own))
    }
}

/// The disk that `path` is on is full: the reason for a job that met this.
pub(crate) fn full_at(path: &Path) -> EndReason {
    let free = room(path).map_or(0, |room| room.free);
    EndReason::HostDiskFull { path: path.to_string_lossy().into_owned(), free }
}

/// Whether an operation failed because a disk has no room.
pub(crate) fn has_no_room(fault: &io::Error) -> bool {
    matches!(fault.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Watches that there is enough room to take a job.
#[derive(Debug)]
pub(crate) struct Floor {
    disk: HostDisk,
    /// Bytes; 0 is no floor, `None` one that fits the disk.
    set: Option<u64>,
    below: bool,
}

impl Floor {
    pub(crate) fn new(disk: HostDisk, set: Option<u64>) -> Self {
        Self { disk, set, below: false }
    }

    /// Looks again whether a job may be taken; says so once when this changes.
    pub(crate) fn lets_in(&mut self) -> bool {
        let room = match room(&self.disk.dir) {
            Ok(room) => room,
            Err(fault) => {
                // A job that needs the directory will say more.
                debug!(path = %self.disk.dir.display(), %fault, "failed to look for room on the disk");
                return true;
            }
        };
        let floor = self.set.unwrap_or_else(|| fitting_disk_floor(room.total));
        let needed = if self.below { floor + floor / MARGIN_PART } else { floor };
        let below = room.free < needed;
        let (path, free) = (self.disk.dir.display(), room.free);
        match (self.below, below) {
            (false, true) => warn!(
                %path, free, floor,
                "less room is free on the disk than the floor that is to be kept: no jobs are taken until there is more"
            ),
            (true, false) => info!(%path, free, floor, "there is room on the disk: jobs are taken again"),
            _ => {}
        }
        self.below = below;
        !below
    }
}

/// What must be free on a disk of `total` bytes before a job is taken, unless somebody said otherwise.
pub fn fitting_disk_floor(total: u64) -> u64 {
    (total / PART).clamp(LEAST, MOST).min(total / SMALL_DISK_PART)
}

fn room(path: &Path) -> io::Result<Room> {
    let stat = statvfs(path)?;
    Ok(Room { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
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
        let disk = HostDisk::of(dir.path());
        assert!(disk.holds(&dir.path().join("below")));
        assert!(!disk.holds(Path::new("/proc")) && !disk.holds(Path::new("/nowhere")));
    }

    #[test]
    fn no_floor_lets_everybody_in_and_a_high_one_nobody() {
        let disk = HostDisk::of(&std::env::temp_dir());
        assert!(Floor::new(disk.clone(), Some(0)).lets_in());
        assert!(!Floor::new(disk, Some(u64::MAX / 2)).lets_in());
        assert!(Floor::new(HostDisk::of(Path::new("/nowhere")), Some(u64::MAX / 2)).lets_in());
    }
}
