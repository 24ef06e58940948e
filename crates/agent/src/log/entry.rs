//! One log entry while it is written: from raw bytes to the text that may be shown.
//!
//! ```text
//! bytes of a stream ─► redaction ─► UTF-8 ─► prefixed lines ─► spool ─► delivery
//! ```
//!
//! Redaction comes first, so that neither a prefix nor a line's end can hide a secret.

use super::backlog::Backlog;
use super::lines::Lines;
use super::spool::Spool;
use super::utf8::Utf8Stream;
use crate::api::LogText;
use crate::monitor::Monitor;
use async_trait::async_trait;
use images::Progress;
use jiff::Timestamp;
use jobs::{RedactStream, Redactor};
use runtimes::{Output, Stream};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// An unfinished line is shown after this time: a prompt, a progress bar.
const UNFINISHED_LINE: Duration = Duration::from_millis(100);
/// How much raw output is worked on at a time, which bounds the memory it takes.
const PIECE: usize = 64 << 10;
/// The exit code of an entry whose command did not come to one.
pub(crate) const NO_EXIT_CODE: i32 = -1;

/// How an entry ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) exit_code: i32,
    pub(super) duration_ms: i64,
}

/// An entry as its delivery sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Bytes of text that can be read.
    pub(super) len: u64,
    pub(super) end: Option<End>,
    /// Look again after this time: a line is unfinished.
    pub(super) look_again: Option<Duration>,
}

/// How far the control plane has an entry for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivered {
    /// Its number there.
    pub(super) id: i64,
    /// Bytes of its text.
    pub(super) acked: u64,
}

/// What writer and delivery of an entry share.
pub(super) struct Entry {
    pub(super) key: String,
    /// Redacted.
    pub(super) command: Option<Vec<String>>,
    pub(super) start_time: Timestamp,
    began: Instant,
    redactor: Redactor,
    core: Mutex<Core>,
    /// There is news for the delivery.
    pub(super) changed: Notify,
    pub(super) backlog: Backlog,
    delivered: Mutex<Option<Delivered>>,
    monitor: Monitor,
}

struct Core {
    stdout: Pipe,
    stderr: Pipe,
    lines: Lines,
    /// Since when a line is unfinished and not shown.
    unfinished_since: Option<Instant>,
    spool: Spool,
    end: Option<End>,
}

/// One stream up to its text.
struct Pipe {
    redact: RedactStream,
    utf8: Utf8Stream,
}

impl Entry {
    pub(super) fn new(
        key: &str,
        command: Option<&[String]>,
        redactor: &Redactor,
        spool: Spool,
        monitor: Monitor,
    ) -> Self {
        let pipe = || Pipe { redact: redactor.stream(), utf8: Utf8Stream::default() };
        Self {
            key: key.to_owned(),
            command: command.map(|argv| argv.iter().map(|part| redactor.redact(part)).collect()),
            start_time: Timestamp::now(),
            began: Instant::now(),
            core: Mutex::new(Core {
                stdout: pipe(),
                stderr: pipe(),
                lines: Lines::default(),
                unfinished_since: None,
                spool,
                end: None,
            }),
            redactor: redactor.clone(),
            changed: Notify::new(),
            backlog: Backlog::new(monitor.clone()),
            delivered: Mutex::default(),
            monitor,
        }
    }

    /// One that somebody else has written to its end.
    pub(super) fn complete(
        key: &str,
        command: Option<Vec<String>>,
        start_time: Timestamp,
        (spool, end): (Spool, End),
        delivered: Option<Delivered>,
        monitor: Monitor,
    ) -> Self {
        let entry = Self::new(key, None, &Redactor::default(), spool, monitor);
        entry.lock().end = Some(end);
        entry.grew();
        Self { command, start_time, delivered: Mutex::new(delivered), ..entry }
    }

    /// How far the control plane has it; `None` before it was opened there.
    pub(super) fn delivered(&self) -> Option<Delivered> {
        *self.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The control plane has so much of it.
    pub(super) fn note_delivered(&self, delivered: Delivered) {
        *self.delivered.lock().unwrap_or_else(PoisonError::into_inner) = Some(delivered);
        self.backlog.delivered_to(delivered.acked);
    }

    /// What there is to deliver now.
    pub(super) fn view(&self) -> View {
        let mut core = self.lock();
        let mut look_again = None;
        if let Some(since) = core.unfinished_since {
            match UNFINISHED_LINE.checked_sub(since.elapsed()) {
                Some(rest) if !rest.is_zero() => look_again = Some(rest),
                _ => core.show_unfinished(),
            }
        }
        View { len: core.spool.len(), end: core.end, look_again }
    }

    fn write(&self, stream: Stream, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            self.lock().write(stream, piece);
        }
        self.grew();
        self.changed.notify_one();
    }

    fn own_line(&self, line: &str) {
        let line = self.redactor.redact(line);
        let mut core = self.lock();
        let mut text = String::new();
        core.lines.own_line(&line, &mut text);
        core.spool.push(&text);
        drop(core);
        self.grew();
        self.changed.notify_one();
    }

    fn close(&self, exit_code: i32) {
        let took = self.began.elapsed();
        let first = self.lock().close(End { exit_code, duration_ms: took.as_millis() as i64 });
        if first && self.command.is_some() {
            self.monitor.metrics().command_done(&self.key, took, exit_code == 0);
        }
        self.grew();
        self.changed.notify_one();
    }

    fn grew(&self) {
        let len = self.lock().spool.len();
        self.backlog.grown_to(len);
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic under this lock leaves at worst an odd text, which is better than none.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogText for Entry {
    fn read(&self, offset: u64, limit: usize) -> io::Result<String> {
        self.lock().spool.read(offset, limit)
    }
}

impl Core {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let pipe = self.pipe(stream);
        let (mut clean, mut text, mut shown) = (Vec::new(), String::new(), String::new());
        pipe.redact.push(bytes, &mut clean);
        pipe.utf8.push(&clean, &mut text);
        self.lines.push(stream, &text, &mut shown);
        self.spool.push(&shown);
        self.note_unfinished();
    }

    fn show_unfinished(&mut self) {
        let mut shown = String::new();
        self.lines.flush(&mut shown);
        self.spool.push(&shown);
        self.note_unfinished();
    }

    /// Tells whether it was open.
    fn close(&mut self, end: End) -> bool {
        if self.end.is_some() {
            return false;
        }
        let mut shown = String::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pipe = self.pipe(stream);
            let (mut clean, mut text) = (Vec::new(), String::new());
            pipe.redact.finish(&mut clean);
            pipe.utf8.push(&clean, &mut text);
            pipe.utf8.finish(&mut text);
            self.lines.push(stream, &text, &mut shown);
        }
        self.lines.finish(&mut shown);
        self.spool.push(&shown);
        self.spool.finish();
        self.note_unfinished();
        self.end = Some(end);
        true
    }

    fn note_unfinished(&mut self) {
        match (self.lines.has_pending(), self.unfinished_since) {
            (true, None) => self.unfinished_since = Some(Instant::now()),
            (false, Some(_)) => self.unfinished_since = None,
            _ => {}
        }
    }

    fn pipe(&mut self, stream: Stream) -> &mut Pipe {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// Writes one entry. Text goes to memory or to the page cache, never to the network, so none of
/// this waits for anything.
pub(crate) struct EntryWriter(pub(super) Arc<Entry>);

impl EntryWriter {
    /// Adds bytes that a command wrote.
    pub(crate) fn output(&self, stream: Stream, bytes: &[u8]) {
        self.0.write(stream, bytes);
    }

    /// Adds a line of our own.
    pub(crate) fn line(&self, text: &str) {
        self.0.own_line(text);
    }

    /// The entry is complete.
    pub(crate) fn close(self, exit_code: i32) {
        self.0.close(exit_code);
    }
}

impl Drop for EntryWriter {
    /// Whoever wrote this entry gave up on it; its text is delivered all the same.
    fn drop(&mut self) {
        self.0.close(NO_EXIT_CODE);
    }
}

#[async_trait]
impl Output for EntryWriter {
    async fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.output(stream, bytes);
        Ok(())
    }

    fn progress(&self) -> &dyn Progress {
        self
    }
}

impl Progress for EntryWriter {
    fn line(&self, text: &str) {
        self.0.own_line(text);
    }
}
