//! Where supervisors come from: a process of the agent's that has one thread and has read the configuration,
//! and makes each supervisor as a copy of itself.
//!
//! What they all have is in memory once then, and a new one is there sooner than a program is loaded. It is
//! started as a program itself, so that nothing of an agent's threads and of its jobs is in it, and it leaves
//! with its agent.

mod message;

pub(crate) use message::{Message, pair, receive, send};

use runtimes::{fork, give_back_memory, heed_requests, ignore_requests};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use rustix::thread::set_name;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// The life of a nursery, whose agent talks to it on its standard input. Returns in each supervisor, which has
/// its own link on its standard input then, with the directory that was made for it; and in the nursery itself
/// with nothing when the agent is gone. Call it while there is one thread.
pub fn nursery() -> io::Result<Option<PathBuf>> {
    ignore_requests();
    set_name(c"nursery")?;
    // What is left is in all copies.
    give_back_memory();
    let mut children: Vec<OwnedFd> = Vec::new();
    loop {
        let stdin = io::stdin();
        wait(stdin.as_fd(), &children)?;
        children.retain(lives);
        let asked = match receive(&stdin) {
            Ok(Some(asked)) => asked,
            Ok(None) => return Ok(None),
            // A child has ended.
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => continue,
            Err(fault) => return Err(fault),
        };
        let Message { text: dir, descriptor: Some(link) } = asked else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let answer = match fork(link).and_then(|pid| pid.map(held).transpose()) {
            Ok(None) => {
                set_name(c"supervisor")?;
                return Ok(Some(OsString::from_vec(dir).into()));
            }
            Ok(Some((text, child))) => {
                children.push(child.try_clone()?);
                Message { text, descriptor: Some(child) }
            }
            Err(fault) => Message { text: fault.to_string().into_bytes(), descriptor: None },
        };
        match send(&stdin, &answer) {
            // That the agent is gone is heard next.
            Err(fault) if fault.kind() != io::ErrorKind::BrokenPipe => return Err(fault),
            _ => {}
        }
    }
}

/// Catches requests to end, which supervisors leave to their agent to pass on, and lets others have their way in
/// what this process starts from now on. Call it in the tokio runtime of a supervisor.
pub fn catch_requests() -> io::Result<()> {
    let requests = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()];
    for kind in requests.into_iter().chain([SignalKind::user_defined2()]) {
        // Caught for good, whoever listens.
        drop(signal(kind)?);
    }
    heed_requests();
    Ok(())
}

/// The number of a child, and what names it as long as it is held.
fn held(child: Pid) -> io::Result<(Vec<u8>, OwnedFd)> {
    let number = child.as_raw_nonzero().to_string().into_bytes();
    Ok((number, pidfd_open(child, PidfdFlags::empty())?))
}

/// Waits until the agent says something or a child ends.
fn wait(agent: impl AsFd, children: &[OwnedFd]) -> io::Result<()> {
    let mut watched = vec![PollFd::new(&agent, PollFlags::IN)];
    watched.extend(children.iter().map(|child| PollFd::new(child, PollFlags::IN)));
    retry_on_intr(|| poll(&mut watched, None))?;
    Ok(())
}

/// Whether a child lives; one that does not is forgotten by the kernel as well.
fn lives(child: &OwnedFd) -> bool {
    let ended = waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    matches!(ended, Ok(None))
}
