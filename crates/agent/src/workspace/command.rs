//! Runs a program on this host for a job: its own process group, nothing inherited, its output in a
//! log entry. It is tied to the job: what it has started ends with it, and it with whoever runs the job.

use crate::log::EntryWriter;
use runtimes::{Cause, HostProgram, HostPrograms, Stream};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long the rest of the output may take once the program, and with it whoever wrote, has ended.
const LEFTOVERS: Duration = Duration::from_secs(5);
/// How much output is taken at a time.
const PIECE: usize = 32 << 10;
/// The most of a last line that is kept.
const LAST_LINE: usize = 1 << 10;
/// How the system says that a disk is full, in the language that programs are started with.
const NO_ROOM: &[u8] = b"No space left on device";

/// What to run.
pub(crate) struct Program<'a> {
    /// The program and its arguments.
    pub(crate) argv: &'a [String],
    /// All of its environment.
    pub(crate) env: &'a [(String, String)],
    /// Its working directory, if not the agent's.
    pub(crate) directory: Option<&'a Path>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) enum Ran {
    Exited {
        status: ExitStatus,
        /// The last line it wrote to its standard error.
        last_words: String,
        /// It said that a disk is full.
        no_room: bool,
        /// Which limit of its job's it met, if it failed for one.
        cause: Option<Cause>,
    },
    /// The job was stopped, and the program with it.
    Stopped,
}

/// What to show as the exit code of a program: a signal counts from 128 on, as in a shell.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(crate::log::NO_EXIT_CODE)
}

/// Runs a program to its end, or to the end of `stop`. When this returns, nothing that it has started is left; if
/// something can't be ended in time, that is warned of, and it goes on.
pub(crate) async fn run(
    programs: &HostPrograms,
    Program { argv, env, directory }: Program<'_>,
    entry: &EntryWriter,
    stop: &CancellationToken,
) -> io::Result<Ran> {
    let [name, args @ ..] = argv else { return Err(io::ErrorKind::InvalidInput.into()) };
    let mut command = Command::new(name);
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    command
        .args(args)
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut program = programs.start(command)?;
    let (stdout, stderr) = (program.stdout.take(), program.stderr.take());
    let mut last_words = LastLine::default();
    let ended = {
        let mut output = std::pin::pin!(async {
            tokio::join!(
                copy(stdout, |bytes| entry.output(Stream::Stdout, bytes)),
                copy(stderr, |bytes| {
                    last_words.push(bytes);
                    entry.output(Stream::Stderr, bytes);
                }),
            );
        });
        tokio::select! {
            status = wait(&mut program, &mut output) => Some(status),
            () = stop.cancelled() => None,
        }
    };
    let mut cause = None;
    if let Some(Ok(status)) = &ended {
        cause = program.cause(*status);
    } else if let Err(fault) = program.end().await {
        warn!(program = argv[0], %fault, "a program of a job can't be ended");
    }
    match ended {
        Some(status) => {
            let (last_words, no_room) = last_words.end();
            Ok(Ran::Exited { status: status?, last_words, no_room, cause })
        }
        None => Ok(Ran::Stopped),
    }
}

/// Waits for the program and for the end of its output.
async fn wait(
    program: &mut HostProgram,
    output: &mut (impl Future<Output = ()> + Unpin),
) -> io::Result<ExitStatus> {
    let status = tokio::select! {
        () = &mut *output => return program.wait().await,
        status = program.wait() => status?,
    };
    // Somebody else may have got hold of the pipes; what is written after that is nobody's.
    let _ = timeout(LEFTOVERS, output).await;
    Ok(status)
}

async fn copy(from: Option<impl AsyncRead + Unpin>, mut to: impl FnMut(&[u8])) {
    let Some(mut from) = from else { return };
    let mut piece = vec![0; PIECE];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        to(&piece[..read]);
    }
}

/// Remembers the last line that is not empty, and of those before it whether one told of a full disk.
#[derive(Debug, Default)]
struct LastLine {
    complete: Vec<u8>,
    begun: Vec<u8>,
    no_room: bool,
}

impl LastLine {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' | b'\r' if self.begun.trim_ascii().is_empty() => self.begun.clear(),
                b'\n' | b'\r' => self.complete(),
                _ if self.begun.len() < LAST_LINE => self.begun.push(*byte),
                _ => {}
            }
        }
    }

    fn complete(&mut self) {
        self.complete = std::mem::take(&mut self.begun);
        self.no_room |= self.complete.windows(NO_ROOM.len()).any(|words| words == NO_ROOM);
    }

    /// The line, and whether any line told of a full disk.
    fn end(mut self) -> (String, bool) {
        if !self.begun.trim_ascii().is_empty() {
            self.complete();
        }
        (String::from_utf8_lossy(self.complete.trim_ascii()).into_owned(), self.no_room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_the_last_line_with_something_in_it() {
        for (text, last) in
            [("", ""), ("a\nb\n\n", "b"), ("a\n  b", "b"), ("10 %\r20 %\rfatal: no\n \n", "fatal: no")]
        {
            let mut words = LastLine::default();
            text.bytes().for_each(|byte| words.push(&[byte]));
            assert_eq!(words.end(), (last.to_owned(), false));
        }
    }

    #[test]
    fn a_full_disk_is_heard_of_in_any_line() {
        for text in
            ["a: No space left on device", "error: No space left on device\nfatal: index-pack failed\n"]
        {
            let mut words = LastLine::default();
            words.push(text.as_bytes());
            assert!(words.end().1, "{text}");
        }
    }
}
