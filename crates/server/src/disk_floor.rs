//! Room that stays free on the disk of the data directory.
//!
//! Whoever submits, and whatever jobs leave, could otherwise take what heartbeats, ends of jobs and removals are written to, and
//! every lease would be lost. So what grows as others like is refused while less than the floor is free; all else goes on.

use rustix::fs::statvfs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The floor that is kept unless another one is set: this part of the disk,
const PART: u64 = 20;
/// and no more bytes than that.
const MOST: u64 = 1 << 30;
/// With fewer bytes than this left nothing is written any more: the database grows by more at once.
const EXHAUSTED: u64 = 128 << 10;
/// How long it is believed what is free.
const BELIEVED: Duration = Duration::from_millis(100);
/// How often somebody looks who waits for the floor to be reached.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Too little is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the disk of the server's data directory has {free} bytes free, of which {floor} are to stay so (`executor server \
     --disk-floor`): make room there, and try again"
)]
pub(crate) struct BelowFloor {
    free: u64,
    floor: u64,
}

/// What grows there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growing {
    /// What the database holds, and texts of logs beside it.
    Database,
    /// What jobs left, in the object store.
    Results,
    /// Uploaded files and mirrors, which are always there.
    Files,
}

/// Bytes of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    free: u64,
    total: u64,
}

/// Watches what is free.
#[derive(Debug)]
pub(crate) struct DiskFloor {
    dir: PathBuf,
    /// Bytes; 0 is no floor, `None` one that fits the disk.
    set: Option<u64>,
    /// Whether the database is on that disk, and the object store.
    holds: (bool, bool),
    known: Mutex<Option<(Instant, Room)>>,
}

impl DiskFloor {
    pub(crate) const fn new(dir: PathBuf, set: Option<u64>, database: bool, results: bool) -> Self {
        Self { dir, set, holds: (database, results), known: Mutex::new(None) }
    }

    /// Refuses what would grow there while too little is free.
    pub(crate) fn check(&self, what: Growing) -> Result<(), BelowFloor> {
        let is_there = match what {
            Growing::Database => self.holds.0,
            Growing::Results => self.holds.1,
            Growing::Files => true,
        };
        if !is_there || self.set == Some(0) {
            return Ok(());
        }
        // What can't be looked at keeps nobody out: whoever writes to it is told.
        self.room().map_or(Ok(()), |room| judge(room, self.set))
    }

    /// Returns when too little is free for files and mirrors.
    pub(crate) async fn reached(&self) -> BelowFloor {
        loop {
            if let Err(below) = self.check(Growing::Files) {
                return below;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether the database can't be written to any more for want of room.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.holds.0 && self.room().is_some_and(|room| room.free < EXHAUSTED)
    }

    fn room(&self) -> Option<Room> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, room)) = *known
            && at.elapsed() < BELIEVED
        {
            return Some(room);
        }
        let room = read(&self.dir).ok()?;
        *known = Some((Instant::now(), room));
        Some(room)
    }
}

fn judge(Room { free, total }: Room, set: Option<u64>) -> Result<(), BelowFloor> {
    let floor = set.unwrap_or_else(|| (total / PART).min(MOST));
    if free < floor { Err(BelowFloor { free, floor }) } else { Ok(()) }
}

fn read(dir: &Path) -> io::Result<Room> {
    let stat = statvfs(dir)?;
    Ok(Room { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_fits_the_disk_unless_it_is_set() {
        let gib = 1 << 30;
        for (total, floor) in [(gib, gib / 20), (20 * gib, gib), (4_000 * gib, gib)] {
            assert_eq!(judge(Room { free: floor, total }, None), Ok(()));
            let free = floor - 1;
            assert_eq!(judge(Room { free, total }, None), Err(BelowFloor { free, floor }));
        }
        let room = Room { free: 5, total: gib };
        assert_eq!(judge(room, Some(5)), Ok(()));
        assert_eq!(judge(room, Some(6)), Err(BelowFloor { free: 5, floor: 6 }));
    }

    #[test]
    fn what_grows_elsewhere_is_nothing_to_it() {
        let floor = |set, database, results| DiskFloor::new(std::env::temp_dir(), set, database, results);
        let high = Some(u64::MAX);
        for what in [Growing::Database, Growing::Results, Growing::Files] {
            assert!(floor(high, true, true).check(what).is_err(), "{what:?}");
            assert_eq!(floor(Some(0), true, true).check(what), Ok(()));
            assert_eq!(floor(high, false, false).check(what).is_err(), what == Growing::Files, "{what:?}");
        }
        assert!(!floor(high, false, true).is_exhausted());
    }
}
