//! What a check came to.

pub(super) use runtimes::{Finding, Severity};

pub(super) fn ok(id: &'static str, seen: impl Into<String>) -> Finding {
    finding(id, Severity::Ok, seen, "")
}

pub(super) fn info(id: &'static str, seen: impl Into<String>) -> Finding {
    finding(id, Severity::Info, seen, "")
}

pub(super) fn warning(id: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Finding {
    finding(id, Severity::Warning, seen, remedy)
}

pub(super) fn fatal(id: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Finding {
    finding(id, Severity::Fatal, seen, remedy)
}

pub(super) fn finding(
    id: &'static str,
    severity: Severity,
    seen: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    Finding { id, severity, seen: seen.into(), remedy: remedy.into() }
}

pub(super) const fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Fatal => "fatal",
    }
}
