//! Printing a job's log as it grows.
//!
//! What a step wrote to its standard output goes to ours, and so for standard error; everything
//! else is told on standard error. `executor job run … > out` therefore holds the steps' output.

use super::sink::Sink;
use crate::commands::print;
use crate::exit::Failure;
use crate::shown;
use jobs::State;
use server::api::{JobView, LogEntryView, LogEvent};
use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal;

/// Turns events into text.
pub(super) struct Printer {
    json: bool,
    /// Steps' two streams go to our two, and what is around them is told only when it fails; otherwise
    /// everything goes to standard output.
    split: bool,
    keys: BTreeMap<(u32, i64), String>,
    /// The line that has not ended yet, per entry.
    partial: BTreeMap<(u32, i64), Line>,
    current: Option<(u32, i64)>,
    /// The attempt that was told.
    attempt: u32,
    /// Earlier tries whose end was told.
    told: usize,
    /// The latest lines of an entry that is told only when it fails.
    held: VecDeque<String>,
    out: Sink,
    err: Sink,
}

/// What is kept of a line that has not ended yet.
#[derive(Default)]
struct Line {
    text: String,
    /// Set once its beginning was printed, because it is long: where the rest goes.
    stream: Option<Stream>,
}

#[derive(Clone, Copy)]
enum Stream {
    Out,
    Aside,
}

impl Stream {
    /// Where a line goes, and what of it is shown.
    fn of(line: &str) -> (Self, &str) {
        match line.strip_prefix(STDOUT) {
            Some(text) => (Self::Out, text),
            None => (Self::Aside, line.strip_prefix(STDERR).unwrap_or(line)),
        }
    }
}

const STDOUT: &str = "stdout: ";
const STDERR: &str = "stderr: ";

/// The exit code of an entry whose command came to none.
const NO_EXIT_CODE: i32 = -1;

/// Bytes of a line that are kept in the hope of its end; a longer one is printed in pieces. Longer than
/// the names of streams at its beginning.
const LONGEST_KEPT: usize = 64 << 10;

/// Blanks before what goes on from the line above of what is not the steps'.
const INDENT: usize = 2;

/// Lines that are kept of an entry that is told only when it fails.
const HELD_LINES: usize = 40;

impl Printer {
    pub(super) fn new(json: bool, split: bool) -> Self {
        let out = Sink::new(std::io::stdout().is_terminal(), Box::new(std::io::stdout()));
        let err = Sink::new(std::io::stderr().is_terminal(), Box::new(std::io::stderr()));
        Self::to(out, err, json, split)
    }

    fn to(out: Sink, err: Sink, json: bool, split: bool) -> Self {
        Self {
            json,
            split,
            keys: BTreeMap::new(),
            partial: BTreeMap::new(),
            current: None,
            attempt: 0,
            told: 0,
            held: VecDeque::new(),
            out,
            err,
        }
    }

    /// Prints an event; it is on its way to the reader when this returns.
    pub(super) fn print(&mut self, event: &LogEvent) -> Result<(), Failure> {
        if self.json {
            return print::json_line(event);
        }
        self.render(event)?;
        self.out.flush()?;
        self.err.flush()
    }

    fn render(&mut self, event: &LogEvent) -> Result<(), Failure> {
        match event {
            LogEvent::State(job) => self.state(job),
            LogEvent::Entry(entry) => self.entry(entry),
            LogEvent::Text { attempt, entry, text, .. } => self.text((*attempt, *entry), text),
            LogEvent::End(job) => {
                self.finish()?;
                self.end(job)
            }
        }
    }

    /// Which tries ended, and which runs: each once, however often the state is told.
    fn state(&mut self, job: &JobView) -> Result<(), Failure> {
        let news = job.earlier_tries.iter().skip(self.told);
        for earlier in news {
            self.finish()?;
            self.note(&format!("attempt {} ended: {}", earlier.attempt, super::earlier_end(earlier)))?;
        }
        if let Some(time) = job.retry_at.filter(|_| self.told < job.earlier_tries.len()) {
            self.note(&format!("job {} is tried again from {time} on", job.id))?;
        }
        self.told = self.told.max(job.earlier_tries.len());
        if job.state == State::Processing && self.attempt != job.attempt {
            self.attempt = job.attempt;
            let executor = job.executor.as_deref().unwrap_or("an executor");
            self.note(&format!("attempt {} on {executor}", job.attempt))?;
        }
        Ok(())
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
                let how = match code {
                    NO_EXIT_CODE => "came to no exit code".to_owned(),
                    code => format!("ended with exit code {code}"),
                };
                self.note(&format!("{} {how}", entry.key))
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
        let is_step = self.is_step(id);
        let mut line = self.partial.remove(&id).unwrap_or_default();
        for piece in text.split_inclusive('\n') {
            line.text.push_str(piece);
            if piece.ends_with('\n') || line.text.len() > LONGEST_KEPT {
                self.piece(is_step, &mut line)?;
            }
        }
        if !line.text.is_empty() || line.stream.is_some() {
            self.partial.insert(id, line);
        }
        Ok(())
    }

    /// Prints what there is of a line: all of it, or the next piece.
    fn piece(&mut self, is_step: bool, line: &mut Line) -> Result<(), Failure> {
        let text = std::mem::take(&mut line.text);
        let (stream, shown) = line.stream.map_or_else(|| Stream::of(&text), |stream| (stream, &text));
        line.stream = (!text.ends_with('\n')).then_some(stream);
        match stream {
            _ if !is_step => self.surrounding(shown),
            Stream::Out => {
                self.err.flush()?;
                self.out.write(shown)
            }
            Stream::Aside => self.aside(shown),
        }
    }

    /// A line, or a piece of one, of what is around the steps. Of a progress display, only its last state.
    fn surrounding(&mut self, line: &str) -> Result<(), Failure> {
        let mut shown = line.trim_end().rsplit('\r').next().unwrap_or_default().to_owned();
        if line.ends_with('\n') {
            shown.push('\n');
        }
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
            Some(mut line) => {
                line.text.push('\n');
                self.piece(self.is_step(id), &mut line)
            }
            None => Ok(()),
        }
    }

    pub(super) fn finish(&mut self) -> Result<(), Failure> {
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

    pub(super) fn note(&mut self, text: &str) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        self.aside(&format!("{}\n", shown::paragraph(text, INDENT)))?;
        self.err.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Screen {
        fn sink(&self) -> Sink {
            Sink::new(false, Box::new(self.clone()))
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    const STEP: (u32, i64) = (1, 1);

    fn printer(key: &str) -> (Printer, Screen, Screen) {
        let (out, err) = (Screen::default(), Screen::default());
        let mut printer = Printer::to(out.sink(), err.sink(), false, true);
        printer.keys.insert(STEP, key.to_owned());
        printer.current = Some(STEP);
        (printer, out, err)
    }

    fn print(printer: &mut Printer, text: &str) {
        let (attempt, entry) = STEP;
        printer.print(&LogEvent::Text { attempt, entry, offset: 0, text: text.to_owned() }).unwrap();
    }

    #[test]
    fn an_attempt_is_told_once() {
        let job = |attempt, cancel_requested| -> JobView {
            serde_json::from_value(serde_json::json!({
                "id": 1, "queue": "batches", "state": "processing", "reason": null, "end": null, "blame": null,
                "message": null, "cancelRequested": cancel_requested, "attempt": attempt, "executor": "e",
                "repository": null, "rev": null, "commit": null, "queuedAt": "2026-01-01T00:00:00Z",
                "startedAt": null, "finishedAt": null, "steps": []
            }))
            .unwrap()
        };
        let (mut printer, _, err) = printer("step.docker.0");
        for (attempt, cancel_requested) in [(1, false), (1, true), (2, true)] {
            printer.print(&LogEvent::State(Box::new(job(attempt, cancel_requested)))).unwrap();
        }
        assert_eq!(err.text(), "attempt 1 on e\nattempt 2 on e\n");
        let mut errored = job(2, false);
        errored.state = State::Errored;
        errored.retry_at = Some("2026-01-01T00:00:10Z".parse().unwrap());
        errored.earlier_tries = serde_json::from_value(serde_json::json!([{
            "attempt": 2, "executor": "e", "startedAt": null, "endedAt": "2026-01-01T00:00:00Z",
            "reason": "image_unavailable", "end": {"reason": "image_unavailable", "class": "rate_limited"},
            "blame": "system", "message": "wait"
        }]))
        .unwrap();
        for _ in 0..2 {
            printer.print(&LogEvent::State(Box::new(errored.clone()))).unwrap();
        }
        let told = "attempt 2 ended: image_unavailable on e: rate limited; wait\n\
                    job 1 is tried again from 2026-01-01T00:00:10Z on\n";
        assert_eq!(err.text(), format!("attempt 1 on e\nattempt 2 on e\n{told}"));
    }

    #[test]
    fn lines_go_to_their_stream_however_they_are_cut() {
        let text = "stdout: one\nstderr: two\nstdout: three\n";
        for size in 1..text.len() {
            let (mut printer, out, err) = printer("step.docker.0");
            for piece in text.as_bytes().chunks(size) {
                print(&mut printer, std::str::from_utf8(piece).unwrap());
            }
            assert_eq!((out.text().as_str(), err.text().as_str()), ("one\nthree\n", "two\n"), "{size}");
        }
    }

    #[test]
    fn a_long_line_is_printed_in_pieces_and_never_kept() {
        for (prefix, to_out) in [(STDOUT, true), (STDERR, false)] {
            let (mut printer, out, err) = printer("step.docker.0");
            print(&mut printer, &prefix[..3]);
            print(&mut printer, &prefix[3..]);
            let piece = "x".repeat(10_000);
            for _ in 0..100 {
                print(&mut printer, &piece);
                let kept: usize = printer.partial.values().map(|line| line.text.capacity()).sum();
                assert!(kept <= 2 * LONGEST_KEPT, "{kept} bytes are kept");
            }
            print(&mut printer, "stdout: is no prefix here\nstdout: next\nstdout: no end");
            printer.finish().unwrap();
            printer.out.flush().unwrap();
            printer.err.flush().unwrap();
            let long = format!("{}stdout: is no prefix here\n", "x".repeat(1_000_000));
            let (out, err) = (out.text(), err.text());
            assert!(if to_out { out.starts_with(&long) && err.is_empty() } else { err == long });
            assert!(out.ends_with("next\nno end\n"), "the next line has its own prefix again");
        }
    }

    #[test]
    fn of_what_is_around_the_steps_a_long_line_is_held_in_pieces() {
        let (mut printer, out, _) = printer("setup.git.fetch");
        let progress = "stderr: 1%\r2%\r3%\n";
        print(&mut printer, progress);
        for _ in 0..100 {
            print(&mut printer, &"y".repeat(LONGEST_KEPT));
        }
        let held: usize = printer.held.iter().map(String::len).sum();
        assert!(held <= HELD_LINES * 2 * LONGEST_KEPT, "{held} bytes are held");
        assert!(out.text().is_empty());
    }
}
