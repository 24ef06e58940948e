//! Mounting what the operator has every step see besides.

use super::context;
use crate::oci::additional::{AdditionalMount, Mounted, resolved, unsafe_beside_others, why_not};
use crate::oci::cwd::{self, DIRECTORY};
use crate::oci::idmap::{self, Attributes};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, open, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags, mount};
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The rights to a directory in memory that nobody spoke of.
const OPEN_TO_ALL: u32 = 0o1777;

/// Mounts `mounts` in the root file system at `root`, whose root user is `owner`. `users` is the user namespace that
/// shows the host's files to a job with users of its own.
pub(super) fn mount_all(
    mounts: &[AdditionalMount],
    root: &Path,
    owner: u32,
    users: Option<&Path>,
) -> io::Result<()> {
    // What was a directory when it was looked at may be a link by now.
    if let Some(why) = unsafe_beside_others(mounts).into_iter().flatten().next() {
        return Err(io::Error::other(format!("an additional mount can't be made: {why}")));
    }
    let users = users.map(File::open).transpose()?;
    for mount in mounts {
        let done = match &mount.what {
            Mounted::Host { source, recursive } => {
                let what = format!("mount {} at", source.display());
                let done = show((source, *recursive), mount, root, owner, users.as_ref());
                context(&what, &mount.target, done)
            }
            Mounted::Memory { size, mode } => {
                let done = remember((*size, *mode), mount, root, owner);
                context("mount memory at", &mount.target, done)
            }
        };
        done?;
    }
    Ok(())
}

fn show(
    (source, recursive): (&Path, bool),
    mount: &AdditionalMount,
    root: &Path,
    owner: u32,
    users: Option<&File>,
) -> io::Result<()> {
    let below = if recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let tree = idmap::tree(&resolved(source)?, below)?;
    let attributes = Attributes { users: users.map(AsFd::as_fd), recursive, read_only: mount.read_only };
    idmap::set(&tree, attributes).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::INVAL) if users.is_some() => io::Error::other(
            "its file system can't show files with other owners: keep it on ext4, XFS or btrfs, or set \
             EXECUTOR_USER_NAMESPACE=false",
        ),
        _ => error,
    })?;
    let is_directory = FileType::from_raw_mode(fstat(&tree)?.st_mode) == FileType::Directory;
    let place = place(root, &mount.target, owner, is_directory)?;
    idmap::attach(&tree, &place)
}

fn remember(
    (size, mode): (Option<u64>, Option<u32>),
    wanted: &AdditionalMount,
    root: &Path,
    owner: u32,
) -> io::Result<()> {
    let place = place(root, &wanted.target, owner, true)?;
    let size = size.map(|size| format!(",size={size}")).unwrap_or_default();
    let options = format!("mode={:o},uid={owner},gid={owner}{size}", mode.unwrap_or(OPEN_TO_ALL));
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    flags.set(MountFlags::RDONLY, wanted.read_only);
    mount(c"tmpfs", path_of(&place), c"tmpfs", flags, CString::new(options)?.as_c_str())?;
    Ok(())
}

/// The directory or the file at `target`, as seen from inside, made where it is missing. Links are followed as inside, so that
/// an image may have a directory elsewhere, but not to what is ours.
fn place(root: &Path, target: &Path, owner: u32, is_directory: bool) -> io::Result<OwnedFd> {
    let base = open(root, DIRECTORY, Mode::empty())?;
    let found =
        if is_directory { cwd::directory(&base, target, owner)?? } else { file(&base, target, owner)? };
    let path = fs::read_link(path_of(&found))?;
    let inside = path.strip_prefix(fs::read_link(path_of(&base))?).map(|below| Path::new("/").join(below));
    match inside.as_deref().map(why_not) {
        Ok(None) => Ok(found),
        Ok(Some(rule)) => Err(io::Error::other(format!("the image leads to {}, and {rule}", path.display()))),
        Err(_) => Err(io::Error::other("the image leads out of itself")),
    }
}

fn file(base: &OwnedFd, target: &Path, owner: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = |path: &Path| cwd::within(base, path, flags);
    let found = resolve(target);
    let (Err(Errno::NOENT), Some(above), Some(name)) = (&found, target.parent(), target.file_name()) else {
        return Ok(found?);
    };
    let above = cwd::directory(base, above, owner)??;
    let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made = openat(&above, name, new, Mode::from_raw_mode(0o644))?;
    chownat(made, "", Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)), AtFlags::EMPTY_PATH)?;
    Ok(resolve(target)?)
}

fn path_of(held: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", held.as_raw_fd()).into()
}
