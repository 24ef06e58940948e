//! The ids that a job's users have on the host.

use super::namespace;
use crate::oci::idmap::mount_mapped;
use crate::oci::root::give;
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What all agents of this host share: who has which ids, and empty directories to mount on.
const PLACE: &str = "/run/executor-users";
/// The right of others to pass through a directory.
const ENTER: u32 = 0o001;
/// The rights to a file that stands for a range: root's alone.
const OURS: u32 = 0o600;
/// Ids of one job. Images know users up to 65534, nobody.
pub(in crate::oci) const SIZE: u32 = 1 << 16;
/// The first that jobs have. From here on neither distributions nor systemd nor container engines give any
/// away by themselves.
const FIRST: u32 = 0x7000_0000;
/// Ranges to choose from, which end before what systemd keeps for itself.
const RANGES: u32 = 2_048;
/// Bytes of the name of an agent's start.
const LONGEST_NAME: u64 = 4_096;
/// Where the host says which ids are given to whom.
const GIVEN: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

/// Ids that no other job has, and what shows files to them.
#[derive(Debug)]
pub(in crate::oci) struct Range {
    first: u32,
    /// Shows what root has on disk as the job's.
    to_job: OwnedFd,
    /// Shows what the job's root has on disk as ours.
    from_job: OwnedFd,
    _lock: Lock,
}

/// A file that is there, and locked, for as long as a range is somebody's. It is gone once this is dropped.
#[derive(Debug)]
struct Lock {
    file: File,
    /// Where it is, unless it is to stay there.
    path: Option<PathBuf>,
}

impl Range {
    /// Takes a range for the agent's start that has `dir`, which is gone when nothing of it runs any more.
    pub(super) fn take(dir: &Path) -> io::Result<Self> {
        make_place()?;
        let given = GIVEN.map(|file| fs::read_to_string(file).unwrap_or_default()).join("\n");
        let given: Vec<(u64, u64)> = given_away(&given).collect();
        for number in 0..RANGES {
            let first = FIRST + number * SIZE;
            if given.iter().any(|range| overlaps(*range, first)) {
                continue;
            }
            if let Some(lock) = Lock::take(Path::new(PLACE).join(number.to_string()), dir)? {
                let to_job = namespace::make(0, first, SIZE)?;
                let from_job = namespace::make(first, 0, SIZE)?;
                return Ok(Self { first, to_job, from_job, _lock: lock });
            }
        }
        Err(io::Error::other(format!(
            "all {RANGES} ranges of ids from {FIRST} on are taken: see {PLACE} for whose they are"
        )))
    }

    /// What the job's root is on the host.
    pub(in crate::oci) fn root(&self) -> u32 {
        self.first
    }

    /// The namespace that shows layers to the job, for our own processes while this one lives.
    pub(in crate::oci) fn namespace(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.to_job.as_raw_fd()).into()
    }

    /// Shows `from` at `at` as a job sees it.
    pub(super) fn show(&self, from: &Path, at: &Path) -> io::Result<()> {
        mount_mapped(from, at, self.to_job.as_fd())
    }

    /// Makes the empty directory `dir` the job's; what is made there by this process is the job's as well.
    pub(in crate::oci) fn hand_over(&self, dir: &Path) -> io::Result<()> {
        give(dir, self.first)?;
        mount_mapped(dir, dir, self.from_job.as_fd())
    }
}

impl Lock {
    /// Locks what stands for a range, unless somebody has it, or had it and was killed, and not all that used
    /// it is gone.
    fn take(path: PathBuf, dir: &Path) -> io::Result<Option<Self>> {
        let Some(mut lock) = Self::hold(path, true)? else { return Ok(None) };
        let before = lock.user()?;
        if before.is_some_and(|before| before.exists()) {
            lock.keep();
            return Ok(None);
        }
        lock.file.set_len(0)?;
        lock.file.rewind()?;
        lock.file.write_all(dir.as_os_str().as_bytes())?;
        Ok(Some(lock))
    }

    /// Locks the file at `path`, unless somebody else has, or it is not there and not to be made.
    fn hold(path: PathBuf, make: bool) -> io::Result<Option<Self>> {
        loop {
            let mut how = File::options();
            // Whoever may open it may lock it.
            how.read(true).write(true).create(make).truncate(false).mode(OURS);
            let file = match how.open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !make => return Ok(None),
                opened => opened?,
            };
            if file.metadata()?.permissions().mode() & !OURS & 0o777 != 0 {
                file.set_permissions(fs::Permissions::from_mode(OURS))?;
            }
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                return Ok(None);
            }
            // Whoever had it may have removed it since it was opened.
            if file.metadata()?.nlink() > 0 {
                return Ok(Some(Self { file, path: Some(path) }));
            }
        }
    }

    /// The directory of the process that has the range, or had it when it was killed.
    fn user(&self) -> io::Result<Option<PathBuf>> {
        let mut named = Vec::new();
        (&self.file).take(LONGEST_NAME).read_to_end(&mut named)?;
        Ok((!named.is_empty()).then(|| OsString::from_vec(named).into()))
    }

    /// Lets go of the lock, and not of the range.
    fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // It is still locked: nobody can have taken it meanwhile.
            let _ = fs::remove_file(path);
        }
    }
}

/// Gives back what the process that had `dir`, which is gone, left behind.
pub(in crate::oci) fn give_back_all(dir: &Path) {
    give_back_in(Path::new(PLACE), dir);
}

fn give_back_in(place: &Path, dir: &Path) {
    let known = fs::read_dir(place).into_iter().flatten().filter_map(Result::ok);
    for entry in known.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())) {
        if let Ok(Some(lock)) = Lock::hold(entry.path(), false)
            && !lock.user().is_ok_and(|user| user.as_deref() == Some(dir))
        {
            lock.keep();
        }
    }
}

/// An empty directory, reachable by anybody, which processes of ours mount on in namespaces of their own:
/// those above a job's disk are closed to the job's users.
pub(in crate::oci) fn here() -> PathBuf {
    Path::new(PLACE).join("here")
}

/// Another, for layers.
pub(in crate::oci) fn layers() -> PathBuf {
    Path::new(PLACE).join("layers")
}

/// Another, for what `/sys` shows of a job's network.
pub(in crate::oci) fn system() -> PathBuf {
    Path::new(PLACE).join("system")
}

fn make_place() -> io::Result<()> {
    fs::create_dir_all(PLACE)?;
    for above in Path::new(PLACE).ancestors().skip(1) {
        if fs::metadata(above)?.permissions().mode() & ENTER == 0 {
            let why = format!("{} can be entered by root alone, and so by no job's users", above.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
    }
    for (dir, mode) in [(PLACE.into(), 0o711), (here(), 0o755), (layers(), 0o711), (system(), 0o755)] {
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// First and last of what `/etc/subuid` or its like gives away.
fn given_away(text: &str) -> impl Iterator<Item = (u64, u64)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(1).map(str::trim);
        let (first, count): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((first, first.saturating_add(count.checked_sub(1)?)))
    })
}

fn overlaps(given: (u64, u64), first: u32) -> bool {
    let (first, last) = (u64::from(first), u64::from(first) + u64::from(SIZE) - 1);
    given.0 <= last && first <= given.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn what_the_host_gives_away_is_left_out() {
        let text = "# comment\nuser:100000:65536\nroot:1879048192:1\nodd:x:1\nnone:5:0\n\n";
        let given: Vec<_> = given_away(text).collect();
        assert_eq!(given, [(100_000, 165_535), (u64::from(FIRST), u64::from(FIRST))]);
        assert!(overlaps(given[1], FIRST) && !overlaps(given[1], FIRST + SIZE) && !overlaps(given[0], FIRST));
        assert!(overlaps((0, u64::MAX), FIRST));
    }

    #[test]
    fn a_range_is_one_agents_until_all_that_used_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, instance) = (dir.path().join("0"), dir.path().join("instance"));
        let take = || Lock::take(path.clone(), &instance).unwrap();
        fs::create_dir(&instance).unwrap();
        let held = take().unwrap();
        assert!(take().is_none(), "it is locked");
        held.keep();
        assert!(take().is_none(), "its agent was killed, and its jobs may be there");
        fs::remove_dir(&instance).unwrap();
        let held = take().unwrap();
        drop(held);
        assert!(!path.exists(), "it was given back");
        assert!(take().is_some());
    }

    #[test]
    fn nobody_but_root_can_lock_a_range() {
        let place = tempfile::tempdir().unwrap();
        let (new, old) = (place.path().join("0"), place.path().join("1"));
        // As earlier releases made them.
        fs::write(&old, "").unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o644)).unwrap();
        for path in [new, old] {
            let held = Lock::take(path.clone(), place.path()).unwrap().unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            drop(held);
        }
    }

    #[test]
    fn what_a_killed_agent_had_is_given_back_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let [killed, other] = ["killed", "other"].map(|name| place.path().join(name));
        let [of_killed, of_living, of_other] = ["0", "1", "2"].map(|name| place.path().join(name));
        for dir in [&killed, &other] {
            fs::create_dir(dir).unwrap();
        }
        Lock::take(of_killed.clone(), &killed).unwrap().unwrap().keep();
        let living = Lock::take(of_living.clone(), &killed).unwrap().unwrap();
        Lock::take(of_other.clone(), &other).unwrap().unwrap().keep();
        fs::remove_dir(&killed).unwrap();
        give_back_in(place.path(), &killed);
        assert!(!of_killed.exists() && of_living.exists() && of_other.exists());
        drop(living);
        assert!(!of_living.exists());
    }

    #[test]
    fn two_that_want_a_range_never_both_have_it() {
        let place = tempfile::tempdir().unwrap();
        let (path, dir) = (place.path().join("0"), place.path().join("gone"));
        let (holders, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while taken.load(Ordering::SeqCst) < 2_000 {
                        if let Some(lock) = Lock::take(path.clone(), &dir).unwrap() {
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                            taken.fetch_add(1, Ordering::SeqCst);
                            holders.fetch_sub(1, Ordering::SeqCst);
                            drop(lock);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn all_ranges_are_numbers_that_ids_may_have() {
        assert!(FIRST.checked_add(RANGES * SIZE).is_some_and(|end| end < 0x7FFF_0000));
    }
}
