//! Tables for people, JSON for programs.

use crate::exit::{Exit, Failure, Outcome};
use comfy_table::presets::NOTHING;
use jiff::{SpanRound, Timestamp, Unit};
use jobs::name::as_shown;
use serde::Serialize;
use std::borrow::Cow;
use std::io::Write;

/// One JSON document on standard output.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|fault| Failure::chain(Exit::System, &fault))?;
    line(&unhidden(&text))
}

/// JSON that means the same, without characters that would hide or turn around what stands beside them on a terminal. Beyond
/// ASCII there is nothing but in strings.
fn unhidden(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if (c.is_ascii() && c != '\u{7f}') || matches!(as_shown(c.encode_utf8(&mut [0; 4])), Cow::Borrowed(_))
        {
            shown.push(c);
        } else {
            let mut units = [0; 2];
            let units: Vec<String> =
                c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect();
            shown.push_str(&units.concat());
        }
    }
    shown
}

/// One line on standard output. A reader that went away is no fault of ours.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(fault) if fault.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::system(format!("standard output can't be written: {fault}")))
        }
        _ => Ok(()),
    }
}

/// What came of a command: one JSON document for programs, else a line for people.
pub(crate) fn tell(as_json: bool, value: &impl Serialize, text: &str) -> Outcome {
    let said = if as_json { json(value) } else { line(text) };
    said.map(|()| Exit::Success)
}

/// A secret that is shown once: alone on standard output, so that it can go into a file, and what is to be said of it beside
/// that.
pub(crate) fn once(as_json: bool, value: &impl Serialize, said: &str, secret: &str) -> Outcome {
    if as_json {
        return tell(as_json, value, secret);
    }
    // Who can't be told can still have the secret.
    let _ = writeln!(std::io::stderr(), "{said}");
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
    facts.into_iter().try_for_each(|(name, value)| line(&format!("{name:<11} {value}")))
}

/// Tells people how the next page is asked for, where there is one.
pub(crate) fn more(next_cursor: Option<&str>) -> Result<(), Failure> {
    next_cursor.map_or(Ok(()), |cursor| line(&format!("there is more: --before {cursor}")))
}

/// A table without lines; says `none` when there are no rows.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>, none: &str) -> Result<(), Failure> {
    if rows.is_empty() {
        return line(none);
    }
    let mut table = comfy_table::Table::new();
    table.load_style(NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_turns_no_terminal_around_and_means_the_same() {
        let names = ["plain ü", "a\u{202e}b", "\u{e0001}"];
        let shown = unhidden(&serde_json::to_string(&names).unwrap());
        assert_eq!(shown, r#"["plain ü","a\u202eb","\udb40\udc01"]"#);
        assert_eq!(serde_json::from_str::<[String; 3]>(&shown).unwrap(), names);
    }
}
