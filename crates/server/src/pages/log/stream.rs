//! A log as it grows, for the module in the page: lines that are painted already.

use super::lines::{Line, Lines};
use crate::api::{LogEntryView, LogEvent};
use crate::pages::fault::Fault;
use crate::pages::frame::Answer;
use crate::pages::plain::plain;
use crate::pages::timeline::Part;
use crate::pages::visit::Visit;
use crate::public_api::cursor::Cursor;
use crate::public_api::stream::{answer, follow, resume, written};
use crate::public_api::{follow, seen};
use bytes::Bytes;
use futures_util::stream as streams;
use jobs::{JobId, State};
use serde::Serialize;
use std::collections::BTreeMap;

/// What the module is told. The name of each is the event's.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Told {
    /// The job, or its try, is in another state.
    #[serde(rename_all = "camelCase")]
    State { state: State, attempt: u32, ended: bool },
    /// An entry begins, or has ended.
    #[serde(rename_all = "camelCase")]
    Entry {
        attempt: u32,
        entry: i64,
        part: &'static str,
        name: String,
        exit_code: Option<i32>,
        duration: Option<String>,
        /// What was left of its last line.
        lines: Vec<Line>,
    },
    /// Lines that have ended, and the one that has not.
    Text { attempt: u32, entry: i64, lines: Vec<Line>, open: Option<Line> },
}

impl Told {
    const fn name(&self) -> &'static str {
        match self {
            Self::State { ended: true, .. } => "end",
            Self::State { .. } => "state",
            Self::Entry { .. } => "entry",
            Self::Text { .. } => "text",
        }
    }
}

/// `GET /jobs/{id}/log/stream`
pub(in crate::pages) async fn stream(visit: Visit) -> Result<Answer, Fault> {
    let id = visit.number("id")?;
    seen::job(&visit.pages.app, &visit.caller, JobId(id)).await?;
    let cursor = resume(&visit.headers, visit.query("cursor").map(str::to_owned))?;
    let told = follow(&visit.pages.app, &visit.caller, JobId(id), cursor);
    let events = streams::unfold((told, Painter::default()), async |(mut told, mut painter)| {
        // Nothing that is large there is shown here.
        let follow::Told { event, cursor, room: _ } = told.recv().await?;
        let (told_now, cursor) = painter.paint(event, &cursor);
        let sent = written(told_now.name(), &cursor, &told_now).map(Bytes::from);
        Some((sent, (told, painter)))
    });
    Ok(Answer::Raw(answer(events)))
}

/// Paints lines as they end.
#[derive(Default)]
struct Painter {
    /// Of each entry, by try and number, the line that has not ended.
    open: BTreeMap<(u32, i64), Lines>,
}

impl Painter {
    /// What is told of an event, and where to go on after it: at the beginning of lines that have not ended.
    fn paint(&mut self, event: LogEvent, cursor: &str) -> (Told, String) {
        let told = match event {
            LogEvent::State(job) => Told::State { state: job.state, attempt: job.attempt, ended: false },
            LogEvent::End(job) => Told::State { state: job.state, attempt: job.attempt, ended: true },
            LogEvent::Entry(entry) => self.entry(&entry),
            LogEvent::Text { attempt, entry, offset: _, text } => {
                let lines = self.open.entry((attempt, entry)).or_default();
                let ended = lines.add(&text);
                Told::Text { attempt, entry, lines: ended, open: lines.open() }
            }
        };
        let cursor = cursor.parse::<Cursor>().unwrap_or_default();
        // Of the others no more is told, and there may be thousands of them.
        self.open.retain(|(attempt, entry), _| *attempt == cursor.attempt && cursor.open.contains_key(entry));
        (told, self.before_open_lines(cursor).to_string())
    }

    fn entry(&mut self, entry: &LogEntryView) -> Told {
        let ended = entry.exit_code.is_some();
        let last = if ended { self.open.remove(&(entry.attempt, entry.entry)) } else { None };
        let (part, name) = Part::of(&entry.key);
        Told::Entry {
            attempt: entry.attempt,
            entry: entry.entry,
            part: part.one(),
            name: plain(name).into_owned(),
            exit_code: entry.exit_code,
            duration: entry.duration_ms.map(crate::pages::parts::span),
            lines: last.and_then(|mut lines| lines.end()).into_iter().collect(),
        }
    }

    fn before_open_lines(&self, mut cursor: Cursor) -> Cursor {
        for ((attempt, entry), lines) in &self.open {
            if *attempt == cursor.attempt
                && let Some(sent) = cursor.open.get_mut(entry)
            {
                *sent = sent.saturating_sub(lines.open_bytes());
            }
        }
        cursor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public_api::cursor::MAX_OPEN;
    use jiff::Timestamp;

    fn text(painter: &mut Painter, text: &str, cursor: &str) -> (usize, bool, String) {
        let event = LogEvent::Text { attempt: 1, entry: 1, offset: 0, text: text.to_owned() };
        let (told, cursor) = painter.paint(event, cursor);
        let Told::Text { lines, open, .. } = told else { panic!("{told:?}") };
        (lines.len(), open.is_some(), cursor)
    }

    fn entry(exit_code: Option<i32>) -> LogEvent {
        LogEvent::Entry(LogEntryView {
            attempt: 1,
            entry: 1,
            key: "step.docker.a\u{202e}b".to_owned(),
            command: None,
            started_at: Timestamp::UNIX_EPOCH,
            exit_code,
            duration_ms: exit_code.map(|_| 1_500),
            length: 0,
        })
    }

    fn open(attempt: u32, entry: i64) -> LogEvent {
        LogEvent::Text { attempt, entry, offset: 0, text: "open".to_owned() }
    }

    #[test]
    fn no_more_lines_are_kept_than_entries_are_followed() {
        let mut painter = Painter::default();
        let mut cursor = Cursor::begin(1);
        for entry in 1..=2 * MAX_OPEN as i64 {
            cursor.announce(entry, 4);
            painter.paint(open(1, entry), &cursor.to_string());
        }
        assert_eq!(painter.open.len(), MAX_OPEN);
        let mut cursor = Cursor::begin(2);
        cursor.announce(1, 4);
        painter.paint(open(2, 1), &cursor.to_string());
        assert_eq!(painter.open.len(), 1, "the others are of an earlier try");
    }

    #[test]
    fn who_comes_back_begins_at_the_beginning_of_a_line() {
        let mut painter = Painter::default();
        let (told, _) = painter.paint(entry(None), "1.0.1-0");
        let Told::Entry { part, name, .. } = told else { panic!("{told:?}") };
        assert_eq!((part, name.as_str()), ("Step", "a«U+202E»b"));
        assert_eq!(text(&mut painter, "one\ntw", "1.0.1-6"), (1, true, "1.0.1-4".to_owned()));
        assert_eq!(text(&mut painter, "o\n", "1.0.1-8"), (1, false, "1.0.1-8".to_owned()));
        assert_eq!(text(&mut painter, "three", "1.0.1-13"), (0, true, "1.0.1-8".to_owned()));
        let (told, cursor) = painter.paint(entry(Some(2)), "1.1");
        let Told::Entry { lines, duration, .. } = told else { panic!("{told:?}") };
        assert_eq!((lines.len(), duration.as_deref(), cursor.as_str()), (1, Some("1.5 s"), "1.1"));
    }
}
