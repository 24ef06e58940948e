//! Root of a user namespace: what an ordinary user becomes before jobs can run.
//!
//! Inside, 0 is the user, and the numbers from 1 on are those that `/etc/subuid` and `/etc/subgid` give it.
//! Only a program of the host's may write so much of a map; it must be run from outside, so a process of
//! ours stays there for a moment.
#![expect(
    unsafe_code,
    reason = "unshare(2) has no safe wrapper, since it can also split file descriptor tables"
)]

mod ids;
mod writer;

pub(crate) use writer::{ROLE, main};

use crate::RuntimeError;
use crate::oci::Helper;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::ffi::OsStr;
use std::fs;
use writer::{Order, Writer};

/// What `/proc/self/uid_map` says of a process in the host's own user namespace.
const EVERYTHING: [&str; 3] = ["0", "0", "4294967295"];

/// Makes the calling process, which must have one thread, root of a user namespace of its own.
///
/// # Errors
/// What the user or the host lacks, and what mends it. Unless the kernel was too late in refusing, nothing
/// has changed then.
pub fn become_root(helper: &Helper, search_path: &OsStr) -> Result<(), RuntimeError> {
    let order = Order::find(search_path)?;
    let mut writer =
        Writer::start(helper, &order).map_err(RuntimeError::io("start what maps users of jobs"))?;
    // SAFETY: only `FILES` can break another thread's view of its descriptors, and it is not set.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }.map_err(|error| {
        RuntimeError::Host(format!(
            "no user namespace can be made: {error}; see user.max_user_namespaces and, where they are there, \
             kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns, or run executor as root"
        ))
    })?;
    writer.write().map_err(|why| {
        RuntimeError::Host(format!(
            "{} did not map the users of jobs: {why}; see that it has the right to (setuid root, or CAP_SETUID), or \
             run executor as root",
            order.uids.program.display()
        ))
    })
}

/// Whether the calling process has rights over a part of the host's users only.
pub(crate) fn is_inside() -> bool {
    // Where it can't be read, the kernel has none.
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !is_everything(&map))
}

/// How many users there are here, root among them.
pub(crate) fn size() -> u64 {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum()
}

fn is_everything(map: &str) -> bool {
    map.split_whitespace().eq(EVERYTHING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_told_from_everything() {
        assert!(is_everything("         0          0 4294967295\n"));
        for map in ["0 0 4294967294\n", "0 1000 1\n1 100000 65536\n", "1 0 4294967295\n", ""] {
            assert!(!is_everything(map), "{map:?}");
        }
    }
}
