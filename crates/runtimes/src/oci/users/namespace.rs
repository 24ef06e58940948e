//! User namespaces without anybody in them: translations of owners, held open by a descriptor.
//!
//! A process with threads can't enter a user namespace, and needn't: a copy of it makes one and leaves once it
//! is held.
#![expect(
    unsafe_code,
    reason = "unshare(2) has no safe wrapper, and what a copy and a child before its program do is unchecked"
)]

use crate::fork::copy_unchecked_for;
use crate::oci::Helper;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Gid, Uid};
use rustix::thread::{UnshareFlags, set_thread_gid, set_thread_uid, unshare_unsafe};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

/// What [`crate::oci::helper_main`] calls this.
pub(in crate::oci) const ROLE: &str = "namespace";
/// How long a process of ours may take to answer, in seconds: a millisecond, but on a busy host.
const ANSWER_LIMIT: i64 = 10;
/// Bytes of an answer.
const LONGEST_ANSWER: usize = 512;
const READY: &str = "ready";
/// What the trial's child fails with once it has come through.
const CAME_THROUGH: i32 = libc::ECANCELED;

/// Makes a namespace in which `size` ids from `inside` on are those from `outside` on.
pub(super) fn make(inside: u32, outside: u32, size: u32) -> io::Result<OwnedFd> {
    let mut maker = Maker::copy(UnshareFlags::NEWUSER)?;
    let held = maker.hold(inside, outside, size)?;
    drop(maker.child.stdin.take());
    maker.child.wait()?;
    Ok(held)
}

/// Makes a namespace with one user, root, who is `outside`, and a network namespace over which that has all
/// rights. In this order.
pub(in crate::oci) fn make_with_network(outside: u32) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut maker = Maker::copy(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
    let users = maker.hold(0, outside, 1)?;
    let network = File::open(format!("/proc/{}/ns/net", maker.child.id()))?.into();
    drop(maker.child.stdin.take());
    maker.child.wait()?;
    Ok((users, network))
}

/// Whether processes in a user namespace can have a `/proc` and a `/sys` of their own, as every container
/// has. The kernel refuses them to hosts' containers from which parts of these are hidden.
pub(super) fn try_out(helper: &Helper, outside: u32, size: u32) -> io::Result<()> {
    let mut maker = Maker::start(helper)?;
    maker.hear()?;
    maker.hold(0, outside, size)?;
    drop(maker.child.stdin.take());
    maker.hear()
}

/// The process that makes a namespace.
struct Maker {
    child: Child,
    says: ChildStdout,
}

impl Maker {
    /// One that tries its namespace out, and says how that went.
    fn start(helper: &Helper) -> io::Result<Self> {
        Self::begin(&mut helper.command(ROLE))
    }

    /// One that is in its namespaces when this returns, and only stays there until it is let go.
    fn copy(namespaces: UnshareFlags) -> io::Result<Self> {
        let mut command = Command::new("a copy");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // SAFETY: both make system calls only.
        unsafe { copy_unchecked_for(&mut command, move || split(namespaces), stay) };
        Self::begin(&mut command)
    }

    fn begin(command: &mut Command) -> io::Result<Self> {
        let mut child = command.spawn()?;
        let says = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, says })
    }

    /// Gives its namespace its ids, and takes hold of it.
    fn hold(&mut self, inside: u32, outside: u32, size: u32) -> io::Result<OwnedFd> {
        let process = format!("/proc/{}", self.child.id());
        let map = format!("{inside} {outside} {size}\n");
        fs::write(format!("{process}/uid_map"), &map)?;
        fs::write(format!("{process}/gid_map"), &map)?;
        Ok(File::open(format!("{process}/ns/user"))?.into())
    }

    /// Hears that it is done, or why not.
    fn hear(&mut self) -> io::Result<()> {
        let limit = Timespec { tv_sec: ANSWER_LIMIT, tv_nsec: 0 };
        // The agent hears of its children's ends by signals, and any thread may be the one that is told.
        let answers = || poll(&mut [PollFd::new(&self.says, PollFlags::IN)], Some(&limit));
        if retry_on_intr(answers)? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {ANSWER_LIMIT} s"),
            ));
        }
        // An answer is written at once and fits the pipe.
        let mut said = [0; LONGEST_ANSWER];
        let length = retry_on_intr(|| rustix::io::read(&self.says, &mut said[..]))?;
        let said = String::from_utf8_lossy(&said[..length]);
        if said == READY { Ok(()) } else { Err(io::Error::other(said.into_owned())) }
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        // It may be stopped, or not be asked any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until whoever started this process lets it go.
fn stay() -> u8 {
    let let_go = retry_on_intr(|| rustix::io::read(rustix::stdio::stdin(), &mut [0; 1]));
    u8::from(let_go.is_err())
}

/// The life of a process that tries a namespace out.
pub(in crate::oci) fn main() -> ExitCode {
    let lived = say(&split(UnshareFlags::NEWUSER))
        .and_then(|()| io::stdin().lock().read_to_end(&mut Vec::new()))
        .and_then(|_| say(&mount_own()));
    if lived.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(done: &io::Result<()>) -> io::Result<()> {
    let said = done.as_ref().err().map_or_else(|| READY.to_owned(), ToString::to_string);
    let mut stdout = io::stdout();
    stdout.write_all(said.as_bytes()).and_then(|()| stdout.flush())
}

fn split(what: UnshareFlags) -> io::Result<()> {
    // SAFETY: only `FILES` can break another thread's view of its descriptors, and it is not set.
    Ok(unsafe { unshare_unsafe(what) }?)
}

/// Mounts what depends on namespaces in new ones.
fn mount_own() -> io::Result<()> {
    set_thread_gid(Gid::ROOT)?;
    set_thread_uid(Uid::ROOT)?;
    split(UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWNET | UnshareFlags::NEWIPC)?;
    let mut first = Command::new("/proc/self/exe");
    let mounts = || -> io::Result<()> {
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount(c"proc", c"/proc", c"proc", flags, None)?;
        mount(c"sysfs", c"/sys", c"sysfs", flags | MountFlags::RDONLY, None)?;
        Err(io::Error::from_raw_os_error(CAME_THROUGH))
    };
    // SAFETY: between fork and the end of the child, which has no other thread, these are system calls only.
    match unsafe { first.pre_exec(mounts) }.spawn() {
        Err(error) if error.raw_os_error() == Some(CAME_THROUGH) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("the trial ran a program")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;
    use tokio::signal::unix::{SignalKind, signal};

    #[test]
    fn signals_of_other_things_do_not_end_the_wait_for_an_answer() {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _handler = tokio.block_on(async { signal(SignalKind::user_defined1()) }).unwrap();
        let args = ["-c", "sleep 0.2; printf ready"].map(OsString::from).to_vec();
        let mut maker = Maker::start(&Helper::new("/bin/sh", args)).unwrap();
        // SAFETY: it takes nothing and can't fail.
        let waiting = unsafe { libc::pthread_self() };
        let heard = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !heard.load(Ordering::Relaxed) {
                    // SAFETY: the thread lives as long as this scope, and has a handler for the signal.
                    assert_eq!(unsafe { libc::pthread_kill(waiting, libc::SIGUSR1) }, 0);
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let answer = maker.hear();
            heard.store(true, Ordering::Relaxed);
            answer.unwrap();
        });
    }
}
