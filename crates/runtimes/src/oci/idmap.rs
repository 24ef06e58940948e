//! Showing a directory with its owners translated.
#![expect(
    unsafe_code,
    reason = "mount_setattr(2) has no safe wrapper; the one call here passes a structure that outlives it"
)]

use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

/// Mounts the directory `from` at `at`. An owner on disk is taken for one inside the user namespace `users`,
/// and seen as what that one is outside. Mounts below `from` are left out. No file there gives whoever runs it
/// rights, and none is a device.
pub(super) fn mount_mapped(from: &Path, at: &Path, users: BorrowedFd<'_>) -> io::Result<()> {
    let tree = open_tree(CWD, from, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(users.as_raw_fd().cast_unsigned()),
    };
    // SAFETY: the kernel reads the path, which ends with a NUL byte, and as many bytes of the structure as
    // it is told that there are; both live as long as the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    move_mount(&tree, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}
