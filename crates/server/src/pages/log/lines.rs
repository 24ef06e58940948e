//! From a log entry's text to lines that can be shown.
//!
//! Text comes in pieces that end anywhere. Of a line that has not ended, all is kept until it has: it is painted anew
//! with each piece. So nothing is split that belongs together.

use super::ansi::{Run, runs};
use maud::{Markup, html};
use serde::Serialize;

/// Bytes of a line that are kept in the hope of its end; a longer one is shown in pieces.
const LONGEST: usize = 16 << 10;
const STDOUT: &str = "stdout: ";
const STDERR: &str = "stderr: ";

/// A line: whether it is of the standard error, and its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line(pub(super) bool, pub(super) Vec<Run>);

impl Line {
    fn of(text: &str) -> Self {
        let (is_error, text) = match text.strip_prefix(STDERR) {
            Some(text) => (true, text),
            None => (false, text.strip_prefix(STDOUT).unwrap_or(text)),
        };
        // What a progress bar wrote before is not on the line any more.
        let text = text.trim_end_matches('\r');
        let text = text.rsplit('\r').next().unwrap_or(text);
        Self(is_error, runs(text))
    }

    /// Whether it reads like that of a fault.
    pub(super) fn tells_of_a_fault(&self) -> bool {
        const WORDS: [&str; 5] = ["error", "fatal", "panic", "failed", "exception"];
        let text: String = self.1.iter().map(|run| run.1.as_str()).collect::<String>().to_ascii_lowercase();
        WORDS.iter().any(|word| text.contains(word))
    }

    /// As HTML, without the line's end.
    pub(super) fn show(&self, id: Option<&str>, is_open: bool) -> Markup {
        let inner = html! {
            @for Run(classes, text) in &self.1 {
                @if classes.is_empty() { (text) } @else { span class=(classes) { (text) } }
            }
        };
        let class = match (self.0, is_open) {
            (false, false) => None,
            (true, false) => Some("err"),
            (false, true) => Some("open"),
            (true, true) => Some("open err"),
        };
        html! {
            @if class.is_some() || id.is_some() { span id=[id] class=[class] { (inner) } } @else { (inner) }
        }
    }
}

/// The lines of one entry, as they come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// What there is of the line that has not ended.
    open: String,
}

impl Lines {
    /// Adds text; gives the lines that have ended by it.
    pub(super) fn add(&mut self, text: &str) -> Vec<Line> {
        let mut ended = Vec::new();
        for piece in text.split_inclusive('\n') {
            self.open.push_str(piece);
            if self.open.ends_with('\n') {
                self.open.pop();
                ended.push(Line::of(&std::mem::take(&mut self.open)));
            }
            while self.open.len() > LONGEST {
                let rest = self.open.split_off(self.open.floor_char_boundary(LONGEST));
                ended.push(Line::of(&std::mem::replace(&mut self.open, rest)));
            }
        }
        ended
    }

    /// The line that has not ended, as far as it is there.
    pub(super) fn open(&self) -> Option<Line> {
        (!self.open.is_empty()).then(|| Line::of(&self.open))
    }

    /// Its bytes.
    pub(super) const fn open_bytes(&self) -> u64 {
        self.open.len() as u64
    }

    /// Nothing more comes: the last line ends here.
    pub(super) fn end(&mut self) -> Option<Line> {
        let last = self.open();
        self.open.clear();
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &[Line]) -> Vec<(bool, String)> {
        lines.iter().map(|Line(err, runs)| (*err, runs.iter().map(|run| run.1.as_str()).collect())).collect()
    }

    #[test]
    fn pieces_are_put_together_to_lines() {
        let mut lines = Lines::default();
        assert_eq!(text(&lines.add("stdout: a\nstder")), [(false, "a".to_owned())]);
        assert_eq!(text(&lines.open().into_iter().collect::<Vec<_>>()), [(false, "stder".to_owned())]);
        assert_eq!(lines.open_bytes(), 5);
        assert_eq!(text(&lines.add("r: \u{1b}[3")), []);
        assert_eq!(text(&lines.add("1mb\n\nc")), [(true, "b".to_owned()), (false, String::new())]);
        assert_eq!(text(&lines.end().into_iter().collect::<Vec<_>>()), [(false, "c".to_owned())]);
        assert_eq!(lines.end(), None);
    }

    #[test]
    fn what_was_written_over_is_not_shown() {
        let mut lines = Lines::default();
        let shown = lines.add("stdout: 10%\r50%\r100%\r\nstdout: windows\r\n");
        assert_eq!(text(&shown), [(false, "100%".to_owned()), (false, "windows".to_owned())]);
    }

    #[test]
    fn a_line_without_an_end_is_shown_in_pieces() {
        let mut lines = Lines::default();
        let shown = lines.add(&"ä".repeat(LONGEST));
        assert_eq!(shown.len(), 1);
        assert!(lines.open_bytes() <= LONGEST as u64);
    }

    #[test]
    fn markup_is_text() {
        let line = Line::of("stderr: <script>alert(1)</script>\u{1b}[31m<b>");
        let html = line.show(None, false).into_string();
        assert_eq!(
            html,
            "<span class=\"err\">&lt;script&gt;alert(1)&lt;/script&gt;<span class=\"f1\">&lt;b&gt;</span></span>"
        );
    }
}
