//! File operations that can't leave one directory.
//!
//! The kernel resolves every parent with `openat2`, beneath the root and through no link; what
//! follows is done to a single name in that open directory, and never follows a link either.

use super::path::LayerPath;
use rustix::fs::{AtFlags, Dev, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::{Errno, Result};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A directory, and one beneath it where work goes on.
pub(super) struct Confined {
    root: OwnedFd,
    /// The directory of the last entry: archives list whole directories.
    current: Option<(LayerPath, OwnedFd)>,
}

/// While a layer is being filled, only its maker may look at it.
const PRIVATE_DIRECTORY: Mode = Mode::RWXU;
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);
/// Overlayfs reads the second where the first is not allowed.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];
/// Device 0:0 is overlayfs' whiteout.
const WHITEOUT_DEVICE: Dev = 0;

impl Confined {
    pub(super) fn open(at: &Path) -> Result<Self> {
        let root = rustix::fs::open(at, DIRECTORY, Mode::empty())?;
        Ok(Self { root, current: None })
    }

    /// Opens the directory `path`.
    pub(super) fn directory(&self, path: &LayerPath) -> Result<OwnedFd> {
        rustix::fs::openat2(&self.root, path.as_path(), DIRECTORY, Mode::empty(), BENEATH)
    }

    /// Goes to the directory `path`.
    pub(super) fn enter(&mut self, path: &LayerPath) -> Result<()> {
        if self.current.as_ref().is_none_or(|(current, _)| current != path) {
            self.current = Some((path.clone(), self.directory(path)?));
        }
        Ok(())
    }

    /// The directory that was entered last.
    pub(super) fn here(&self) -> BorrowedFd<'_> {
        self.current.as_ref().map_or(self.root.as_fd(), |(_, directory)| directory.as_fd())
    }

    /// What `name` is, without following it.
    pub(super) fn kind(&self, name: &OsStr) -> Result<Option<FileType>> {
        match rustix::fs::statat(self.here(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Makes the directory `name` in place of whatever is there, unless it is a directory.
    pub(super) fn make_directory(&mut self, name: &OsStr) -> Result<()> {
        let kind = self.kind(name)?;
        if kind == Some(FileType::Directory) {
            return Ok(());
        }
        if kind.is_some() {
            self.remove(name, kind)?;
        }
        rustix::fs::mkdirat(self.here(), name, PRIVATE_DIRECTORY)?;
        // A whiteout hid what is below; only an opaque directory goes on doing so.
        if kind == Some(FileType::CharacterDevice) {
            self.make_opaque(name)?;
        }
        Ok(())
    }

    /// Makes an empty file in place of whatever is there.
    pub(super) fn make_file(&mut self, name: &OsStr) -> Result<File> {
        self.remove(name, self.kind(name)?)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(self.here(), name, flags, PRIVATE_FILE).map(File::from)
    }

    /// Makes a symbolic link in place of whatever is there.
    pub(super) fn make_symlink(&mut self, name: &OsStr, target: &OsStr) -> Result<()> {
        self.remove(name, self.kind(name)?)?;
        rustix::fs::symlinkat(target, self.here(), name)
    }

    /// Gives `target_name` in `target` the name `name`, in place of whatever is there.
    pub(super) fn make_hard_link(
        &mut self,
        name: &OsStr,
        target: &OwnedFd,
        target_name: &OsStr,
    ) -> Result<()> {
        let same = |stat: &rustix::fs::Stat| (stat.st_dev, stat.st_ino);
        let old = rustix::fs::statat(self.here(), name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let new = rustix::fs::statat(target, target_name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(new.st_mode) == FileType::Directory {
            return Err(Errno::ISDIR);
        }
        if old.as_ref().map(same) == Some(same(&new)) {
            return Ok(());
        }
        self.remove(name, self.kind(name)?)?;
        rustix::fs::linkat(target, target_name, self.here(), name, AtFlags::empty())
    }

    /// Hides `name` of lower layers.
    pub(super) fn make_whiteout(&self, name: &OsStr) -> Result<()> {
        rustix::fs::mknodat(self.here(), name, FileType::CharacterDevice, Mode::empty(), WHITEOUT_DEVICE)
    }

    /// Hides what lower layers have in the directory `name`.
    pub(super) fn make_opaque(&self, name: &OsStr) -> Result<()> {
        let directory = rustix::fs::openat(self.here(), name, DIRECTORY, Mode::empty())?;
        let set = |attribute| rustix::fs::fsetxattr(&directory, attribute, b"y", XattrFlags::empty());
        match set(OPAQUE[0]) {
            Err(Errno::PERM) => set(OPAQUE[1]),
            done => done,
        }
    }

    fn remove(&mut self, name: &OsStr, kind: Option<FileType>) -> Result<()> {
        match kind {
            None => Ok(()),
            Some(FileType::Directory) => {
                // The standard library removes trees without following links; the open directory
                // stands for the path to it.
                let here = PathBuf::from(format!("/proc/self/fd/{}", self.here().as_raw_fd()));
                std::fs::remove_dir_all(here.join(name))
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            }
            Some(_) => rustix::fs::unlinkat(self.here(), name, AtFlags::empty()),
        }
    }
}
