//! What all guardians have in common: processes that clean up when the one that started them is gone.
//!
//! A guardian holds the end of a pipe whose other end only its agent has. When the pipe closes, however
//! that came about, the agent is gone. The first line of what it hears there says what to do then.

use crate::fork::{self, fall_silent, ignore_requests, settle};
use crate::oci::Helper;
use crate::{RuntimeError, docker, oci};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};
use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitCode};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tokio::time::Instant;

/// What [`crate::helper_main`] calls one.
pub(crate) const ROLE: &str = "guard";
/// Its name among processes.
const NAME: &CStr = c"guardian";
/// One that was started as a program and is not ready by then won't be.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of what it is told: some paths.
const LONGEST: u64 = 64 << 10;

/// How long one is waited for that nobody needs any more.
const LEAVE_LIMIT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How long what can't be removed yet is tried again. After that the agent's next start cleans up.
const WAIT_LIMIT: Duration = Duration::from_mins(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What there is to do once the agent is gone.
pub(crate) type Duty = Box<dyn FnOnce() -> Result<(), RuntimeError>>;

/// Keeps a guardian waiting.
#[derive(Debug)]
pub(crate) struct Guardian {
    process: Pid,
    /// Closed, it hears that nobody needs it any more.
    hears: Option<File>,
}

impl Guardian {
    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_raw_nonzero().get().cast_unsigned()
    }

    /// Says what to do. It does not end before it has done that.
    fn tell(mut self, duty: &[OsString]) -> io::Result<Self> {
        let mut line = serde_json::to_vec(duty)?;
        line.push(b'\n');
        let hears = self.hears.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        hears.write_all(&line).map(|()| self)
    }
}

impl Drop for Guardian {
    /// It goes first, unless there is much to clean up: what is left of a service when its main process has ended looks like a
    /// fault to whoever supervises services, and some of them keep its control group for good then.
    fn drop(&mut self) {
        self.hears = None;
        let Ok(process) = pidfd_open(self.process, PidfdFlags::empty()) else { return };
        let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&LEAVE_LIMIT));
        let _ = waitpid(Some(self.process), WaitOptions::NOHANG);
    }
}

/// A guardian that was made while there was one thread, for the first who needs one. All clones are the same.
#[derive(Debug, Clone, Default)]
pub struct GuardianAhead(Arc<Mutex<Option<Guardian>>>);

impl GuardianAhead {
    /// Makes one, as a copy of this process: call it while there is one thread, before this process has read
    /// any secrets and after it has got [mounts of its own](crate::private_mounts). Without one, guardians
    /// are started as programs, which costs some memory more.
    pub fn fork() -> io::Result<Self> {
        let (told, hears) = pipe_with(PipeFlags::CLOEXEC)?;
        let Some(pid) = fork::fork(told)? else {
            drop(hears);
            std::process::exit(i32::from(fall_silent().and_then(|()| live()).is_err()));
        };
        let guardian = Guardian { process: pid, hears: Some(hears.into()) };
        Ok(Self(Arc::new(Mutex::new(Some(guardian)))))
    }

    fn take(&self) -> Option<Guardian> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Helper {
    /// A guardian that has this duty: the one that was made ahead, or a new one.
    pub(crate) fn guardian(&self, duty: &[OsString]) -> io::Result<Guardian> {
        if let Some(Ok(told)) = self.guardian.take().map(|ahead| ahead.tell(duty)) {
            return Ok(told);
        }
        // What a terminal sends to the agent's group does not reach it.
        let mut child = self.command(ROLE).process_group(0).spawn()?;
        let ready = wait_until_ready(&mut child);
        if ready.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        ready?;
        let hears = OwnedFd::from(child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?);
        Guardian { process: Pid::from_child(&child), hears: Some(hears.into()) }.tell(duty)
    }
}

fn wait_until_ready(child: &mut Child) -> io::Result<()> {
    let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(stdout.read_exact(&mut [0])));
    let told = told.recv_timeout(READY_LIMIT).map_err(io::Error::other)?;
    told.map_err(|error| io::Error::new(error.kind(), format!("it did not get ready: {error}")))
}

/// The life of a guardian that was started as a program.
pub(crate) fn main() -> ExitCode {
    ignore_requests();
    if live().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A guardian's own life. Only the agent's end ends it: a supervisor of services signals all their processes,
/// and there may be a job to clean up after.
fn live() -> io::Result<()> {
    settle(NAME)?;
    let mut stdout = io::stdout();
    stdout.write_all(b"\n")?;
    stdout.flush()?;
    let mut hears = BufReader::new(io::stdin().lock());
    let mut line = String::new();
    hears.by_ref().take(LONGEST).read_line(&mut line)?;
    if line.is_empty() {
        // The agent left before it had anything to clean up.
        return Ok(());
    }
    let told: Vec<OsString> = serde_json::from_str(&line)?;
    let duty = match told.split_first() {
        Some((of, args)) if of == docker::GUARDED => docker::duty(args),
        Some((of, args)) if of == oci::GUARDED => oci::duty(args),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    }?;
    let mut buffer = [0; 64];
    while hears.read(&mut buffer)? > 0 {}
    duty().map_err(io::Error::other)
}

/// Tries until `attempt` says that nothing is left. It is not done at once where an engine is out of reach, or where
/// something holds a lock a while longer: the agent, whose pipes and locks the kernel closes one after the other, what
/// has worked for it on the host, or its next start, which cleans up itself. `what` is what there is to be removed.
pub(crate) async fn until_done<F>(what: &str, mut attempt: impl FnMut() -> F) -> Result<(), RuntimeError>
where
    F: Future<Output = Result<bool, RuntimeError>>,
{
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt().await {
            Ok(true) => return Ok(()),
            Err(error) if begun.elapsed() > WAIT_LIMIT => return Err(error),
            Ok(false) if begun.elapsed() > WAIT_LIMIT => {
                let minutes = WAIT_LIMIT.as_secs() / 60;
                return Err(RuntimeError::Host(format!("{what} is still in use after {minutes} minutes")));
            }
            Ok(false) | Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Does its duty where nothing else is done.
pub(crate) fn block_on(duty: impl Future<Output = Result<(), RuntimeError>>) -> Result<(), RuntimeError> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio.map_err(RuntimeError::io("begin to clean up"))?.block_on(duty)
}
