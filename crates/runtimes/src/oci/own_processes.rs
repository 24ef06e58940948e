//! A process namespace for everything that starts a step and is started by it, where control groups can't
//! be had.
//!
//! The launcher splits in two. The one inside is the first process of the namespace: it starts the step, and
//! with it all others there end, by the kernel's hand. The one outside waits: it ends when, and as, the one
//! inside does, and not before nothing of the namespace is left. It ends that when whoever runs the job is
//! gone; and should it be killed itself, the kernel does.
#![expect(unsafe_code, reason = "fork(2) and unshare(2) have no safe wrapper")]

use super::launcher::{FAILED, Place, ROLE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::mount::{MountFlags, mount};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, pidfd_send_signal,
    set_parent_process_death_signal, waitpid,
};
use rustix::thread::{UnshareFlags, set_thread_groups, unshare_unsafe};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long killed processes may take to go.
const KILL_LIMIT: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Puts a copy of this process, which must have one thread, into a process namespace of its own. Returns
/// nothing in the copy, and what to end with in this one.
pub(crate) fn split() -> io::Result<Option<u8>> {
    // SAFETY: only `FILES` can break another thread's view of its descriptors, and it is not set.
    unsafe { unshare_unsafe(UnshareFlags::NEWPID) }?;
    let outside = pidfd_open(getpid(), PidfdFlags::empty())?;
    // SAFETY: there is one thread, so what the copy finds is whole.
    match unsafe { libc::fork() } {
        0 => {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if has_ended(&outside) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            // The user's other groups are no business of its jobs, and may open what numbers don't.
            set_thread_groups(&[])?;
            Ok(None)
        }
        inside => {
            let inside = Pid::from_raw(inside).ok_or_else(io::Error::last_os_error)?;
            wait_outside(inside).map(Some)
        }
    }
}

/// Shows the namespace's own processes, in a mount namespace of its own.
pub(super) fn show() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount(c"proc", c"/proc", c"proc", flags, None)?)
}

/// Takes the control groups that this process is in for the roots of their hierarchies, which only root of the
/// host could mount.
pub(super) fn take_groups_for_roots() -> io::Result<()> {
    // SAFETY: only `FILES` can break another thread's view of its descriptors, and it is not set.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWCGROUP) }?)
}

fn wait_outside(inside: Pid) -> io::Result<u8> {
    let held = pidfd_open(inside, PidfdFlags::empty())?;
    let stdin = io::stdin();
    loop {
        // Of the pipe only its end is asked for, since what is in it is for the other.
        let mut watched = [PollFd::new(&held, PollFlags::IN), PollFd::new(&stdin, PollFlags::empty())];
        retry_on_intr(|| poll(&mut watched, None))?;
        if watched[1].revents().contains(PollFlags::HUP) {
            let _ = pidfd_send_signal(&held, Signal::KILL);
            break;
        }
        if !watched[0].revents().is_empty() {
            break;
        }
    }
    let ended = retry_on_intr(|| waitpid(Some(inside), WaitOptions::empty()))?;
    let Some((_, status)) = ended else { return Err(io::ErrorKind::NotFound.into()) };
    if let Some(signal) = status.terminating_signal() {
        // Whoever waits for this one is to know. Should it not be deadly to this one, a failure is said.
        if let Some(signal) = Signal::from_named_raw(signal) {
            let _ = kill_process(getpid(), signal);
        }
        return Ok(FAILED);
    }
    let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
    Ok(code.unwrap_or(FAILED))
}

/// Kills every launcher that an agent with its files in `dir` has started, and with it what that has.
pub(super) fn end_all_of(dir: &Path) {
    let begun_in = |process: u32| {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).skip_while(|word| *word != ROLE.as_bytes()).skip(1);
        let place = words.next().and_then(|place| serde_json::from_slice::<Place>(place).ok());
        place.is_some_and(|place| place.here.starts_with(dir))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    for process in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let held =
            Pid::from_raw(process.cast_signed()).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // What is read after it was opened is of this very process, or of none.
        if let Some(held) = held.filter(|_| begun_in(process)) {
            let _ = pidfd_send_signal(&held, Signal::KILL);
        }
    }
}

/// The namespace of a launcher that has split, seen from outside.
#[derive(Debug)]
pub(super) struct Inside {
    first: Pid,
    held: OwnedFd,
}

impl Inside {
    /// That of this launcher, if it is there already, and there yet.
    pub(super) fn of(launcher: u32) -> Option<Self> {
        children(launcher).into_iter().find_map(|child| {
            let first = Pid::from_raw(child.cast_signed())?;
            let held = pidfd_open(first, PidfdFlags::empty()).ok()?;
            // What is read after it was opened is of this very process, or of none.
            let status = fs::read_to_string(format!("/proc/{child}/status")).ok()?;
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
            (parent.trim() == launcher.to_string()).then_some(Self { first, held })
        })
    }

    /// The number of its first process.
    pub(super) fn first(&self) -> u32 {
        self.first.as_raw_nonzero().get().cast_unsigned()
    }

    /// Sends `signal` to all that was started inside, without waiting for any effect.
    pub(super) fn signal(&self, signal: Signal) {
        let mut found = children(self.first());
        let mut next = 0;
        while let Some(process) = found.get(next).copied() {
            next += 1;
            found.extend(children(process));
        }
        // A number may be another process's by now; one that is no longer inside is left alone.
        for process in found {
            let Some(pid) = Pid::from_raw(process.cast_signed()) else { continue };
            let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if self.has(process) {
                let _ = pidfd_send_signal(&held, signal);
            }
        }
    }

    fn has(&self, mut process: u32) -> bool {
        while process != 0 && process != self.first() {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
            process = parent.unwrap_or(0);
        }
        process != 0
    }

    /// Kills everything inside and returns when nothing is left.
    pub(super) async fn kill(&self) -> io::Result<()> {
        let _ = pidfd_send_signal(&self.held, Signal::KILL);
        let (begun, mut pause) = (Instant::now(), Duration::from_micros(200));
        while !has_ended(&self.held) {
            if begun.elapsed() >= KILL_LIMIT {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "processes of a sandbox outlive SIGKILL",
                ));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }
}

/// Whether the process has ended. The first of a namespace has only when all others there are gone.
fn has_ended(process: impl AsFd) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&at_once)).is_ok_and(|ended| ended > 0)
}

fn children(process: u32) -> Vec<u32> {
    // Of each thread, since any of them may have started one.
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().filter_map(Result::ok);
    let listed = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    listed
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}
