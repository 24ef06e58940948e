//! The program's own log, on standard error.

use crate::env::EnvReader;
use tracing_subscriber::EnvFilter;

/// Starts logging as `SRC_LOG_LEVEL` and `SRC_LOG_FORMAT` say.
pub(crate) fn start(env: &mut EnvReader<'_>) {
    let level = env.text("SRC_LOG_LEVEL").unwrap_or_default();
    let directive = match level.as_str() {
        "dbug" | "debug" => "debug",
        "info" => "info",
        "error" | "crit" => "error",
        "" | "warn" => "warn",
        other => {
            env.fault(format!(
                "invalid value {other:?} for SRC_LOG_LEVEL: use dbug, info, warn, error or crit"
            ));
            "warn"
        }
    };
    // The libraries below us are talkative at debug; their own trouble shows at info and above.
    let filter =
        EnvFilter::new(format!("{directive},hyper=info,hyper_util=info,reqwest=info,h2=info,rustls=info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_ansi(false);
    match env.text("SRC_LOG_FORMAT").as_deref() {
        Some("json") => builder.json().init(),
        Some("condensed") => builder.compact().init(),
        _ => builder.init(),
    }
}
