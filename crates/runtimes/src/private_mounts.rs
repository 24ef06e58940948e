//! The mount namespace that volumes are mounted in.
//!
//! Disks of jobs are mounted where only this process and what it starts can see them. The kernel
//! unmounts them when the last of these processes is gone, so that nothing is left on the host
//! even when the agent is killed with SIGKILL.
#![expect(
    unsafe_code,
    reason = "unshare(2) has no safe wrapper, since it can also split file descriptor tables"
)]

use crate::{RuntimeError, user_namespace};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Proof that the calling thread's mounts are its own.
#[derive(Debug, Clone, Copy)]
pub struct PrivateMounts {
    /// Whether they are those of a user namespace, and not of the host's root.
    ordinary: bool,
}

impl PrivateMounts {
    /// Whether this process is no more than an ordinary user to the host, and root in a user namespace only.
    pub fn of_ordinary_user(self) -> bool {
        self.ordinary
    }
}

/// Gives the calling thread, and every thread and process that it will start, a mount namespace
/// of its own. Call it first thing in `main`, before threads are started: threads that already
/// run keep the old one and would not see the disks of jobs.
///
/// Mounts that the host makes later still appear here; ours never appear on the host.
pub fn private_mounts() -> Result<PrivateMounts, RuntimeError> {
    let ordinary = user_namespace::is_inside();
    let needs = if ordinary {
        "get a mount namespace of its own in a user namespace (AppArmor may forbid it: see \
         kernel.apparmor_restrict_unprivileged_userns, or run executor as root)"
    } else {
        "get a mount namespace of its own (this needs root, or CAP_SYS_ADMIN in a container)"
    };
    split(MountPropagationFlags::DOWNSTREAM).map_err(RuntimeError::io(needs))?;
    Ok(PrivateMounts { ordinary })
}

/// As [`private_mounts`], but mounts of the host don't appear here either.
pub(crate) fn sealed_mounts() -> std::io::Result<()> {
    split(MountPropagationFlags::PRIVATE)
}

fn split(propagation: MountPropagationFlags) -> std::io::Result<()> {
    // SAFETY: only `FILES` can break another thread's view of its descriptors, and it is not set.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", propagation | MountPropagationFlags::REC)?;
    Ok(())
}
