//! Tables for people, JSON for programs.

use crate::exit::{Exit, Failure, Outcome};
use crate::shown;
use comfy_table::presets::NOTHING;
use jiff::{SpanRound, Timestamp, Unit};
use serde::Serialize;
use server::api::Page;
use std::io::Write;

/// Where the facts about one thing begin, after their names.
const FACTS_BEGIN: usize = 12;

/// One JSON document on standard output.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|fault| Failure::chain(Exit::System, &fault))?;
    write(&shown::json(&text))
}

/// The same in one line, for one of several.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|fault| Failure::chain(Exit::System, &fault))?;
    write(&shown::json(&text))
}

/// Text on standard output, its last line ended. Nothing in it is obeyed by a terminal, whoever it comes from; whoever puts text
/// of others into one with lines of ours sees to it that it has none of its own.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    write(&shown::lines(text))
}

/// What stands there as it is. A reader that went away is no fault of ours.
fn write(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(fault) if fault.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::system(format!("standard output can't be written: {fault}")))
        }
        _ => Ok(()),
    }
}

/// What came of a command: one JSON document for programs, else a line for people.
pub(crate) fn tell(as_json: bool, value: &impl Serialize, text: &str) -> Outcome {
    let said = if as_json { json(value) } else { line(&shown::line(text)) };
    said.map(|()| Exit::Success)
}

/// A secret that is shown once: alone on standard output, so that it can go into a file, and what is to be said of it beside
/// that.
pub(crate) fn once(as_json: bool, value: &impl Serialize, said: &str, secret: &str) -> Outcome {
    if as_json {
        return tell(as_json, value, secret);
    }
    // Who can't be told can still have the secret.
    let _ = writeln!(std::io::stderr(), "{}", shown::line(said));
    tell(as_json, value, secret)
}

/// What there is of a kind: JSON for programs, else a table, or `none` where it is nothing.
pub(crate) fn list<T: Serialize>(
    as_json: bool,
    items: &[T],
    header: &[&str],
    none: &str,
    row: impl Fn(&T) -> Vec<String>,
) -> Outcome {
    if as_json {
        json(&items)?;
    } else {
        table(header, items.iter().map(row).collect(), none)?;
    }
    Ok(Exit::Success)
}

/// The facts about one thing, below each other.
pub(crate) fn facts(facts: impl IntoIterator<Item = (&'static str, String)>) -> Result<(), Failure> {
    facts.into_iter().try_for_each(|(name, value)| fact(name, &value))
}

/// One of them. Where it has several lines, none but the first begins where the names of facts are.
pub(crate) fn fact(name: &str, value: &str) -> Result<(), Failure> {
    line(format!("{name:<11} {}", shown::paragraph(value, FACTS_BEGIN)).trim_end())
}

/// A page of a long list, and how the next one is asked for where there is one: programs go on as people do.
pub(crate) fn page<T: Serialize>(
    as_json: bool,
    page: &Page<T>,
    header: &[&str],
    none: &str,
    row: impl Fn(&T) -> Vec<String>,
) -> Outcome {
    if as_json {
        json(page)?;
        return Ok(Exit::Success);
    }
    table(header, page.items.iter().map(row).collect(), none)?;
    if let Some(cursor) = &page.next_cursor {
        line(&format!("there is more: --before {}", shown::line(cursor)))?;
    }
    Ok(Exit::Success)
}

/// A table without lines; says `none` when there are no rows.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>, none: &str) -> Result<(), Failure> {
    if rows.is_empty() {
        return line(none);
    }
    let mut table = comfy_table::Table::new();
    table.load_style(NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| shown::line(cell)));
    }
    let text = table.to_string();
    text.lines().try_for_each(|text| line(text.trim_end().strip_prefix(' ').unwrap_or(text.trim_end())))
}

/// A moment, to the second.
pub(crate) fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// How long ago, roughly.
pub(crate) fn ago(time: Timestamp) -> String {
    format!("{} ago", span(time, Timestamp::now()))
}

/// How long from one time to another, roughly: the two largest units.
pub(crate) fn span(from: Timestamp, to: Timestamp) -> String {
    let seconds = (to.as_second() - from.as_second()).max(0);
    let smallest = match seconds {
        0..=7_199 => Unit::Second,
        7_200..=172_799 => Unit::Minute,
        _ => Unit::Hour,
    };
    let rounded =
        jiff::Span::new().seconds(seconds).round(SpanRound::new().largest(Unit::Hour).smallest(smallest));
    rounded.map_or_else(|_| format!("{seconds}s"), |span| format!("{span:#}"))
}

/// Bytes for people: `12 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    jobs::shown_size(count)
}

/// Milliseconds for people.
pub(crate) fn millis(duration_ms: i64) -> String {
    match duration_ms {
        ..=999 => format!("{duration_ms} ms"),
        1_000..=59_999 => format!("{:.1} s", duration_ms as f64 / 1_000.0),
        _ => format!("{} min {} s", duration_ms / 60_000, duration_ms % 60_000 / 1_000),
    }
}
