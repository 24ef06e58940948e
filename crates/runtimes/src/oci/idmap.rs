//! Showing a directory with its owners translated.
#![expect(
    unsafe_code,
    reason = "mount_setattr(2) has no safe wrapper; the one call here passes a structure that outlives it"
)]

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

const OPEN_TREE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);

/// How what is mounted is seen. No file there gives whoever runs it rights, and none is a device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a> {
    /// An owner on disk is taken for one inside this user namespace, and seen as what that one is outside.
    pub(super) users: Option<BorrowedFd<'a>>,
    /// Also what is mounted below.
    pub(super) recursive: bool,
    /// Nothing can be written.
    pub(super) read_only: bool,
}

/// Mounts the directory `from` at `at`, as it is seen with `users`. Mounts below `from` are left out.
pub(super) fn mount_mapped(from: &Path, at: &Path, users: BorrowedFd<'_>) -> io::Result<()> {
    let tree = open_tree(CWD, from, OPEN_TREE)?;
    set(&tree, Attributes { users: Some(users), recursive: false, read_only: false })?;
    move_mount(&tree, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

/// What is seen at `from`, on the way to which there is no link, mounted nowhere yet.
pub(super) fn tree(from: &Path, more: OpenTreeFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let from = openat2(CWD, from, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    Ok(open_tree(&from, "", OPEN_TREE | OpenTreeFlags::AT_EMPTY_PATH | more)?)
}

/// Mounts a tree at what is held open.
pub(super) fn attach(tree: &OwnedFd, at: &OwnedFd) -> io::Result<()> {
    let by_number = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, c"", at, c"", by_number)?)
}

/// Has a tree that is mounted nowhere yet be seen so.
pub(super) fn set(tree: &OwnedFd, how: Attributes<'_>) -> io::Result<()> {
    let Attributes { users, recursive, read_only } = how;
    let mut attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    if let Some(users) = users {
        attributes.attr_set |= libc::MOUNT_ATTR_IDMAP;
        attributes.userns_fd = u64::from(users.as_raw_fd().cast_unsigned());
    }
    if read_only {
        attributes.attr_set |= libc::MOUNT_ATTR_RDONLY;
    }
    let below = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the kernel reads the path, which ends with a NUL byte, and as many bytes of the structure as
    // it is told that there are; both live as long as the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | below,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
