//! What a step's end means.

use crate::cgroup::Reading;
use crate::{Cause, ExitStatus, Limits};
use serde::Deserialize;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

/// The highest signal's number.
const LAST_SIGNAL: i32 = 64;
/// What is read of a runtime's log, in bytes.
const LONGEST_LOG: u64 = 64 << 10;
/// What shells and engines report for a program that is not there, and for one that can't be run.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// The step's own status, which runtimes pass on as shells do: 128 and the signal's number.
pub(super) fn status(of: std::process::ExitStatus) -> ExitStatus {
    match (of.code(), of.signal()) {
        (Some(code), _) if (129..=128 + LAST_SIGNAL).contains(&code) => ExitStatus::Signal(code - 128),
        (Some(code), _) => ExitStatus::Code(code),
        (None, signal) => ExitStatus::Signal(signal.unwrap_or_default()),
    }
}

/// Which limit ended the step, if it failed and one did.
pub(super) fn cause(
    status: ExitStatus,
    stopped: bool,
    limits: &Limits,
    (before, after): (Reading, Reading),
    full: Option<u64>,
) -> Option<Cause> {
    if stopped {
        return Some(Cause::Stopped);
    }
    if status == ExitStatus::Code(0) {
        return None;
    }
    let out_of_memory = limits.memory.filter(|_| after.oom_kills > before.oom_kills);
    let memory = |limit| Cause::OutOfMemory { limit, peak: after.peak_memory.unwrap_or(limit) };
    out_of_memory.map(memory).or(full.map(|limit| Cause::DiskFull { limit }))
}

/// Why a runtime did not start the step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotStarted {
    /// The step's program is not there or is no program: the job's own failure.
    Program { code: i32, why: String },
    /// Its working directory can't be entered: the job's own failure too.
    Directory(String),
    /// Anything else.
    Runtime(String),
}

#[derive(Deserialize)]
struct Line {
    level: String,
    msg: String,
}

/// Reads a runtime's log, which has errors only when the step was not started.
pub(super) fn not_started(log: &Path) -> Option<NotStarted> {
    let mut text = String::new();
    File::open(log).ok()?.take(LONGEST_LOG).read_to_string(&mut text).ok()?;
    let errors = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let said: Vec<String> = errors.filter(|line| line.level == "error").map(|line| line.msg).collect();
    (!said.is_empty()).then(|| judge(said.join("; ")))
}

pub(crate) fn judge(said: String) -> NotStarted {
    let lower = said.to_lowercase();
    // crun: "executable file `x` not found in $PATH", "open executable: …", "exec container
    // process …"; runc: "exec: \"x\": executable file not found in $PATH", "exec /x: …"; runsc:
    // "creating process: failed to load /x: …".
    let about_program =
        ["executable", "exec ", "exec:", "failed to load"].iter().any(|word| lower.contains(word));
    let about_directory = lower.contains("chdir")
        || lower.contains("working dir")
        || lower.contains("mkdir `/data")
        || lower.contains("mkdir /data");
    let code = if about_directory {
        return NotStarted::Directory(said);
    } else if !about_program {
        return NotStarted::Runtime(said);
    } else if lower.contains("no such file") || lower.contains("not found") {
        NOT_FOUND
    } else if [
        "permission denied",
        "exec format",
        "is a directory",
        "too many levels",
        "not permitted",
        "too long",
    ]
    .iter()
    .any(|why| lower.contains(why))
    {
        NOT_EXECUTABLE
    } else {
        return NotStarted::Runtime(said);
    };
    NotStarted::Program { code, why: said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32) -> std::process::ExitStatus {
        std::process::ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn codes_beyond_128_are_signals_up_to_the_last_signal() {
        assert_eq!(status(exited(0)), ExitStatus::Code(0));
        assert_eq!(status(exited(128)), ExitStatus::Code(128));
        assert_eq!(status(exited(137)), ExitStatus::Signal(9));
        assert_eq!(status(exited(255)), ExitStatus::Code(255));
        assert_eq!(status(std::process::ExitStatus::from_raw(9)), ExitStatus::Signal(9));
    }

    #[test]
    fn a_step_that_succeeds_has_no_cause_but_a_stop() {
        let limits = Limits { memory: Some(10), ..Limits::default() };
        let killed = Reading { oom_kills: 1, peak_memory: Some(9), cpu: None };
        let readings = (Reading::default(), killed);
        assert_eq!(cause(ExitStatus::Code(0), false, &limits, readings, Some(5)), None);
        let memory = Some(Cause::OutOfMemory { limit: 10, peak: 9 });
        assert_eq!(cause(ExitStatus::Code(1), false, &limits, readings, Some(5)), memory);
        let disk = Some(Cause::DiskFull { limit: 5 });
        assert_eq!(cause(ExitStatus::Code(1), false, &limits, (killed, killed), Some(5)), disk);
        assert_eq!(cause(ExitStatus::Code(0), true, &limits, readings, None), Some(Cause::Stopped));
    }
}
