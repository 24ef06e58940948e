//! How a step's first process really ended.
//!
//! crun in the foreground tells it as a shell does, where 137 may be a code or a signal. The kernel
//! (6.15 and later) keeps the truth for whoever held a descriptor of the process while it lived. So
//! that process is looked for once the step is on its way; a step that is over before it was found, or
//! an older kernel, leaves a code a code.
#![expect(
    unsafe_code,
    reason = "ioctl(2) is typed by its number only; the one call here names its argument's type"
)]

use rustix::ioctl::{Updater, ioctl, opcode};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::task::JoinHandle;

/// When to look first; then after twice as long each time.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LOOKS: u32 = 9;

/// `struct pidfd_info` of `linux/pidfd.h`, in its first form.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    /// pid, tgid, ppid and four pairs of user and group.
    numbers: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64, "the size that the kernel knows");

const PIDFD_GET_INFO: u32 = opcode::read_write::<PidfdInfo>(0xFF, 11);
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// Looks for the first process of a step, and holds on to it.
#[derive(Debug)]
pub(super) struct Witness(JoinHandle<Option<OwnedFd>>);

impl Witness {
    /// Of the step that this launcher has started by now, or the other half of it if it [splits](super::own_processes).
    pub(super) fn of(launcher: u32, splits: bool) -> Self {
        Self(tokio::spawn(async move {
            let mut pause = FIRST_LOOK;
            for _ in 0..LOOKS {
                tokio::time::sleep(pause).await;
                pause *= 2;
                let runtime = if splits { only_child(launcher) } else { Some(launcher) };
                if let Some(found) = runtime.and_then(first_process) {
                    return Some(found);
                }
            }
            None
        }))
    }

    /// The signal that ended the process, which is gone; `None` if it ended by itself, or nobody knows.
    pub(super) async fn signal(self) -> Option<i32> {
        // One that was not found while it was there won't be now.
        self.0.abort();
        terminating_signal(&self.0.await.ok()??)
    }
}

fn only_child(launcher: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{launcher}/task/{launcher}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// The child of `runtime` that is the first in a namespace of its own.
fn first_process(runtime: u32) -> Option<OwnedFd> {
    let children = fs::read_to_string(format!("/proc/{runtime}/task/{runtime}/children")).ok()?;
    children.split_whitespace().find_map(|child| {
        let pid = Pid::from_raw(child.parse().ok()?)?;
        let held = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // What is read after it was opened is of this very process, or of none.
        let status = fs::read_to_string(format!("/proc/{child}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let is_child = field("PPid:")?.trim() == runtime.to_string();
        let numbers = field("NSpid:")?.split_whitespace().skip(1);
        (is_child && numbers.last() == Some("1")).then_some(held)
    })
}

fn terminating_signal(process: &OwnedFd) -> Option<i32> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: PIDFD_GET_INFO reads and fills a `struct pidfd_info` of the size in its number, whose layout
    // is asserted above.
    unsafe { ioctl(process.as_fd(), Updater::<PIDFD_GET_INFO, PidfdInfo>::new(&mut info)) }.ok()?;
    // As wait(2) has it: the signal is in the lowest seven bits.
    let signal = info.exit_code & 0x7F;
    (info.mask & PIDFD_INFO_EXIT != 0 && signal != 0).then_some(signal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn signal_of(script: &str) -> Option<i32> {
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let held = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        terminating_signal(&held)
    }

    #[test]
    fn a_signal_is_told_from_a_code_where_the_kernel_keeps_it() {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let keeps = (numbers.next(), numbers.next()) >= (Some(6), Some(15));
        assert_eq!(signal_of("kill -9 $$"), keeps.then_some(9), "on {release}");
        assert_eq!(signal_of("exit 137"), None);
    }
}
