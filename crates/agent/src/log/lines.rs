//! Two streams of text to one text of whole, prefixed lines.

use runtimes::Stream;

/// Lines up to this length are never torn apart by the other stream; longer ones are passed on as
/// they come.
const LONGEST_WHOLE: usize = 64 << 10;

/// Puts `stdout: ` or `stderr: ` before every line and lets no line begin inside another.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: [String; 2],
    /// The stream whose unfinished line has been passed on in part.
    open: Option<Stream>,
}

impl Lines {
    /// Takes text of one stream in and appends what may be passed on to `out`.
    pub(super) fn push(&mut self, stream: Stream, text: &str, out: &mut String) {
        let whole = text.rfind('\n').map_or(0, |last| last + 1);
        for line in text[..whole].split_inclusive('\n') {
            let begun = std::mem::take(&mut self.pending[index(stream)]);
            self.begin(stream, out);
            out.push_str(&begun);
            out.push_str(line);
            self.open = None;
        }
        self.pending[index(stream)].push_str(&text[whole..]);
        if self.pending[index(stream)].len() > LONGEST_WHOLE {
            self.pass_on(stream, out);
        }
    }

    /// Adds a line of our own, without a prefix.
    pub(super) fn own_line(&mut self, line: &str, out: &mut String) {
        self.end_open(out);
        out.push_str(line);
        out.push('\n');
    }

    /// Whether a line is unfinished and has not been passed on.
    pub(super) fn has_pending(&self) -> bool {
        self.pending.iter().any(|line| !line.is_empty())
    }

    /// Passes unfinished lines on, for people who wait for a prompt or a progress bar.
    pub(super) fn flush(&mut self, out: &mut String) {
        // The stream that is open goes first: its line need not be torn.
        let order = match self.open {
            Some(Stream::Stderr) => [Stream::Stderr, Stream::Stdout],
            _ => [Stream::Stdout, Stream::Stderr],
        };
        for stream in order {
            if !self.pending[index(stream)].is_empty() {
                self.pass_on(stream, out);
            }
        }
    }

    /// The streams ended: the last line gets its newline.
    pub(super) fn finish(&mut self, out: &mut String) {
        self.flush(out);
        self.end_open(out);
    }

    fn pass_on(&mut self, stream: Stream, out: &mut String) {
        self.begin(stream, out);
        out.push_str(&std::mem::take(&mut self.pending[index(stream)]));
        self.open = Some(stream);
    }

    /// Gets to where text of `stream` may be written: in its open line or at a new one.
    fn begin(&mut self, stream: Stream, out: &mut String) {
        if self.open != Some(stream) {
            self.end_open(out);
            out.push_str(match stream {
                Stream::Stdout => "stdout: ",
                Stream::Stderr => "stderr: ",
            });
        }
    }

    fn end_open(&mut self, out: &mut String) {
        if self.open.take().is_some() {
            out.push('\n');
        }
    }
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Stream::{Stderr, Stdout};

    fn check(writes: &[(Stream, &str)], expect: &str) {
        let (mut lines, mut out) = (Lines::default(), String::new());
        for (stream, text) in writes {
            lines.push(*stream, text, &mut out);
        }
        lines.finish(&mut out);
        assert_eq!(out, expect);
    }

    #[test]
    fn every_line_gets_its_prefix_and_the_last_its_newline() {
        check(&[(Stdout, "a\nb\n"), (Stderr, "c")], "stdout: a\nstdout: b\nstderr: c\n");
        check(&[(Stdout, "\n\n")], "stdout: \nstdout: \n");
        check(&[], "");
    }

    #[test]
    fn the_other_stream_does_not_tear_a_line() {
        check(&[(Stdout, "ab"), (Stderr, "x\n"), (Stdout, "cd\n")], "stderr: x\nstdout: abcd\n");
    }

    #[test]
    fn a_line_that_was_passed_on_goes_on_or_is_ended_by_the_other() {
        let (mut lines, mut out) = (Lines::default(), String::new());
        lines.push(Stdout, "50 %", &mut out);
        lines.flush(&mut out);
        assert_eq!(out, "stdout: 50 %");
        lines.push(Stdout, " 60 %", &mut out);
        lines.flush(&mut out);
        assert_eq!(out, "stdout: 50 % 60 %");
        lines.push(Stderr, "oops\n", &mut out);
        lines.push(Stdout, " 70 %\n", &mut out);
        lines.own_line("pulled", &mut out);
        assert_eq!(out, "stdout: 50 % 60 %\nstderr: oops\nstdout:  70 %\npulled\n");
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_on_in_pieces_and_keeps_one_prefix() {
        let (mut lines, mut out) = (Lines::default(), String::new());
        let piece = "x".repeat(50_000);
        for _ in 0..10 {
            lines.push(Stdout, &piece, &mut out);
            assert!(lines.pending.iter().all(|line| line.len() <= LONGEST_WHOLE));
        }
        lines.push(Stdout, "\n", &mut out);
        assert_eq!(out, format!("stdout: {}\n", piece.repeat(10)));
    }
}
