//! The data directory: private to its user, and held by one process at a time.

use crate::error::StoreError;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The embedded database's file.
pub(super) const DATABASE: &str = "executor.db";
/// Beside it where everything was moved elsewhere: whoever went on with it would give the same jobs out twice.
const RETIRED: &str = "executor.db.retired";

/// A data directory that nobody else has open.
pub(super) struct DataDir {
    path: PathBuf,
    /// The kernel lets go of the lock when this file is closed, however the process ends.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is missing and takes it, or fails at once if somebody has it.
    pub(super) fn lock(path: PathBuf) -> Result<Self, StoreError> {
        make_private_dir(&path).map_err(|source| failed(&path, source))?;
        let lock_path = path.join("lock");
        let lock = private_file(&lock_path).map_err(|source| failed(&lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path.display().to_string())),
            Err(TryLockError::Error(source)) => return Err(failed(&lock_path, source)),
        }
        let dir = Self { path, _lock: lock };
        let logs = dir.logs();
        make_private_dir(&logs).map_err(|source| failed(&logs, source))?;
        Ok(dir)
    }

    /// The embedded database's file; made, empty, when missing.
    pub(super) fn database(&self) -> Result<PathBuf, StoreError> {
        check_in_use(&self.path)?;
        let database = self.path.join(DATABASE);
        // SQLite would make the file readable for everybody that the umask lets; it gives its
        // companions (-wal, -shm) the mode of this one.
        private_file(&database).map_err(|source| failed(&database, source))?;
        Ok(database)
    }

    /// Where the embedded database of a data directory is that somebody else may have open.
    pub(super) fn database_in(dir: &Path) -> Result<PathBuf, StoreError> {
        let database = dir.join(DATABASE);
        std::fs::metadata(&database).map_err(|source| failed(&database, source))?;
        Ok(database)
    }

    /// Has nobody use the embedded database any more.
    pub(super) fn retire_database(&self) -> Result<(), StoreError> {
        let mark = self.path.join(RETIRED);
        private_file(&mark)
            .and_then(|file| file.sync_all())
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(|source| failed(&mark, source))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }
}

/// Refuses an embedded database that was moved elsewhere.
pub(super) fn check_in_use(dir: &Path) -> Result<(), StoreError> {
    let mark = dir.join(RETIRED);
    match mark.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(StoreError::Retired {
            path: dir.join(DATABASE).display().to_string(),
            mark: mark.display().to_string(),
        }),
        Err(source) => Err(failed(&mark, source)),
    }
}

/// Makes a directory, with its parents, that only its user may enter.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn failed(path: &Path, source: io::Error) -> StoreError {
    StoreError::DataDir { path: path.display().to_string(), source }
}
