//! This process's own corner of the temporary directory.

use super::layout::{Layout, names_in};
use super::lock::Lock;
use crate::ImageError;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory for unfinished work. Its lock says that its process lives, which a process number
/// could not: numbers are used again.
#[derive(Debug)]
pub(super) struct Session {
    directory: PathBuf,
    #[expect(dead_code, reason = "held for its Drop")]
    alive: Lock,
}

const ALIVE: &str = "alive";

impl Session {
    /// Removes what dead processes left and starts a session.
    pub(super) fn start(layout: &Layout) -> Result<Self, ImageError> {
        let tmp = layout.tmp();
        // Held so that nobody takes a session for dead between its birth and its lock.
        let _births = Lock::exclusive(&tmp.join("lock"))?;
        for name in names_in(&tmp)? {
            let directory = tmp.join(name);
            if directory.is_dir() && Lock::try_exclusive(&directory.join(ALIVE))?.is_some() {
                remove_tree(&directory)?;
            }
        }
        let directory = tempfile::Builder::new()
            .prefix("session-")
            .tempdir_in(&tmp)
            .map_err(ImageError::io("create a directory in", &tmp))?
            .keep();
        let alive = Lock::exclusive(&directory.join(ALIVE))?;
        Ok(Self { directory, alive })
    }

    /// A new empty directory, removed when it is dropped.
    pub(super) fn scratch(&self) -> Result<Scratch, ImageError> {
        let directory = tempfile::Builder::new()
            .prefix("work-")
            .tempdir_in(&self.directory)
            .map_err(ImageError::io("create a directory in", &self.directory))?;
        Ok(Scratch { directory: directory.keep() })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.directory) {
            tracing::debug!(%error, "the next process cleans up");
        }
    }
}

/// A temporary directory.
#[derive(Debug)]
pub(crate) struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.directory) {
            tracing::warn!(%error, "a temporary directory stays until the next start");
        }
    }
}

/// Removes a directory with all in it, also when an image's modes forbid that to its owner.
pub(super) fn remove_tree(directory: &Path) -> Result<(), ImageError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            unlock(directory).and_then(|()| fs::remove_dir_all(directory))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
    .map_err(ImageError::io("remove", directory))
}

/// Gives the owner every right in every directory beneath. Links are not followed.
fn unlock(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unlock(&entry.path())?;
        }
    }
    Ok(())
}
