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

/// The signal that a status may stand for: runtimes pass one on as shells do, as 128 and its number.
pub(super) fn maybe_signal(of: std::process::ExitStatus) -> Option<i32> {
    of.code().map(|code| code - 128).filter(|signal| (1..=LAST_SIGNAL).contains(signal))
}

/// The step's own status, given the signal that is `known` to have ended it. What is not known to be a
/// signal stays the code that it came as.
pub(super) fn status(of: std::process::ExitStatus, known: Option<i32>) -> ExitStatus {
    match (of.code(), maybe_signal(of).filter(|signal| known == Some(*signal))) {
        (Some(_), Some(signal)) => ExitStatus::Signal(signal),
        (Some(code), None) => ExitStatus::Code(code),
        (None, _) => ExitStatus::Signal(of.signal().unwrap_or_default()),
    }
}

/// Whether the step was stopped, or failed for want of memory.
pub(super) fn cause(
    status: ExitStatus,
    stopped: bool,
    limits: &Limits,
    (before, after): (Reading, Reading),
) -> Option<Cause> {
    if stopped {
        return Some(Cause::Stopped);
    }
    out_of_memory(status == ExitStatus::Code(0), limits, (before, after))
}

/// What shows that whatever failed, unless it `succeeded`, did for want of memory.
pub(crate) fn out_of_memory(
    succeeded: bool,
    limits: &Limits,
    (before, after): (Reading, Reading),
) -> Option<Cause> {
    if succeeded {
        return None;
    }
    let out_of_memory = limits.memory.filter(|_| after.oom_kills > before.oom_kills);
    out_of_memory.map(|limit| Cause::OutOfMemory { limit, peak: after.peak_memory.unwrap_or(limit) })
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

/// The level of a log's line whose message is the number of the signal that ended the step.
pub(super) const ENDED_BY_SIGNAL: &str = "signal";

#[derive(Deserialize)]
struct Line {
    level: String,
    #[serde(default)]
    msg: String,
    /// What youki has instead.
    message: Option<String>,
    #[serde(alias = "e")]
    err: Option<String>,
}

impl Line {
    /// What it says, and whether others that follow from it say the same again.
    fn said(self) -> (String, bool) {
        match (self.message, self.err) {
            (None, _) => (self.msg, false),
            (Some(message), None) => (message, true),
            (Some(message), Some(err)) => (format!("{message}: {err}"), true),
        }
    }
}

/// Reads a runtime's log, which has errors only when the step was not started.
pub(super) fn not_started(log: &Path) -> Option<NotStarted> {
    let said = messages(log, "error");
    (!said.is_empty()).then(|| judge(said.join("; ")))
}

/// The signal that ended the step, if whoever waited for it has written one down.
pub(super) fn signal(log: &Path) -> Option<i32> {
    messages(log, ENDED_BY_SIGNAL).first()?.parse().ok()
}

fn messages(log: &Path, level: &str) -> Vec<String> {
    let mut text = String::new();
    if File::open(log).and_then(|file| file.take(LONGEST_LOG).read_to_string(&mut text)).is_err() {
        return Vec::new();
    }
    let mut wanted =
        entries(&text).into_iter().filter(|line| line.level.eq_ignore_ascii_case(level)).map(Line::said);
    match wanted.next() {
        Some((first, true)) => vec![first],
        first => first.into_iter().chain(wanted).map(|(said, _)| said).collect(),
    }
}

/// What is in a log: one entry a line, or spread over lines, as newer cruns do. Lines that are none are passed over.
fn entries(mut text: &str) -> Vec<Line> {
    let mut entries = Vec::new();
    loop {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
        let read = values.by_ref().map_while(Result::ok);
        entries.extend(read.filter_map(|value| serde_json::from_value(value).ok()));
        let rest = text[values.byte_offset()..].trim_start();
        let Some((_, next)) = rest.split_once('\n') else { return entries };
        text = next;
    }
}

pub(crate) fn judge(said: String) -> NotStarted {
    let lower = said.to_lowercase();
    // crun: "executable file `x` not found in $PATH", "open executable: …", "exec container
    // process …"; runc: "exec: \"x\": executable file not found in $PATH", "exec /x: …"; runsc:
    // "creating process: failed to load /x: …"; youki: "executable for container process not found in
    // PATH", "executable does not have the correct permission set".
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
        "correct permission",
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
    fn a_code_beyond_128_is_a_signal_only_if_that_is_known() {
        for code in [0, 128, 137, 192, 255] {
            assert_eq!(status(exited(code), None), ExitStatus::Code(code));
        }
        assert_eq!(status(exited(137), Some(9)), ExitStatus::Signal(9));
        assert_eq!(status(exited(137), Some(15)), ExitStatus::Code(137), "that is another process's");
        assert_eq!(status(exited(193), Some(65)), ExitStatus::Code(193));
        assert_eq!(status(std::process::ExitStatus::from_raw(9), None), ExitStatus::Signal(9));
    }

    #[test]
    fn an_entry_may_be_spread_over_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let text = "no entry\n{\n  \"msg\": \"executable file `x` not found in $PATH: No such file or directory\",\n  \
                    \"level\": \"error\",\n  \"time\": \"t\"\n}\n{\"level\":1}\n{\"level\":\"signal\",\"msg\":\"9\"}\n{\n";
        std::fs::write(&log, text).unwrap();
        assert!(matches!(not_started(&log), Some(NotStarted::Program { code: 127, .. })));
        assert_eq!(signal(&log), Some(9));
    }

    #[test]
    fn a_log_tells_why_a_step_was_not_started_and_which_signal_ended_it() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert_eq!((not_started(&log), signal(&log)), (None, None));
        std::fs::write(
            &log,
            "{\"level\":\"warning\",\"msg\":\"old\"}\n{\"level\":\"signal\",\"msg\":\"9\"}\n",
        )
        .unwrap();
        assert_eq!((not_started(&log), signal(&log)), (None, Some(9)));
        for (said, understood) in [
            (r#"{"level":"error","msg":"no"} {"level":"error","msg":"way"}"#, "no; way"),
            (
                r#"{"level":"ERROR","message":"no","e":"EIO"} {"level":"ERROR","message":"no, said it"}"#,
                "no: EIO",
            ),
        ] {
            std::fs::write(&log, said.replace("} {", "}\n{")).unwrap();
            assert_eq!(not_started(&log), Some(NotStarted::Runtime(understood.to_owned())), "{said}");
        }
    }

    #[test]
    fn a_step_that_succeeds_has_no_cause_but_a_stop() {
        let limits = Limits { memory: Some(10), ..Limits::default() };
        let killed = Reading { oom_kills: 1, peak_memory: Some(9), cpu: None };
        let readings = (Reading::default(), killed);
        assert_eq!(cause(ExitStatus::Code(0), false, &limits, readings), None);
        let memory = Some(Cause::OutOfMemory { limit: 10, peak: 9 });
        assert_eq!(cause(ExitStatus::Code(1), false, &limits, readings), memory);
        assert_eq!(cause(ExitStatus::Code(1), false, &limits, (killed, killed)), None);
        assert_eq!(cause(ExitStatus::Code(0), true, &limits, readings), Some(Cause::Stopped));
    }
}
