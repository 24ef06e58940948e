//! How a process with one thread comes into a group, at little cost.
//!
//! To move a process by `cgroup.procs` the kernel stops all others from forking, for which it waits until each processor has
//! heard of that: ten milliseconds and more. It does not for a thread that moves itself, which version 1 can, nor for a
//! process that is made in a group, which version 2 can.

use super::Group;
use rustix::fs::{Mode, OFlags, open};
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What there is to enter: nothing, unless somebody says so.
#[derive(Debug, Default)]
pub(crate) struct Entrances {
    /// The lists of version 1 to which a thread writes `0`.
    pub(crate) lists: Vec<CString>,
    /// The group of version 2, to make a process in.
    pub(crate) unified: Option<OwnedFd>,
    /// Its list, for a process that was made elsewhere.
    pub(crate) unified_list: Option<CString>,
}

impl Group {
    /// Opens them.
    pub(crate) fn entrances(&self) -> io::Result<Entrances> {
        let mut v1: Vec<&Path> = self.directories.v1.iter().map(|(_, path)| path.as_path()).collect();
        v1.sort_unstable();
        v1.dedup();
        let text =
            |path: &Path, list| Ok::<_, io::Error>(CString::new(path.join(list).as_os_str().as_bytes())?);
        let v2 = self.directories.v2.as_deref();
        let held = |path| open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Entrances {
            lists: v1.into_iter().map(|path| text(path, "tasks")).collect::<Result<_, _>>()?,
            unified: v2.map(held).transpose()?,
            unified_list: v2.map(|path| text(path, "cgroup.procs")).transpose()?,
        })
    }
}
