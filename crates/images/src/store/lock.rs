//! Advisory locks that processes share and that end with their holder.

use crate::ImageError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::path::Path;

/// A lock that is held until it is dropped, by this process's death at the latest.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Waits until nobody holds it exclusively.
    pub(super) fn shared(path: &Path) -> Result<Self, ImageError> {
        Self::wait(path, FlockOperation::LockShared)
    }

    /// Waits until nobody holds it.
    pub(super) fn exclusive(path: &Path) -> Result<Self, ImageError> {
        Self::wait(path, FlockOperation::LockExclusive)
    }

    /// Takes it if nobody holds it.
    pub(super) fn try_exclusive(path: &Path) -> Result<Option<Self>, ImageError> {
        let file = open(path).map_err(ImageError::io("open the lock", path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(ImageError::io("lock", path)(errno.into())),
        }
    }

    /// The file that is locked, to see whether it still is the one at its path.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    fn wait(path: &Path, operation: FlockOperation) -> Result<Self, ImageError> {
        let file = open(path).map_err(ImageError::io("open the lock", path))?;
        loop {
            match flock(&file, operation) {
                Ok(()) => return Ok(Self { file }),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(ImageError::io("lock", path)(errno.into())),
            }
        }
    }

    /// Takes a shared lock on a file that must exist; none when it doesn't.
    pub(super) fn shared_if_exists(path: &Path) -> Result<Option<Self>, ImageError> {
        match File::open(path) {
            Ok(file) => {
                flock(&file, FlockOperation::LockShared)
                    .map_err(|errno| ImageError::io("lock", path)(errno.into()))?;
                Ok(Some(Self { file }))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ImageError::io("open the lock", path)(error)),
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}
