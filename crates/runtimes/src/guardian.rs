//! What all guardians have in common: processes that clean up when the one that started them is gone.
//!
//! A guardian holds the end of a pipe whose other end only its agent has. When the pipe closes, however
//! that came about, the agent is gone.

use crate::oci::Helper;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// A guardian that is not ready by then won't be.
const READY_LIMIT: Duration = Duration::from_secs(30);

impl Helper {
    /// Starts a guardian in `role`, and waits until it is [ready](stand_by).
    pub(crate) fn guardian<S: AsRef<OsStr>>(&self, role: &str, args: &[S]) -> io::Result<Child> {
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .arg(role)
            .args(args)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // What a terminal sends to the agent's group does not reach it.
            .process_group(0)
            .spawn()?;
        let ready = wait_until_ready(&mut child);
        if ready.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        ready.map(|()| child)
    }
}

fn wait_until_ready(child: &mut Child) -> io::Result<()> {
    let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(stdout.read_exact(&mut [0])));
    let told = told.recv_timeout(READY_LIMIT).map_err(io::Error::other)?;
    told.map_err(|error| io::Error::new(error.kind(), format!("it did not get ready: {error}")))
}

/// Tells the agent that this guardian is ready. From now on only the agent's end ends it: a supervisor of
/// services signals all their processes, and there may be a job to clean up after.
pub(crate) fn stand_by() -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        // Caught for good, whoever listens.
        drop(signal(kind)?);
    }
    let mut stdout = io::stdout();
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Waits until the agent is gone.
pub(crate) fn wait_for_end_of_file() -> io::Result<()> {
    let mut byte = [0];
    let mut stdin = io::stdin().lock();
    while stdin.read(&mut byte)? > 0 {}
    Ok(())
}
