//! The agent's side of its [nursery](crate::nursery()): how it comes by supervisors.

use super::process::Process;
use crate::config::SupervisorCommand;
use crate::nursery::{Message, pair, receive, send};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Whether there was one that its starter did not start.
    by_itself: AtomicBool,
}

struct Nursery {
    process: Child,
    talk: UnixStream,
}

impl Births {
    pub(super) fn by(command: SupervisorCommand) -> Self {
        Self { command, nursery: Mutex::default(), by_itself: AtomicBool::default() }
    }

    /// Makes a supervisor with `link` as its standard input and a directory of its own.
    pub(super) async fn make(&self, dir: &Path, link: OwnedFd) -> io::Result<Process> {
        let asked = Message { text: dir.as_os_str().as_bytes().to_vec(), descriptor: Some(link) };
        let mut current = self.nursery.lock().await;
        let mut last = io::Error::other("none was tried");
        for _ in 0..ATTEMPTS {
            let held = current.take();
            let is_new = held.is_none();
            let mut nursery = match held {
                Some(nursery) => nursery,
                None => self.start()?,
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
                    if is_new && !self.command.starter.is_empty() {
                        let starter = self.command.starter[0].to_string_lossy();
                        warn!(%starter, "it is not started in a control group of its own any more");
                        self.by_itself.store(true, Ordering::Relaxed);
                    }
                    // One that it has made nevertheless leaves when its link closes.
                    let _ = nursery.process.kill().await;
                    last = fault;
                }
            }
        }
        Err(last)
    }

    fn start(&self) -> io::Result<Nursery> {
        let starter = if self.by_itself.load(Ordering::Relaxed) { &[] } else { &*self.command.starter };
        Nursery::start(&self.command, starter)
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
    fn start(command: &SupervisorCommand, starter: &[OsString]) -> io::Result<Self> {
        let (ours, theirs) = pair()?;
        // What is sent and received there is up to us; only that it can be is waited for.
        let ours = std::os::unix::net::UnixStream::from(ours);
        ours.set_nonblocking(true)?;
        let SupervisorCommand { program, arg0, args, env, .. } = command;
        let mut command = match starter {
            [] => Command::new(program),
            [starter, ..] => Command::new(starter),
        };
        match starter {
            [] => command.arg0(arg0),
            [_, rest @ ..] => command.args(rest).arg(arg0),
        };
        // What a terminal sends to the agent's group does not reach it.
        command.args(args).stdin(theirs).stdout(Stdio::null()).process_group(0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[tokio::test]
    async fn where_a_starter_fails_it_is_done_without() {
        let dir = tempfile::tempdir().unwrap();
        let tried = dir.path().join("tried");
        // Neither of them becomes a nursery.
        let note = |word: &str| -> Vec<OsString> {
            let script = format!("echo {word} >> {}", tried.display());
            ["-c", &script].map(OsString::from).to_vec()
        };
        let starter = [vec!["/bin/sh".into()], note("started")].concat();
        let births = Births::by(SupervisorCommand {
            program: "/bin/sh".into(),
            arg0: "sh".into(),
            args: note("itself"),
            env: Vec::new(),
            starter,
        });
        for told in ["started\nitself\n", "started\nitself\nitself\nitself\n"] {
            let (link, _) = pair().unwrap();
            assert!(births.make(Path::new(OsStr::new("/nowhere")), link).await.is_err());
            assert_eq!(std::fs::read_to_string(&tried).unwrap(), told);
        }
    }
}
