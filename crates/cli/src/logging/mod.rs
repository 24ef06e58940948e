//! The program's own log, on standard error, and what a part says on standard output when it starts and ends.

mod logfmt;

use crate::commands::print;
use crate::env::EnvReader;
use crate::exit::Failure;
use crate::shown;
use jiff::Timestamp;
use logfmt::Logfmt;
use std::sync::OnceLock;
use tracing::Level;
use tracing_subscriber::EnvFilter;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Logfmt,
    Condensed,
    Json,
}

/// How lines on standard output are written; unset for people.
static TOLD: OnceLock<Format> = OnceLock::new();

/// Starts logging as `SRC_LOG_LEVEL` and `SRC_LOG_FORMAT` say.
pub(crate) fn start(env: &mut EnvReader<'_>) {
    let directive = level(env);
    let format = format(env);
    // The libraries below us are talkative at debug; their own trouble shows at info and above.
    let filter =
        EnvFilter::new(format!("{directive},hyper=info,hyper_util=info,reqwest=info,h2=info,rustls=info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Else it would panic where nobody reads our log any more, and supervisors of jobs outlive their reader.
    let builder = builder.with_ansi(false).log_internal_errors(false);
    match format {
        Format::Json => builder.json().init(),
        Format::Condensed => builder.compact().init(),
        Format::Logfmt => builder.event_format(Logfmt).init(),
    }
    let is_set = env.names().any(|name| env.unbound(name) == "SRC_LOG_FORMAT");
    if is_set && env.text("SRC_LOG_FORMAT").is_some_and(|format| !format.is_empty()) {
        // A process starts to log once.
        let _ = TOLD.set(format);
    }
}

/// Says on standard output what there is to know, whatever is logged.
pub(crate) fn tell(text: &str) -> Result<(), Failure> {
    print::line(&told(TOLD.get().copied(), Level::INFO, text))
}

/// The same for what somebody should mend.
pub(crate) fn warn(text: &str) -> Result<(), Failure> {
    print::line(&told(TOLD.get().copied(), Level::WARN, text))
}

/// The line for programs where a format was asked for, else for people.
fn told(format: Option<Format>, level: Level, text: &str) -> String {
    match format {
        Some(Format::Logfmt) => logfmt::line(level_name(level), text),
        Some(Format::Json) => {
            let (timestamp, level) = (Timestamp::now().to_string(), level.as_str());
            let fields = serde_json::json!({ "message": text });
            let line = serde_json::json!({ "timestamp": timestamp, "level": level, "fields": fields, "target": "executor" });
            shown::json(&line.to_string())
        }
        Some(Format::Condensed) | None if level == Level::WARN => format!("warning: {text}"),
        Some(Format::Condensed) | None => text.to_owned(),
    }
}

/// As `SRC_LOG_LEVEL` has it, but for `debug`, which parsers know better than `dbug`.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn level(env: &mut EnvReader<'_>) -> &'static str {
    match env.text("SRC_LOG_LEVEL").unwrap_or_default().as_str() {
        "dbug" | "debug" => "debug",
        "info" => "info",
        // Charts have named it so.
        "error" | "eror" | "crit" => "error",
        "" | "warn" => "warn",
        other => {
            env.fault(format!(
                "invalid value {other:?} for SRC_LOG_LEVEL: use dbug, info, warn, error or crit"
            ));
            "warn"
        }
    }
}

fn format(env: &mut EnvReader<'_>) -> Format {
    match env.text("SRC_LOG_FORMAT").unwrap_or_default().as_str() {
        "json" => Format::Json,
        "condensed" => Format::Condensed,
        "" | "logfmt" => Format::Logfmt,
        other => {
            env.fault(format!("invalid value {other:?} for SRC_LOG_FORMAT: use logfmt, condensed or json"));
            Format::Logfmt
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Variables;

    fn read(pairs: &[(&str, &str)]) -> (&'static str, Format, Option<String>) {
        let variables = Variables::of(pairs);
        let mut env = EnvReader::new(&variables, "executor");
        let (level, format) = (level(&mut env), format(&mut env));
        (level, format, env.finish().err().map(|faults| faults.to_string()))
    }

    #[test]
    fn levels_and_formats_are_those_that_are_documented() {
        assert_eq!(read(&[]), ("warn", Format::Logfmt, None));
        for (name, level) in [("dbug", "debug"), ("info", "info"), ("", "warn"), ("eror", "error")] {
            assert_eq!(read(&[("SRC_LOG_LEVEL", name)]), (level, Format::Logfmt, None), "{name}");
        }
        for (name, format) in
            [("logfmt", Format::Logfmt), ("condensed", Format::Condensed), ("json", Format::Json)]
        {
            assert_eq!(read(&[("SRC_LOG_FORMAT", name)]), ("warn", format, None), "{name}");
        }
    }

    #[test]
    fn what_is_told_is_for_people_unless_a_format_was_asked_for() {
        for format in [None, Some(Format::Condensed)] {
            assert_eq!(told(format, Level::INFO, "it runs"), "it runs");
            assert_eq!(told(format, Level::WARN, "it limps"), "warning: it limps");
        }
        let json: serde_json::Value =
            serde_json::from_str(&told(Some(Format::Json), Level::WARN, "it \"limps\"")).unwrap();
        assert_eq!((&json["level"], &json["fields"]["message"]), (&"WARN".into(), &"it \"limps\"".into()));
        let line = told(Some(Format::Logfmt), Level::INFO, "it runs");
        assert!(
            line.starts_with("timestamp=") && line.ends_with(r#" level=info message="it runs""#),
            "{line}"
        );
    }

    #[test]
    fn others_are_faults_that_name_what_there_is() {
        let (.., faults) = read(&[("SRC_LOG_LEVEL", "loud"), ("SRC_LOG_FORMAT", "xml")]);
        assert_eq!(
            faults.unwrap(),
            "2 errors occurred:\
             \n\t* invalid value \"loud\" for SRC_LOG_LEVEL: use dbug, info, warn, error or crit\
             \n\t* invalid value \"xml\" for SRC_LOG_FORMAT: use logfmt, condensed or json"
        );
    }
}
