//! What a disk of the host is short of. Jobs' disks lie on it, or what they write does, and together they may want
//! more than there is; neither that nor what comes of it is a job's fault.

use crate::RuntimeError;
use rustix::fs::statvfs;
use std::path::Path;

/// A disk with less than this left, in bytes, has no room: file systems keep some for themselves.
const BYTES_FULL_BELOW: u64 = 16 << 20;
/// One on which fewer files than this can be made has no room for any: each job needs a few for itself.
const FILES_FULL_BELOW: u64 = 16;

/// Of what there is next to nothing left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// What is left, in bytes.
    Bytes(u64),
    /// How many files it has, and can have.
    Files { used: u64, limit: u64 },
}

/// What is left on a disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    /// In bytes.
    pub(crate) free: u64,
    pub(crate) shortage: Option<Shortage>,
}

impl Left {
    /// On the disk that `path` is on, if that can be told.
    pub(crate) fn on(path: &Path) -> Option<Self> {
        let stat = statvfs(path).ok()?;
        // What is set aside for root is there for us, and for containers' root as well.
        let free = stat.f_bfree.saturating_mul(stat.f_frsize);
        let out_of_files = stat.f_files > 0 && stat.f_ffree < FILES_FULL_BELOW;
        let files = Shortage::Files { used: stat.f_files.saturating_sub(stat.f_ffree), limit: stat.f_files };
        let shortage = match free {
            0..BYTES_FULL_BELOW => Some(Shortage::Bytes(free)),
            _ => out_of_files.then_some(files),
        };
        Some(Self { free, shortage })
    }
}

impl Shortage {
    /// The failure of what met it, at `path`.
    pub(crate) fn fault(self, path: &Path) -> RuntimeError {
        let path = path.to_owned();
        match self {
            Self::Bytes(free) => RuntimeError::HostDiskFull { path, free },
            Self::Files { used, limit } => RuntimeError::HostInodesFull { path, limit, used },
        }
    }

    /// Whether it is told rather than `other`: bytes before files, and fewer of them before more.
    pub(crate) fn is_worse_than(self, other: Self) -> bool {
        match (self, other) {
            (Self::Bytes(one), Self::Bytes(other)) => one < other,
            (Self::Bytes(_), Self::Files { .. }) => true,
            (Self::Files { .. }, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::SmallDisk;

    #[test]
    fn want_of_bytes_is_told_rather_than_want_of_files() {
        let (few, fewer) = (Shortage::Bytes(2), Shortage::Bytes(1));
        let files = Shortage::Files { used: 9, limit: 10 };
        assert!(fewer.is_worse_than(few) && few.is_worse_than(files));
        for (one, other) in [(few, fewer), (few, few), (files, few), (files, files)] {
            assert!(!one.is_worse_than(other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_disk_without_room_for_files_is_told_from_one_without_room() {
        let test = "shortage::tests::a_disk_without_room_for_files_is_told_from_one_without_room";
        let Some(disk) = SmallDisk::mount(test, 32 << 20) else { return };
        let shortage = || Left::on(&disk.path()).expect("it is there").shortage;
        assert_eq!(shortage(), None);
        let many = disk.use_up_files();
        assert!(
            matches!(shortage(), Some(Shortage::Files { used, limit }) if used == limit),
            "{:?}",
            shortage()
        );
        drop(many);
        disk.fill(1 << 20);
        let _many = disk.use_up_files();
        assert!(matches!(shortage(), Some(Shortage::Bytes(_))), "it is short of both: {:?}", shortage());
    }
}
