//! Stays with a step whose OCI runtime has left.
//!
//! A runtime that runs in the foreground can only tell a step's end as a shell does, where 137 may be
//! a code or a signal; youki tells neither apart at all, and may miss that the step has ended. So such a
//! runtime only starts the step. The step's first process then belongs to this one, which hears from
//! the kernel how it ended. A runtime's own threads and memory are gone meanwhile.

use super::launcher::report;
use super::outcome::{ENDED_BY_SIGNAL, not_started};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

/// Runs `runtime`, which writes to `log` and leaves; then waits for the process in `pid_file` and ends as
/// that did.
pub(super) fn keep(runtime: &mut Command, pid_file: &Path, log: &Path) -> io::Result<u8> {
    set_child_subreaper(Some(getpid()))?;
    let started = runtime.status()?;
    // A step that is asked to end as soon as it says something may meet a runtime that was about to leave.
    let was_leaving = started.signal().is_some() && pid_file.exists();
    if !started.success() && !was_leaving {
        if not_started(log).is_none() {
            report(log, "error", &format!("it ended with {started}"));
        }
        return Ok(1);
    }
    let written = fs::read_to_string(pid_file)?;
    let first = written.trim().parse().ok().and_then(Pid::from_raw);
    let first = first.ok_or_else(|| io::Error::other(format!("{written:?} is no process")))?;
    let (_, status) = waitpid(Some(first), WaitOptions::empty())?.ok_or(io::ErrorKind::NotFound)?;
    let code = match status.terminating_signal() {
        Some(signal) => {
            report(log, ENDED_BY_SIGNAL, &signal.to_string());
            128 + signal
        }
        None => status.exit_status().unwrap_or_default(),
    };
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}
