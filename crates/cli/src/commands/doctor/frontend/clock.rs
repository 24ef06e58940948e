//! Whether two clocks agree.

use super::super::finding::{Finding, info, ok, warning};
use std::time::{Duration, SystemTime};

/// By how much they may differ. `Date` counts whole seconds, and the answer took a moment.
const TOLERATED: Duration = Duration::from_secs(10);

/// Judges the header `Date` of an answer that was here `at` this time.
pub(super) fn judge(date: Option<&str>, at: Option<SystemTime>) -> Finding {
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let Some((theirs, ours)) = date.zip(at) else {
        return info("frontend.clock", "the control plane does not tell its time");
    };
    let (apart, direction) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if apart <= TOLERATED {
        return ok("frontend.clock", "this host's clock agrees with the control plane's");
    }
    let seen = format!("this host's clock is {} s {direction} the control plane's", apart.as_secs());
    let remedy = "let both keep their time by NTP: times in logs are wrong, and certificates and tokens may seem \
                  expired or not valid yet";
    warning("frontend.clock", seen, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Severity;
    use super::*;

    #[test]
    fn seconds_are_tolerated_and_minutes_are_not() {
        let theirs = "Sun, 06 Nov 1994 08:49:37 GMT";
        let at = httpdate::parse_http_date(theirs).unwrap();
        let second = Duration::from_secs(1);
        for (ours, severity, told) in [
            (at, Severity::Ok, "agrees"),
            (at + 10 * second, Severity::Ok, "agrees"),
            (at - 10 * second, Severity::Ok, "agrees"),
            (at + 11 * second, Severity::Warning, "11 s ahead of"),
            (at - 3600 * second, Severity::Warning, "3600 s behind"),
        ] {
            let finding = judge(Some(theirs), Some(ours));
            assert_eq!(finding.severity, severity, "{finding:?}");
            assert!(finding.seen.contains(told), "{finding:?}");
        }
        assert_eq!(judge(Some("yesterday"), Some(at)).severity, Severity::Info);
        assert_eq!(judge(None, Some(at)).severity, Severity::Info);
    }
}
