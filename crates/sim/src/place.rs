//! Where the databases of schedules are: a directory for each simulator, which goes with it.
//!
//! One that is killed leaves its directory, in memory where there is a file system for that. Its lock is free then, by which the
//! next simulator knows it, and removes it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tempfile::TempDir;

const PREFIX: &str = "executor-sim-";
/// How often to try again where another simulator took a new directory for one that was left.
const TRIES: u32 = 100;

/// Such a directory.
#[derive(Debug)]
pub(crate) struct Place {
    dir: TempDir,
    /// On the directory itself: the kernel lets go of it however the process ends. After `dir`, so that nobody else removes it
    /// at the same time.
    _lock: File,
}

impl Place {
    /// Makes one in `parent`, and removes those that were left there.
    pub(crate) fn make(parent: &Path) -> io::Result<Self> {
        let place = Self::lock_new(parent)?;
        let ours = fs::metadata(place.path())?.uid();
        for entry in fs::read_dir(parent)?.flatten() {
            let ended = entry.file_name().to_string_lossy().starts_with(PREFIX)
                && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == ours);
            if ended {
                remove_left(&entry.path());
            }
        }
        Ok(place)
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn lock_new(parent: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            match File::open(dir.path()) {
                Ok(lock) => {
                    lock.lock()?;
                    // Else whoever had the lock before us has removed it.
                    if dir.path().exists() {
                        return Ok(Self { dir, _lock: lock });
                    }
                }
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
                Err(fault) => return Err(fault),
            }
        }
        Err(io::Error::other("each directory that was made there was removed at once"))
    }
}

/// Removes a directory, unless its simulator lives. What can't be removed is nobody's trouble but the next one's.
fn remove_left(dir: &Path) {
    if let Ok(lock) = File::open(dir)
        && lock.try_lock().is_ok()
    {
        let _ = fs::remove_dir_all(dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_simulator_left_goes_and_what_others_have_stays() {
        let parent = tempfile::tempdir().unwrap();
        let path = |name: &str| parent.path().join(name);
        let lives = Place::make(parent.path()).unwrap();
        fs::write(lives.path().join("executor.db"), "").unwrap();
        fs::create_dir_all(path("executor-sim-killed/template")).unwrap();
        fs::write(path("executor-sim-killed/template/executor.db"), "").unwrap();
        fs::create_dir(path("somebody-elses")).unwrap();
        fs::write(path("executor-sim-is-a-file"), "").unwrap();
        let next = Place::make(parent.path()).unwrap();
        assert!(!path("executor-sim-killed").exists());
        assert!(lives.path().join("executor.db").exists() && next.path().exists());
        assert!(path("somebody-elses").exists() && path("executor-sim-is-a-file").exists());
        drop((lives, next));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 2);
    }

    /// A directory is there before its lock is taken.
    #[test]
    fn simulators_that_start_at_once_take_nothing_from_each_other() {
        let parent = tempfile::tempdir().unwrap();
        let start = || {
            for _ in 0..50 {
                let place = Place::make(parent.path()).unwrap();
                fs::write(place.path().join("executor.db"), "").unwrap();
                assert!(place.path().join("executor.db").exists());
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(start);
            }
        });
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
