//! A job's disk: the workspace, and everything that is written to root file systems.
//!
//! A file of the size of the limit, holding a file system of its own: the job itself meets "no
//! space left", and no other job does. Removing it takes the same time however much is in it.

use super::loop_device::{LoopDevice, shut_down};
use super::remove::remove_tree;
use super::room::Room;
use super::root::{ROOT, WORKSPACE, make_dir};
use super::users::Range;
use crate::RuntimeError;
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, open};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Below this ext4 has no room for itself.
const SMALLEST: u64 = 8 << 20;
/// A disk with less than this left, in bytes, is full: what did not fit was rarely one byte.
const FULL_BELOW: u64 = 1 << 20;
/// A large disk is full below this part of it: what did not fit may be larger, and gone once one looks.
const FULL_PART: u64 = 512;
/// No journal: the file system never outlives its job. No lazy work that would go on in the
/// background, no discarding of blocks that a new sparse file does not have.
const MKFS: [&str; 9] = [
    "-q",
    "-F",
    "-m",
    "0",
    "-O",
    "^has_journal",
    "-E",
    "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
    "--",
];

/// A place to keep a job's files.
#[derive(Debug)]
pub(super) struct Volume {
    /// Where it is mounted, or the plain directory.
    pub(super) path: PathBuf,
    /// Bytes; `None` when nothing is enforced.
    pub(super) size: Option<u64>,
    /// Hears of writes that failed since it was opened.
    root: Option<Arc<OwnedFd>>,
    /// What it lies in.
    image: Option<fs::File>,
}

impl Volume {
    /// A file system of `size` bytes, mounted at `path`. Takes some 20 ms.
    pub(super) fn create(
        path: PathBuf,
        size: u64,
        mkfs: &Path,
        users: Option<&Range>,
    ) -> Result<Self, RuntimeError> {
        let size = size.max(SMALLEST);
        let image = image_beside(&path);
        let made = Self::mount_new(&path, &image, size, mkfs);
        // The loop device, and we, keep the file alive as long as it is needed, and no longer.
        let _ = fs::remove_file(&image);
        let mut volume = Self { path, size: Some(size), root: None, image: Some(made?) };
        let ready = volume.lay_out(users).and_then(|()| volume.hold());
        if let Err(error) = ready {
            volume.remove()?;
            return Err(RuntimeError::io("lay out a job's disk")(error));
        }
        Ok(volume)
    }

    fn mount_new(path: &Path, image: &Path, size: u64, mkfs: &Path) -> Result<fs::File, RuntimeError> {
        let io = |what: &str| RuntimeError::io(format!("{what} for a job's disk of {size} bytes"));
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(image)
            .map_err(io("make a file"))?;
        file.set_len(size).map_err(io("size a file"))?;
        make_file_system(mkfs, image)?;
        let device = LoopDevice::attach(&file).map_err(io("get a loop device"))?;
        fs::create_dir(path).map_err(io("make a mount point"))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
        mount(&device.path, path, c"ext4", flags, c"noinit_itable")
            .map_err(|error| io("mount ext4")(error.into()))?;
        Ok(file)
    }

    /// A plain directory, in which nothing is enforced.
    pub(super) fn plain(path: PathBuf, users: Option<&Range>) -> Result<Self, RuntimeError> {
        make_dir(&path, 0o755).map_err(RuntimeError::io("make a job's directory"))?;
        let volume = Self { path, size: None, root: None, image: None };
        if let Err(error) = volume.lay_out(users) {
            volume.remove()?;
            return Err(RuntimeError::io("lay out a job's directory")(error));
        }
        Ok(volume)
    }

    fn lay_out(&self, users: Option<&Range>) -> io::Result<()> {
        make_dir(&self.path.join(ROOT), 0o755)?;
        // Images that run as a user of their own must be able to write here too.
        make_dir(&self.workspace(), 0o777)?;
        users.map_or(Ok(()), |users| users.hand_over(&self.workspace()))
    }

    pub(super) fn workspace(&self) -> PathBuf {
        self.path.join(WORKSPACE)
    }

    fn hold(&mut self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.root = Some(Arc::new(open(&self.path, flags, Mode::empty())?));
        Ok(())
    }

    /// Whether that is next to no room left on it.
    pub(super) fn is_full_with(&self, room: Room) -> bool {
        self.size.is_some_and(|size| room.bytes < FULL_BELOW.max(size / FULL_PART))
    }

    /// Whether something that was written to it, and not removed, could not be stored. Writes out what
    /// waits to be.
    pub(super) async fn has_lost_writes(&self) -> bool {
        let Some(root) = self.root.clone() else { return false };
        let stored = tokio::task::spawn_blocking(move || rustix::fs::syncfs(&*root)).await;
        !matches!(stored, Ok(Ok(())))
    }

    /// Removes it with all that is in it. Can be run twice.
    pub(super) fn remove(&self) -> Result<(), RuntimeError> {
        let io = |what: &str| RuntimeError::io(format!("{what} {}", self.path.display()));
        if self.size.is_none() {
            // As it is shown to us, with users of its own; else it is no mount.
            let _ = unmount(self.workspace(), UnmountFlags::DETACH);
            return remove_tree(&self.path).map_err(io("remove"));
        }
        if fs::symlink_metadata(self.workspace()).is_ok() {
            // Gigabytes may wait to be written, and nobody will read them.
            let _ = shut_down(&self.path);
        }
        match unmount(&self.path, UnmountFlags::DETACH) {
            // It is not mounted any more, or not there at all.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(io("unmount")(error.into())),
        }
        self.give_back();
        match fs::remove_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(io("remove")),
        }
    }

    /// Frees the host's disk at once. The kernel would once the last user is gone, and what was killed may
    /// take a moment to let go of it.
    fn give_back(&self) {
        let (Some(image), Some(size)) = (&self.image, self.size) else { return };
        let all = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if let Err(error) = fallocate(image, all, 0, size) {
            tracing::debug!(%error, path = %self.path.display(), "a job's disk is freed with its last user");
        }
    }
}

/// The file that holds the file system. Names of volumes have dots in them, so this is no extension.
fn image_beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".img");
    name.into()
}

fn make_file_system(mkfs: &Path, image: &Path) -> Result<(), RuntimeError> {
    let made = Command::new(mkfs)
        .args(MKFS)
        .arg(image)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(RuntimeError::io(format!("run {}", mkfs.display())))?;
    if made.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&made.stderr);
    Err(RuntimeError::Host(format!("{} failed with {}: {}", mkfs.display(), made.status, said.trim())))
}
