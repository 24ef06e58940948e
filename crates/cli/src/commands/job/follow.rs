//! Printing a job's log as it grows.
//!
//! What a step wrote to its standard output goes to ours, and so for standard error; everything
//! else is told on standard error. `executor job run … > out` therefore holds the steps' output.

use crate::client::Client;
use crate::commands::print;
use crate::exit::{Exit, Failure, Outcome};
use crate::terminal::Sanitizer;
use jobs::State;
use server::api::{JobView, LogEntryView, LogEvent};
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufWriter, IsTerminal, Write};

/// Follows a job that this client submitted. The first interrupt cancels it, the second leaves.
pub(super) async fn to_the_end(client: &Client, id: i64, json: bool) -> Result<JobView, Failure> {
    let mut printer = Printer::new(json, true);
    printer.note(&format!("job {id} is queued"))?;
    let mut log = client.follow(id);
    let mut interrupts = 0;
    loop {
        let event = tokio::select! {
            event = log.next() => event?,
            _ = tokio::signal::ctrl_c() => {
                interrupts += 1;
                if interrupts > 1 {
                    return Err(Failure { exit: Exit::Canceled, message: format!("left job {id} while it was stopping") });
                }
                printer.note(&format!("canceling job {id}; interrupt once more to leave at once"))?;
                let _: JobView = client.post(&format!("/api/v1/jobs/{id}/cancel"), &()).await?;
                continue;
            }
        };
        let event =
            event.ok_or_else(|| Failure::system(format!("the log of job {id} ended without its end")))?;
        printer.print(&event)?;
        if let LogEvent::End(job) = event {
            return Ok(*job);
        }
    }
}

/// Prints a job's log as far as it goes, or (`follow`) to the job's end.
pub(super) async fn logs(client: &Client, id: i64, follow: bool, json: bool) -> Outcome {
    if follow {
        let mut printer = Printer::new(json, false);
        let mut log = client.follow(id);
        while let Some(event) = log.next().await? {
            printer.print(&event)?;
        }
        return Ok(Exit::Success);
    }
    let mut printer = Printer::new(json, false);
    let entries: Vec<LogEntryView> = client.get(&format!("/api/v1/jobs/{id}/logs")).await?;
    for entry in entries {
        let (attempt, number) = (entry.attempt, entry.entry);
        printer.print(&LogEvent::Entry(entry.clone()))?;
        let mut offset = 0;
        while offset < entry.length {
            let path = format!("/api/v1/jobs/{id}/logs/{number}/text?attempt={attempt}&offset={offset}");
            let text = client.get_text(&path).await?;
            if text.is_empty() {
                break;
            }
            let next = offset + text.len() as u64;
            printer.print(&LogEvent::Text { attempt, entry: number, offset, text })?;
            offset = next;
        }
    }
    printer.finish()?;
    Ok(Exit::Success)
}

/// Turns events into text.
struct Printer {
    json: bool,
    /// Steps' two streams go to our two, and what is around them is told only when it fails; otherwise
    /// everything goes to standard output.
    split: bool,
    keys: BTreeMap<(u32, i64), String>,
    /// The start of a line whose prefix is not whole yet, per entry.
    partial: BTreeMap<(u32, i64), String>,
    current: Option<(u32, i64)>,
    /// The latest lines of an entry that is told only when it fails.
    held: VecDeque<String>,
    out: Sink,
    err: Sink,
}

const STDOUT: &str = "stdout: ";
const STDERR: &str = "stderr: ";

/// Lines that are kept of an entry that is told only when it fails.
const HELD_LINES: usize = 40;
/// Bytes that are written at once.
const BUFFER: usize = 64 << 10;

impl Printer {
    fn new(json: bool, split: bool) -> Self {
        let out = Sink::new(std::io::stdout().is_terminal(), Box::new(std::io::stdout()));
        let err = Sink::new(std::io::stderr().is_terminal(), Box::new(std::io::stderr()));
        Self {
            json,
            split,
            keys: BTreeMap::new(),
            partial: BTreeMap::new(),
            current: None,
            held: VecDeque::new(),
            out,
            err,
        }
    }

    /// Prints an event; it is on its way to the reader when this returns.
    fn print(&mut self, event: &LogEvent) -> Result<(), Failure> {
        if self.json {
            let text = serde_json::to_string(event).map_err(|fault| Failure::chain(Exit::System, &fault))?;
            return print::line(&text);
        }
        self.render(event)?;
        self.out.flush()?;
        self.err.flush()
    }

    fn render(&mut self, event: &LogEvent) -> Result<(), Failure> {
        match event {
            LogEvent::State(job) if job.state == State::Processing => {
                let executor = job.executor.as_deref().unwrap_or("an executor");
                self.note(&format!("attempt {} on {executor}", job.attempt))
            }
            LogEvent::State(_) => Ok(()),
            LogEvent::Entry(entry) => self.entry(entry),
            LogEvent::Text { attempt, entry, text, .. } => self.text((*attempt, *entry), text),
            LogEvent::End(job) => {
                self.finish()?;
                self.end(job)
            }
        }
    }

    fn entry(&mut self, entry: &LogEntryView) -> Result<(), Failure> {
        let id = (entry.attempt, entry.entry);
        if self.keys.insert(id, entry.key.clone()).is_none() {
            self.header(id)?;
        }
        if entry.exit_code.is_some() {
            self.flush(id)?;
        }
        let held = std::mem::take(&mut self.held);
        match entry.exit_code {
            Some(code) if code != 0 => {
                held.iter().try_for_each(|line| self.aside(line))?;
                self.note(&format!("{} ended with exit code {code}", entry.key))
            }
            _ => Ok(()),
        }
    }

    fn is_step(&self, id: (u32, i64)) -> bool {
        self.keys.get(&id).is_none_or(|key| key.starts_with("step."))
    }

    fn header(&mut self, id: (u32, i64)) -> Result<(), Failure> {
        if self.current == Some(id) {
            return Ok(());
        }
        self.current = Some(id);
        let key = self.keys.get(&id).cloned().unwrap_or_else(|| format!("entry {}", id.1));
        self.note(&format!("── {key}"))
    }

    fn text(&mut self, id: (u32, i64), text: &str) -> Result<(), Failure> {
        self.header(id)?;
        let mut pending = self.partial.remove(&id).unwrap_or_default();
        pending.push_str(text);
        let whole = pending.rfind('\n').map_or(0, |end| end + 1);
        let rest = pending.split_off(whole);
        if !rest.is_empty() {
            self.partial.insert(id, rest);
        }
        let is_step = self.is_step(id);
        pending.split_inclusive('\n').try_for_each(|line| self.line(is_step, line))
    }

    fn line(&mut self, is_step: bool, line: &str) -> Result<(), Failure> {
        if !is_step {
            return self.surrounding(line);
        }
        if let Some(line) = line.strip_prefix(STDOUT) {
            self.err.flush()?;
            return self.out.write(line);
        }
        self.aside(line.strip_prefix(STDERR).unwrap_or(line))
    }

    /// A line of what is around the steps. Of a progress display, only its last state.
    fn surrounding(&mut self, line: &str) -> Result<(), Failure> {
        let line = line.strip_prefix(STDOUT).or_else(|| line.strip_prefix(STDERR)).unwrap_or(line);
        let shown = line.trim_end().rsplit('\r').next().unwrap_or_default();
        let shown = format!("{shown}\n");
        if !self.split {
            return self.out.write(&shown);
        }
        if self.held.len() == HELD_LINES {
            self.held.pop_front();
        }
        self.held.push_back(shown);
        Ok(())
    }

    /// Whatever is not a step's standard output.
    fn aside(&mut self, text: &str) -> Result<(), Failure> {
        if !self.split {
            return self.out.write(text);
        }
        self.out.flush()?;
        self.err.write(text)
    }

    fn flush(&mut self, id: (u32, i64)) -> Result<(), Failure> {
        match self.partial.remove(&id) {
            Some(rest) => self.line(self.is_step(id), &format!("{rest}\n")),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), Failure> {
        let ids: Vec<_> = self.partial.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.flush(id))
    }

    fn end(&mut self, job: &JobView) -> Result<(), Failure> {
        let reason = job.reason.as_deref().map_or(String::new(), |reason| format!(" ({reason})"));
        self.note(&format!("job {} is {}{reason}", job.id, job.state))?;
        match &job.message {
            Some(message) => self.note(message),
            None => Ok(()),
        }
    }

    fn note(&mut self, text: &str) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        self.aside(&format!("{text}\n"))?;
        self.err.flush()
    }
}

/// One of our streams, buffered. On a terminal, control sequences are taken out.
struct Sink {
    sanitizer: Option<Sanitizer>,
    stream: BufWriter<Box<dyn Write + Send>>,
}

impl Sink {
    fn new(terminal: bool, stream: Box<dyn Write + Send>) -> Self {
        Self {
            sanitizer: terminal.then(Sanitizer::default),
            stream: BufWriter::with_capacity(BUFFER, stream),
        }
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        let clean = self.sanitizer.as_mut().map(|sanitizer| sanitizer.clean(text));
        done(self.stream.write_all(clean.as_deref().unwrap_or(text).as_bytes()))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        done(self.stream.flush())
    }
}

/// A reader that went away is no fault of ours.
fn done(written: std::io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(fault) if fault.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::system(format!("the output can't be written: {fault}")))
        }
        _ => Ok(()),
    }
}
