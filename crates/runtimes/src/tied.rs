//! Programs on this host that work for a job, tied to whoever runs it: nothing that one has started is left once it
//! has ended, or once the process that started it has, however that came about.
//!
//! Between the two is a *keeper*, the first process of a process namespace in which are the program and all that it
//! starts. When the program ends, and when a pipe closes whose other end only the process has that runs the job, it
//! kills everything else in there, and ends once that is gone. Who is inside can neither leave nor end the keeper. If
//! somebody else kills it, the kernel does the rest, and tells nobody of the keeper's end before that is done; the
//! lock that says that a sandbox is in use is given back some moments sooner then.
//!
//! Other ties are weaker: a parent's death signal is sent when a *thread* ends, and to children only; a control group
//! needs somebody who lives to kill it, and ordinary users may have none.
//!
//! The program is the job's in what it uses, too: it runs in the control groups of the sandbox, where that has some, and is
//! among the first that the kernel kills when the host is out of memory. The keeper stays outside of these groups: it is
//! needed when they are out of memory.
//!
//! Who may not make process namespaces (`EPERM`), as the user of a container engine who is no root, has a keeper nevertheless:
//! whatever loses its parent becomes its child, and in the end it kills its children until there are none. There a
//! program that kills the keeper leaves behind what it has started, and one that stops it at once holds up whoever starts
//! it; but it could kill or stop the agent as well: both are the same user's.
#![expect(
    unsafe_code,
    reason = "unshare(2), kill(2) of all and signalfd(2) have no safe wrapper, and what a copy does is unchecked"
)]

use crate::cgroup::{Entrances, Group, Reading};
use crate::fork::{close_all_but_streams, hear_no_signals};
use crate::{Cause, Limits};
use image::Image;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, chdir, getpid, kill_process, set_child_subreaper, wait,
};
use rustix::stdio;
use rustix::thread::{UnshareFlags, set_name, unshare_unsafe};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// A keeper's name among processes.
const NAME: &CStr = c"keeper";
/// What a keeper ends with that can't be one.
const FAILED: u8 = 125;
/// How long what was killed may take to go. Processes in uninterruptible sleep go when their disk answers.
const END_LIMIT: Duration = Duration::from_secs(10);
/// How long a killed keeper may take to go.
const KILL_LIMIT: Duration = Duration::from_secs(1);
/// How often children are killed where there is no namespace, and the pause between, which the end of one cuts short.
const SWEEPS: u32 = 500;
const SWEEP_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
const CHILDREN: &CStr = c"/proc/thread-self/children";
/// Bytes of their list that are read at a time.
const LIST: usize = 4096;

/// How programs on this host are started for one job.
#[derive(Debug, Clone, Default)]
pub struct HostPrograms {
    /// What proves that its sandbox is in use. It stays locked until all of these programs are gone, also where the
    /// process that has started them is gone sooner: the job is not given away before that.
    held: Option<Arc<File>>,
    account: Option<Account>,
}

/// What counts what the programs of a job use, and limits it.
#[derive(Debug, Clone)]
struct Account {
    group: Group,
    limits: Limits,
}

/// A program that runs on this host for a job. Once this is dropped, all of it ends.
#[derive(Debug)]
pub struct HostProgram {
    /// Its standard output, where that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, where that is a pipe.
    pub stderr: Option<ChildStderr>,
    keeper: Child,
    lifeline: OwnedFd,
    account: Option<(Account, Reading)>,
}

impl HostPrograms {
    /// For a job whose sandbox is in use as long as `lock` is open somewhere.
    pub(crate) fn holding(lock: &Arc<File>) -> Self {
        Self { held: Some(Arc::clone(lock)), account: None }
    }

    /// The same, in `group`, which has these limits.
    pub(crate) fn counted(self, group: &Group, limits: Limits) -> Self {
        Self { account: Some(Account { group: group.clone(), limits }), ..self }
    }

    /// Starts one, whose environment is what was set for it and nothing else. Call it in a tokio runtime; it returns
    /// when the program runs.
    ///
    /// # Errors
    /// Those of [`Command::spawn`], and when there can't be a process namespace although this user may make them. Then
    /// nothing has been started.
    pub fn start(&self, command: Command) -> io::Result<HostProgram> {
        self.start_by(command, leave_namespace)
    }

    /// The same; `apart` says whether what the calling thread starts from then on is in a process namespace of its own.
    fn start_by(&self, mut command: Command, apart: fn() -> io::Result<bool>) -> io::Result<HostProgram> {
        let groups =
            self.account.as_ref().map_or(Ok(Entrances::default()), |account| account.group.entrances())?;
        let mut image = Image::of(command.as_std(), groups)?;
        let account = self.account.clone().map(|account| {
            let before = account.group.read();
            (account, before)
        });
        let (hears, lifeline) = pipe_with(PipeFlags::CLOEXEC)?;
        let (runtime, held) = (Handle::current(), self.held.clone());
        // The namespace is of a thread, for all that this starts later: so it is a thread that starts nothing else.
        let start = move || {
            let _inside = runtime.enter();
            let apart = apart()?;
            let tie = move || Err(split(apart, &mut image, &hears, held.as_deref()));
            // SAFETY: it makes system calls only.
            unsafe { command.pre_exec(tie) };
            command.spawn()
        };
        let started = thread::Builder::new().spawn(start)?.join();
        let mut keeper = started.unwrap_or_else(|_| Err(io::Error::other("starting it panicked")))?;
        let (stdout, stderr) = (keeper.stdout.take(), keeper.stderr.take());
        Ok(HostProgram { stdout, stderr, keeper, lifeline, account })
    }
}

impl HostProgram {
    /// Waits until it has ended and nothing of it is left. A signal that ended it is told as shells do, by a code from
    /// 128 on.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.keeper.wait().await
    }

    /// Which limit of its job's it met, if it failed for one: memory, where its sandbox has control groups.
    pub fn cause(&self, status: ExitStatus) -> Option<Cause> {
        let (Account { group, limits }, before) = self.account.as_ref()?;
        crate::oci::out_of_memory(status.success(), limits, (*before, group.read()))
    }

    /// Ends it, and waits until nothing of it is left.
    ///
    /// # Errors
    /// When that takes too long. Its keeper is killed then: one that a program has stopped would hold the lock for ever.
    pub async fn end(self) -> io::Result<()> {
        self.end_within(END_LIMIT).await
    }

    async fn end_within(self, limit: Duration) -> io::Result<()> {
        let Self { mut keeper, lifeline, .. } = self;
        drop(lifeline);
        if let Ok(ended) = timeout(limit, keeper.wait()).await {
            return ended.map(drop);
        }
        keeper.start_kill()?;
        // At once, but for a namespace in which something still does not go.
        let _ = timeout(KILL_LIMIT, keeper.wait()).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, "it did not end in time, and its keeper was killed"))
    }
}

/// Whether what this thread starts from now on is in a process namespace of its own, which not everybody may have.
fn leave_namespace() -> io::Result<bool> {
    // SAFETY: only `FILES` can break another thread's view of its descriptors, and it is not set.
    is_apart(unsafe { unshare_unsafe(UnshareFlags::NEWPID) })
}

/// Only who has no right to one goes without: whatever else is the matter would weaken the tie unseen.
fn is_apart(made: Result<(), Errno>) -> io::Result<bool> {
    let help = match made {
        Ok(()) => return Ok(true),
        Err(Errno::PERM) => return Ok(false),
        Err(Errno::NOSPC) => ": raise user.max_pid_namespaces, or nest fewer containers",
        Err(_) => "",
    };
    made.map(|()| true).map_err(|fault| {
        let fault = io::Error::from(fault);
        io::Error::new(fault.kind(), format!("can't make a process namespace: {fault}{help}"))
    })
}

/// Starts the program, and becomes its keeper. Returns only if it can't.
fn split(apart: bool, image: &mut Image, hears: &OwnedFd, held: Option<&File>) -> io::Error {
    let named = set_name(NAME).map_err(io::Error::from);
    let ready = if apart { named } else { named.and_then(|()| Ok(set_child_subreaper(Some(getpid()))?)) };
    match ready.and_then(|()| image.start()) {
        Ok(program) => {
            let ended = keep(program, apart, hears, held).unwrap_or(FAILED);
            // SAFETY: it does not return, and nobody else is there.
            unsafe { libc::_exit(ended.into()) }
        }
        Err(fault) => fault,
    }
}

/// The life of a keeper, which returns what to end with.
fn keep(program: Pid, apart: bool, hears: &OwnedFd, held: Option<&File>) -> io::Result<u8> {
    hear_no_signals();
    // It is never closed in good order.
    let ends = ManuallyDrop::new(ends_of_children()?);
    // What is open in the one that it is a copy of says elsewhere that this one lives.
    stdio::dup2_stdin(hears)?;
    stdio::dup2_stdout(&*ends)?;
    match held {
        Some(held) => stdio::dup2_stderr(held)?,
        None => stdio::dup2_stderr(hears)?,
    }
    close_all_but_streams()?;
    chdir(c"/")?;
    let ended = loop {
        let ended = reap(program)?;
        if ended.is_some() || is_let_go()? {
            break ended;
        }
    };
    let emptied = if apart { empty_namespace() } else { sweep() };
    emptied?;
    // Where nobody wants it any more, nobody asks how it ended.
    Ok(ended.map_or(FAILED, code))
}

/// Waits until a child may have ended, or the process that wants the program does not any more; whether that is so.
fn is_let_go() -> io::Result<bool> {
    let (lifeline, ends) = (stdio::stdin(), stdio::stdout());
    let mut watched = [PollFd::new(&lifeline, PollFlags::empty()), PollFd::new(&ends, PollFlags::IN)];
    retry_on_intr(|| poll(&mut watched, None))?;
    forget_ends();
    Ok(watched[0].revents().contains(PollFlags::HUP))
}

/// That there was something to reap says no more once it is reaped.
fn forget_ends() {
    let _ = rustix::io::read(stdio::stdout(), &mut [0; size_of::<libc::signalfd_siginfo>()]);
}

/// Takes note of all that has ended; how the program did, if it is among them.
fn reap(program: Pid) -> io::Result<Option<WaitStatus>> {
    let mut ended = None;
    loop {
        match retry_on_intr(|| wait(WaitOptions::NOHANG)) {
            Ok(Some((process, status))) if process == program => ended = Some(status),
            Ok(Some(_)) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(ended),
            Err(fault) => return Err(fault.into()),
        }
    }
}

/// Kills whatever else is in the namespace whose first process this is, and waits until it is gone. The kernel would do
/// that at this one's end as well, but only after it has given back the lock.
fn empty_namespace() -> io::Result<()> {
    if !getpid().is_init() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: it passes two numbers. Nobody else is killed: to the first of a namespace there are no others.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    loop {
        match retry_on_intr(|| wait(WaitOptions::empty())) {
            Ok(_) => {}
            Err(Errno::CHILD) => return Ok(()),
            Err(fault) => return Err(fault.into()),
        }
    }
}

/// Kills all children, and those that become children by that, until there are none.
fn sweep() -> io::Result<()> {
    for _ in 0..SWEEPS {
        kill_children()?;
        loop {
            match retry_on_intr(|| wait(WaitOptions::NOHANG)) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(Errno::CHILD) => return Ok(()),
                Err(fault) => return Err(fault.into()),
            }
        }
        let ends = stdio::stdout();
        retry_on_intr(|| poll(&mut [PollFd::new(&ends, PollFlags::IN)], Some(&SWEEP_PAUSE)))?;
        forget_ends();
    }
    Ok(())
}

fn kill_children() -> io::Result<()> {
    let list = open(CHILDREN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut piece = [0; LIST];
    let length = retry_on_intr(|| rustix::io::read(&list, &mut piece))?;
    // A number that was cut is another's. Who is not in this piece is in the next list.
    for number in piece[..length].split_inclusive(|byte| *byte == b' ') {
        let Some(digits) = number.strip_suffix(b" ") else { break };
        let number = digits.iter().fold(0_i32, |sum, digit| {
            sum.saturating_mul(10).saturating_add(i32::from(digit.wrapping_sub(b'0')))
        });
        // Until it is reaped, no other process gets its number.
        if let Some(child) = Pid::from_raw(number) {
            let _ = kill_process(child, Signal::KILL);
        }
    }
    Ok(())
}

/// What can be read once a child has ended, in a process that hears no signals.
fn ends_of_children() -> io::Result<OwnedFd> {
    // SAFETY: the set is filled before it is used and outlives the call; the descriptor is nobody else's.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            made => Ok(OwnedFd::from_raw_fd(made)),
        }
    }
}

fn code(status: WaitStatus) -> u8 {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    signal.or(status.exit_status()).and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

mod image;
#[cfg(test)]
mod tests;
