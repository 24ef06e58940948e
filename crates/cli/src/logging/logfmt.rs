//! Lines of `key=value`, with quotes where a value needs them.

use super::level_name;
use crate::exit::chain;
use std::error::Error;
use std::fmt::{self, Debug, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes events so. There are no spans here that a line could be in.
pub(super) struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (about, mut fields) = (event.metadata(), Fields::default());
        event.record(&mut fields);
        begin(&mut writer, level_name(*about.level()))?;
        pair(&mut writer, "target", about.target())?;
        pair(&mut writer, "message", &fields.message)?;
        writeln!(writer, "{}", fields.others)
    }
}

/// A line of our own at this level, without its end.
pub(super) fn line(level: &str, message: &str) -> String {
    let mut line = String::new();
    // A text takes whatever is written to it.
    let _ = begin(&mut Writer::new(&mut line), level).and_then(|()| pair(&mut line, "message", message));
    line
}

fn begin(writer: &mut Writer<'_>, level: &str) -> fmt::Result {
    writer.write_str("timestamp=")?;
    SystemTime.format_time(writer)?;
    write!(writer, " level={level}")
}

/// What an event tells, as it is written.
#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            // A text takes whatever is written to it.
            name => drop(pair(&mut self.others, name.trim_start_matches("r#"), &value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, chain(value));
    }
}

fn pair(writer: &mut impl Write, key: &str, value: &str) -> fmt::Result {
    write!(writer, " {key}=")?;
    let is_plain = |c: char| c.is_alphanumeric() || (c.is_ascii_graphic() && !"\"=\\".contains(c));
    if !value.is_empty() && value.chars().all(is_plain) {
        return writer.write_str(value);
    }
    writer.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' | '\\' => write!(writer, "\\{c}")?,
            '\n' => writer.write_str("\\n")?,
            '\r' => writer.write_str("\\r")?,
            '\t' => writer.write_str("\\t")?,
            c if c.is_control() => write!(writer, "\\u{:04x}", c as u32)?,
            c => writer.write_char(c)?,
        }
    }
    writer.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `say` logs, behind the time of each line.
    fn logged(say: impl FnOnce()) -> Vec<String> {
        let kept = Kept::default();
        let writer = kept.clone();
        let logger =
            tracing_subscriber::fmt().event_format(Logfmt).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(logger, say);
        let bytes = kept.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.ends_with('\n'));
        text.lines().map(after_time).collect()
    }

    fn after_time(line: &str) -> String {
        let (time, rest) = line.strip_prefix("timestamp=").unwrap().split_once(' ').unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        rest.to_owned()
    }

    #[test]
    fn a_line_has_keys_and_values_that_a_parser_finds() {
        let fault = io::Error::other("no \"route\"\nto it");
        let lines = logged(|| {
            tracing::warn!(target: "agent::heartbeat", error = %fault, "heartbeat failed");
            tracing::info!(target: "t", r#type = "a=b", empty = "", jobs = 3, took = ?[1, 2], "tab\there");
            tracing::error!(target: "t", error = &fault as &(dyn Error + 'static), path = r"C:\x", "é\u{1b}");
        });
        assert_eq!(
            lines,
            [
                r#"level=warn target=agent::heartbeat message="heartbeat failed" error="no \"route\"\nto it""#,
                r#"level=info target=t message="tab\there" type="a=b" empty="" jobs=3 took="[1, 2]""#,
                r#"level=error target=t message="é\u001b" error="no \"route\" to it" path="C:\\x""#,
            ]
        );
    }

    #[test]
    fn a_line_of_our_own_is_one_too() {
        assert_eq!(after_time(&line("info", "it is \"ready\"")), r#"level=info message="it is \"ready\"""#);
    }
}
