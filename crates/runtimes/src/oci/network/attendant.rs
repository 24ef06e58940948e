//! A thread that starts the program which carries a job's packets, and stays with it.
//!
//! The kernel ends the program with the thread that has started it, however that ends: so whoever kills this
//! process ends the program as well, and nothing has to be found again.
#![expect(unsafe_code, reason = "what a child does before its program is unchecked")]

use super::namespace::{self, Namespace};
use super::netlink::Netlink;
use super::{Carrier, Ways};
use crate::fork::ignore_requests;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getppid, getrlimit, pidfd_open, pidfd_send_signal,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    Gid, LinkNameSpaceType, Uid, move_into_link_name_space, set_thread_gid, set_thread_groups, set_thread_uid,
};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use tokio::sync::watch;

/// Bytes of the thread's stack.
const STACK: usize = 128 << 10;
/// Bytes that are kept of what the program says.
const SAID: usize = 1 << 10;

/// Descriptors that the program may have: a connection of the job's takes one, and up to 256 KiB of memory.
const DESCRIPTORS: u64 = 2_048;
/// Bytes that it may map.
const MAPPED: u64 = 2 << 30;

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Coming,
    Up,
    /// Why, and what it said.
    Ended(String),
}

/// Keeps the program running; dropped, it ends.
#[derive(Debug)]
pub(super) struct Attendant {
    pub(super) state: watch::Receiver<State>,
    stop: OwnedFd,
}

/// What the thread works with.
struct Work {
    carrier: Carrier,
    namespace: Namespace,
    routes: Netlink,
    ways: Ways,
    name: String,
    stopped: OwnedFd,
    state: watch::Sender<State>,
}

impl Attendant {
    /// Starts the program for `namespace`; `dir` is told in its name, so that it is seen whose it is.
    pub(super) fn start(
        carrier: &Carrier,
        namespace: Namespace,
        routes: Netlink,
        ways: Ways,
        dir: &Path,
    ) -> io::Result<Self> {
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let (tell, state) = watch::channel(State::Coming);
        let name = dir.join(carrier.kind.name()).display().to_string();
        let carrier = carrier.clone();
        let work = Work { carrier, namespace, routes, ways, name, stopped, state: tell };
        std::thread::Builder::new()
            .name("network".to_owned())
            .stack_size(STACK)
            .spawn(move || work.live())?;
        Ok(Self { state, stop })
    }

    /// Ends the program, and waits until it has.
    pub(super) async fn close(self) {
        let Self { mut state, stop } = self;
        drop(stop);
        // The thread lets go of its end when it is done.
        while state.changed().await.is_ok() {}
    }
}

/// Limits this process to `most`, if it may have more.
fn lower(resource: Resource, most: u64) -> io::Result<()> {
    let least = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
    let Rlimit { current, maximum } = getrlimit(resource);
    Ok(setrlimit(resource, Rlimit { current: least(current), maximum: least(maximum) })?)
}

impl Work {
    fn live(mut self) {
        let why = match self.spawn() {
            Ok(child) => self.attend(child),
            Err(error) => format!("it could not be started: {error}"),
        };
        self.state.send_replace(State::Ended(why));
    }

    fn spawn(&self) -> io::Result<Child> {
        let namespace = self.namespace.try_clone()?;
        let mut command = Command::new(&self.carrier.path);
        command
            .arg0(&self.name)
            .args(self.carrier.arguments(self.ways))
            .env_clear()
            .current_dir("/")
            // Newer pastas close whatever else they inherit before they look at it.
            .stdin(namespace.net().try_clone_to_owned()?)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // What a terminal sends to the agent's group does not reach it.
            .process_group(0);
        let parent = Pid::from_raw(std::process::id().cast_signed());
        let enter = move || -> io::Result<()> {
            set_thread_groups(&[])?;
            if let Some(user) = namespace.user() {
                move_into_link_name_space(user, Some(LinkNameSpaceType::User))?;
                set_thread_gid(Gid::ROOT)?;
                set_thread_uid(Uid::ROOT)?;
            }
            // After that, since changing users revokes it.
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() != parent {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            // What a job does there counts against none of the job's own limits.
            lower(Resource::Nofile, DESCRIPTORS)?;
            lower(Resource::As, MAPPED)?;
            // Whoever signals all processes of a service means the agent.
            ignore_requests();
            Ok(())
        };
        // SAFETY: between fork and exec these are system calls only, on descriptors that the closure owns.
        unsafe { command.pre_exec(enter) };
        command.spawn()
    }

    /// Stays with the program; returns how it ended.
    fn attend(&mut self, mut child: Child) -> String {
        let mut said = Vec::new();
        let attended = self.watch(child.stderr.take(), child.id(), &mut said);
        let _ = child.kill();
        let ended = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty() && !is_noise(line));
        let ended = match attended {
            Ok(()) => ended,
            Err(error) => error.to_string(),
        };
        last.map_or_else(|| ended.clone(), |line| format!("{ended}: {line}"))
    }

    fn watch(&mut self, stderr: Option<ChildStderr>, process: u32, said: &mut Vec<u8>) -> io::Result<()> {
        let mut stderr = stderr.ok_or(io::ErrorKind::BrokenPipe)?;
        let process = Pid::from_raw(process.cast_signed()).ok_or(io::ErrorKind::NotFound)?;
        let process = pidfd_open(process, PidfdFlags::empty())?;
        rustix::io::ioctl_fionbio(&stderr, true)?;
        let (mut is_up, mut speaks) = (false, true);
        loop {
            let (nothing, readable) = (PollFlags::empty(), PollFlags::IN);
            // Who is not listened to any more is left out: what nobody reads would be told again and again.
            let (said_by, told_by) =
                (speaks.then_some(stderr.as_fd()), (!is_up).then_some(self.routes.as_fd()));
            let mut watched = [
                PollFd::new(&process, readable),
                PollFd::new(&self.stopped, nothing),
                PollFd::from_borrowed_fd(said_by.unwrap_or(process.as_fd()), readable),
                PollFd::from_borrowed_fd(told_by.unwrap_or(process.as_fd()), readable),
            ];
            retry_on_intr(|| poll(&mut watched, None))?;
            let [ended, stopped, spoke, told] = watched.each_ref().map(|fd| !fd.revents().is_empty());
            let (spoke, told) = (spoke && speaks, told && !is_up);
            if spoke {
                let mut words = [0; SAID];
                match stderr.read(&mut words) {
                    Ok(0) => speaks = false,
                    Ok(length) => {
                        said.extend(&words[..length]);
                        said.drain(..said.len().saturating_sub(SAID));
                    }
                    Err(_) => {}
                }
            }
            if stopped {
                let _ = pidfd_send_signal(&process, Signal::KILL);
                return Ok(());
            }
            if told && let Some(device) = namespace::carried(&self.routes)? {
                namespace::set_up(&mut self.routes, device, self.ways)?;
                is_up = true;
                self.state.send_replace(State::Up);
            }
            if ended && !spoke {
                return Ok(());
            }
        }
    }
}

/// What a release of pasta's says whenever there is no log of the system's.
fn is_noise(line: &str) -> bool {
    line.starts_with("Failed to send") || line.starts_with("WARNING: Support for")
}
