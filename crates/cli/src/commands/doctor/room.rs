//! The disk that everything is kept on.

use super::finding::{Finding, fatal, info, ok, warning};
use super::known::Known;
use super::sizes::{counted, each, told};
use crate::env::RuntimeName;
use crate::paths;
use rustix::fs::{Access, AtFlags, CWD, StatVfs, accessat, statfs, statvfs};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// File names that one job may well need: a clone and an unpacked image.
const NAMES_PER_JOB: u64 = 100_000;

/// Of a file system.
#[derive(Debug, Clone, Copy, Default)]
struct Room {
    free: u64,
    total: u64,
    /// Names that can still be made, of all; none where they are not counted.
    names: Option<(u64, u64)>,
}

/// Of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    There,
    /// It can be made, below this one.
    Below(PathBuf),
    /// It can't be used.
    Bad(String),
}

/// Blocking; on a file system of a dead server, for long.
pub(super) fn findings(known: &Known) -> Vec<Finding> {
    let dir = &known.data_dir;
    let there = existing(dir);
    let mut findings = vec![state("disk.state", "the data directory", dir, &look(dir))];
    match statvfs(there) {
        Ok(stat) => {
            let (room, agent) = (Room::of(&stat), &known.agent);
            let floor = agent.disk_floor.unwrap_or_else(|| agent::fitting_disk_floor(room.total));
            findings.push(enough(dir, room, floor));
            // An engine's containers are limited elsewhere, if at all.
            let disk = agent.limits.disk.filter(|_| agent.runtime == RuntimeName::Oci);
            findings.push(jobs(room, floor, disk, agent.max_jobs as u64));
        }
        Err(fault) => {
            findings
                .push(info("disk.room", format!("the room on {} can't be learnt: {fault}", there.display())));
        }
    }
    let images = paths::images(dir);
    let kind = statfs(existing(&images)).map(|stat| u64::try_from(stat.f_type).unwrap_or_default());
    findings.push(store(&images, &look(&images), kind.unwrap_or_default()));
    findings
}

/// Room for what jobs fill besides the data directory, where that is on disks of their own. Blocking, for a moment.
pub(super) fn beside(known: &Known, dirs: &[PathBuf]) -> Vec<Finding> {
    let device = |dir: &Path| existing(dir).metadata().map(|found| found.dev()).ok();
    let mut seen = BTreeSet::from([device(&known.data_dir)]);
    let own = dirs.iter().filter(|dir| seen.insert(device(dir)));
    own.filter_map(|dir| {
        let room = Room::of(&statvfs(existing(dir)).ok()?);
        let floor = known.agent.disk_floor.unwrap_or_else(|| agent::fitting_disk_floor(room.total));
        Some(enough(dir, room, floor))
    })
    .collect()
}

/// The directory, or the nearest one above it that is there.
pub(super) fn existing(dir: &Path) -> &Path {
    dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"))
}

/// A directory for a trial, which is gone once this is dropped: in `dir`, and so on the same file system, if that
/// can be.
pub(super) fn scratch(dir: &Path) -> io::Result<TempDir> {
    let mut scratch = tempfile::Builder::new();
    scratch.prefix("executor-doctor-");
    scratch.tempdir_in(dir).or_else(|_| scratch.tempdir())
}

/// Whether a directory can be used. Blocking, for a moment.
pub(super) fn look(dir: &Path) -> State {
    let there = existing(dir);
    let may = accessat(CWD, there, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
    match may {
        _ if !there.is_dir() => State::Bad(format!("{} is no directory", there.display())),
        Err(fault) => State::Bad(format!("{} can't be written to: {fault}", there.display())),
        Ok(()) if there == dir => State::There,
        Ok(()) => State::Below(there.to_owned()),
    }
}

impl Room {
    fn of(stat: &StatVfs) -> Self {
        Self {
            free: stat.f_bavail * stat.f_frsize,
            total: stat.f_blocks * stat.f_frsize,
            names: (stat.f_files > 0).then_some((stat.f_favail, stat.f_files)),
        }
    }
}

fn state(id: &'static str, what: &str, dir: &Path, state: &State) -> Finding {
    let dir = dir.display();
    match state {
        State::There => ok(id, format!("{what} {dir} can be written to")),
        State::Below(_) => info(id, format!("{what} {dir} is not there yet, and can be made")),
        State::Bad(why) => fatal(
            id,
            format!("{what} {dir} can't be used: {why}"),
            "let EXECUTOR_DATA_DIR name a directory of executor's own user, on a disk that can be written to",
        ),
    }
}

/// File systems that images can't be mounted from, or not reliably, by their numbers.
fn unfit(kind: u64) -> Option<&'static str> {
    Some(match kind {
        0x6969 => "NFS",
        0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x6573_5546 => "FUSE",
        0x0102_1997 => "9p",
        0x4d44 => "FAT",
        0x794c_7630 => "overlayfs, as of a container's own file system",
        _ => return None,
    })
}

fn store(dir: &Path, found: &State, kind: u64) -> Finding {
    let finding = state("images.store", "the directory of images", dir, found);
    match (found, unfit(kind)) {
        (State::There | State::Below(_), Some(name)) => warning(
            "images.store",
            format!(
                "the directory of images {} is on {name}: images may not be unpacked or mounted there",
                dir.display()
            ),
            "put the data directory on a local disk with ext4 or XFS; in a container, on a volume",
        ),
        _ => finding,
    }
}

fn enough(dir: &Path, room: Room, floor: u64) -> Finding {
    const ID: &str = "disk.room";
    let seen = format!("{} of {} are free for {}", told(room.free), told(room.total), dir.display());
    if floor == 0 {
        return info(ID, format!("{seen}, and no floor is kept"));
    }
    if let Some((left, all)) = room.names.filter(|(left, all)| *left < agent::fitting_files_floor(*all)) {
        return fatal(
            ID,
            format!(
                "only {left} more files can be made on the disk of {}, of {all}: no job is taken",
                dir.display()
            ),
            "remove files that nobody needs, such as with `executor image gc`, or let EXECUTOR_DATA_DIR name a disk that \
             was made with more inodes",
        );
    }
    if room.free >= floor {
        return ok(ID, format!("{seen}, and {} is the floor", told(floor)));
    }
    fatal(
        ID,
        format!("{seen}, which is less than the floor of {}: no job is taken", told(floor)),
        "free some room, such as with `executor image gc`, let EXECUTOR_DATA_DIR name a larger disk, or set \
         EXECUTOR_DISK_FLOOR",
    )
}

fn jobs(room: Room, floor: u64, disk: Option<u64>, jobs: u64) -> Finding {
    const ID: &str = "disk.jobs";
    if let Some((names, of)) =
        room.names.filter(|(names, _)| *names < NAMES_PER_JOB.saturating_mul(jobs).min(1_000_000))
    {
        let seen = format!("only {names} of {of} file names are left on the disk");
        return warning(ID, seen, "remove files that nobody needs, or make the file system with more inodes");
    }
    let Some(disk) = disk else {
        return info(ID, "jobs have no disk limit: any one can fill the disk of all");
    };
    let wanted = disk.saturating_mul(jobs);
    let left = room.free.saturating_sub(floor);
    let seen = format!("{} may write {}{}", counted(jobs, "job"), told(disk), each(jobs));
    if wanted <= left {
        return ok(ID, format!("{seen}, and {} are free", told(left)));
    }
    warning(
        ID,
        match jobs {
            1 => format!("{seen}, and {} are free above the floor", told(left)),
            _ => format!("{seen}, {} together, and {} are free above the floor", told(wanted), told(left)),
        },
        "use a larger disk, or lower EXECUTOR_MAXIMUM_NUM_JOBS or EXECUTOR_FIRECRACKER_DISK_SPACE",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    const GIB: u64 = 1 << 30;

    fn room(free: u64, total: u64) -> Room {
        Room { free: free * GIB, total: total * GIB, names: Some((10_000_000, 20_000_000)) }
    }

    #[test]
    fn less_than_the_floor_is_fatal() {
        let severity = |free, floor: u64| enough(Path::new("/x"), room(free, 100), floor * GIB).severity;
        assert_eq!(severity(50, 5), Severity::Ok);
        assert_eq!(severity(5, 5), Severity::Ok);
        assert_eq!(severity(4, 5), Severity::Fatal);
        assert_eq!(severity(0, 0), Severity::Info);
        let few = |floor| {
            let few = Room { names: Some((4_000, 100_000)), ..room(50, 100) };
            enough(Path::new("/x"), few, floor).severity
        };
        assert_eq!((few(1), few(0)), (Severity::Fatal, Severity::Info));
    }

    #[test]
    fn full_disks_of_all_jobs_must_fit() {
        let severity = |free, disk: Option<u64>, number| {
            jobs(room(free, 100), 5 * GIB, disk.map(|disk| disk * GIB), number).severity
        };
        assert_eq!(severity(45, Some(20), 2), Severity::Ok);
        assert_eq!(severity(44, Some(20), 2), Severity::Warning);
        assert_eq!(severity(44, None, 2), Severity::Info);
        assert_eq!(severity(44, Some(u64::MAX / GIB), u64::MAX), Severity::Warning);
        let few = Room { names: Some((1000, 2000)), ..room(50, 100) };
        assert_eq!(jobs(few, 0, None, 1).severity, Severity::Warning);
        let uncounted = Room { names: None, ..room(50, 100) };
        assert_eq!(jobs(uncounted, 0, Some(GIB), 1).severity, Severity::Ok);
    }

    #[test]
    fn directories_are_there_or_can_be_made() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path()), State::There);
        assert_eq!(look(&dir.path().join("a/b")), State::Below(dir.path().to_owned()));
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(look(&file.join("below")), State::Bad(why) if why.contains("is no directory")));
        assert_eq!(state("disk.state", "x", &file, &State::Bad("no".to_owned())).severity, Severity::Fatal);
    }

    #[test]
    fn a_store_on_a_network_is_warned_of() {
        let severity = |kind| store(Path::new("/x"), &State::There, kind).severity;
        assert_eq!(severity(0xef53), Severity::Ok);
        assert_eq!(severity(0x6969), Severity::Warning);
        assert_eq!(severity(0x794c_7630), Severity::Warning);
    }
}
