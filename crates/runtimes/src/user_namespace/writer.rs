//! A process that stays outside of a new user namespace until that has its users.

use super::ids::{Person, map};
use crate::RuntimeError;
use crate::oci::{Helper, find_program};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

/// What [`crate::helper_main`] calls this.
pub(crate) const ROLE: &str = "map-users";
/// How long it may take, in seconds: some milliseconds, unless users are asked for on a network.
const ANSWER_LIMIT: i64 = 30;
/// Bytes of an answer.
const LONGEST_ANSWER: u64 = 4_096;
const DONE: &str = "done";

/// One map, and the program that writes it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Half {
    pub(super) program: PathBuf,
    map: Vec<String>,
}

/// What is to be written for which process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    process: u32,
    pub(super) uids: Half,
    gids: Half,
}

impl Order {
    /// For this process and its user.
    pub(super) fn find(search_path: &OsStr) -> Result<Self, RuntimeError> {
        let program = |name: &str| {
            find_program(name, search_path).ok_or_else(|| {
                RuntimeError::Host(format!(
                    "an ordinary user needs {name} to run jobs, which is not on PATH; install the package uidmap \
                     (elsewhere shadow-utils), or run executor as root"
                ))
            })
        };
        let (uids, gids) = (program("newuidmap")?, program("newgidmap")?);
        let person = Person::current();
        let numbers = person.numbers()?;
        Ok(Self {
            process: std::process::id(),
            uids: Half { program: uids, map: map(person.uid, &numbers.uids) },
            gids: Half { program: gids, map: map(person.gid, &numbers.gids) },
        })
    }
}

/// The process, from the side of the one that it writes for.
pub(super) struct Writer(Child);

impl Writer {
    pub(super) fn start(helper: &Helper, order: &Order) -> io::Result<Self> {
        let child = helper.command(ROLE).arg(serde_json::to_string(order)?).spawn()?;
        Ok(Self(child))
    }

    /// Has it write now, from inside.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let (Some(mut tell), Some(says)) = (self.0.stdin.take(), self.0.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        tell.write_all(b"\n")?;
        let limit = Timespec { tv_sec: ANSWER_LIMIT, tv_nsec: 0 };
        if retry_on_intr(|| poll(&mut [PollFd::new(&says, PollFlags::IN)], Some(&limit)))? == 0 {
            let told = format!("no answer within {ANSWER_LIMIT} s");
            return Err(io::Error::new(io::ErrorKind::TimedOut, told));
        }
        let mut said = String::new();
        says.take(LONGEST_ANSWER).read_to_string(&mut said)?;
        if said == DONE { Ok(()) } else { Err(io::Error::other(said)) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It may hang, or not be asked any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Its own life.
pub(crate) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let order = args.next().and_then(|order| serde_json::from_slice::<Order>(order.as_encoded_bytes()).ok());
    let Some(Order { process, uids, gids }) = order else { return ExitCode::FAILURE };
    if io::stdin().read_exact(&mut [0]).is_err() {
        // Whoever started it has no namespace, and is gone.
        return ExitCode::FAILURE;
    }
    let written = run(&uids, process).and_then(|()| run(&gids, process));
    let said = written.map_or_else(|error| error.to_string(), |()| DONE.to_owned());
    match io::stdout().write_all(said.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(half: &Half, process: u32) -> io::Result<()> {
    let ran = Command::new(&half.program)
        .arg(process.to_string())
        .args(&half.map)
        .env_clear()
        .stdin(Stdio::null())
        .output()?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Err(io::Error::other(said.split_whitespace().collect::<Vec<_>>().join(" ")))
}
