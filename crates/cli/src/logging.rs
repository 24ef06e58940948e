//! The program's own log, on standard error.

use crate::env::EnvReader;
use tracing_subscriber::EnvFilter;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Plain,
    Condensed,
    Json,
}

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
        Format::Plain => builder.init(),
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
        "" | "logfmt" => Format::Plain,
        other => {
            env.fault(format!("invalid value {other:?} for SRC_LOG_FORMAT: use logfmt, condensed or json"));
            Format::Plain
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
        assert_eq!(read(&[]), ("warn", Format::Plain, None));
        for (name, level) in [("dbug", "debug"), ("info", "info"), ("", "warn"), ("eror", "error")] {
            assert_eq!(read(&[("SRC_LOG_LEVEL", name)]), (level, Format::Plain, None), "{name}");
        }
        for (name, format) in
            [("logfmt", Format::Plain), ("condensed", Format::Condensed), ("json", Format::Json)]
        {
            assert_eq!(read(&[("SRC_LOG_FORMAT", name)]), ("warn", format, None), "{name}");
        }
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
