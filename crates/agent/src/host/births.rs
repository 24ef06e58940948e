//! The agent's side of its [nursery](crate::nursery()): how it comes by supervisors.

use super::process::Process;
use crate::config::SupervisorCommand;
use crate::nursery::{Message, pair, receive, send};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{debug, warn};

/// How long a nursery may take to make a supervisor, and to get ready before its first.
const LIMIT: Duration = Duration::from_secs(10);
/// How many nurseries are tried.
const ATTEMPTS: u32 = 2;

/// Makes supervisors, by a nursery that is started when it is needed.
pub(super) struct Births {
    command: SupervisorCommand,
    nursery: Mutex<Option<Nursery>>,
}

struct Nursery {
    process: Child,
    talk: UnixStream,
}

impl Births {
    pub(super) fn by(command: SupervisorCommand) -> Self {
        Self { command, nursery: Mutex::default() }
    }

    /// Makes a supervisor with `link` as its standard input and a directory of its own.
    pub(super) async fn make(&self, dir: &Path, link: OwnedFd) -> io::Result<Process> {
        let asked = Message { text: dir.as_os_str().as_bytes().to_vec(), descriptor: Some(link) };
        let mut current = self.nursery.lock().await;
        let mut last = io::Error::other("none was tried");
        for _ in 0..ATTEMPTS {
            let mut nursery = match current.take() {
                Some(nursery) => nursery,
                None => Nursery::start(&self.command)?,
            };
            match timeout(LIMIT, nursery.ask(&asked)).await.unwrap_or_else(|late| Err(late.into())) {
                Ok(answer) => {
                    *current = Some(nursery);
                    let said = String::from_utf8_lossy(&answer.text).into_owned();
                    return match answer.descriptor {
                        Some(held) => Process::new(said, held),
                        None => Err(io::Error::other(said)),
                    };
                }
                Err(fault) => {
                    warn!(%fault, "what makes supervisors does not answer; another is started");
                    // One that it has made nevertheless leaves when its link closes.
                    let _ = nursery.process.kill().await;
                    last = fault;
                }
            }
        }
        Err(last)
    }

    /// Lets go of the nursery, and waits until it has left.
    pub(super) async fn close(&self) {
        if let Some(Nursery { mut process, talk }) = self.nursery.lock().await.take() {
            drop(talk);
            let _ = process.wait().await;
        }
    }
}

impl Nursery {
    fn start(command: &SupervisorCommand) -> io::Result<Self> {
        let (ours, theirs) = pair()?;
        // What is sent and received there is up to us; only that it can be is waited for.
        let ours = std::os::unix::net::UnixStream::from(ours);
        ours.set_nonblocking(true)?;
        let SupervisorCommand { program, arg0, args, env } = command;
        let mut command = Command::new(program);
        // What a terminal sends to the agent's group does not reach it.
        command.arg0(arg0).args(args).stdin(theirs).stdout(Stdio::null()).process_group(0);
        for (name, value) in env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let process = command.spawn()?;
        debug!(pid = process.id(), "started what makes supervisors");
        Ok(Self { process, talk: UnixStream::from_std(ours)? })
    }

    async fn ask(&mut self, asked: &Message) -> io::Result<Message> {
        send(&self.talk, asked)?;
        let answer = self.talk.async_io(Interest::READABLE, || receive(&self.talk)).await?;
        answer.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it has ended"))
    }
}
