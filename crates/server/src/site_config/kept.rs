//! For how many days what is kept.

use super::parse::BadSite;
use jiff::SignedDuration;
use serde_json::Value;

pub(super) const AUDIT_KEPT_DAYS: &str = "executors.auditKeptDays";
pub(super) const UPLOADS_KEPT_DAYS: &str = "executors.uploadsKeptDays";
pub(super) const ENDED_JOBS_KEPT_DAYS: &str = "executors.endedJobsKeptDays";

/// Days for which ended jobs are kept unless said otherwise, and at most.
const DEFAULT_DAYS: u64 = 30;
const MAX_DAYS: u64 = 36_500;
/// Days for which it is kept who did what, unless said otherwise.
const DEFAULT_AUDIT_DAYS: u64 = 365;
/// Days for which uploaded indexes are kept, unless said otherwise.
const DEFAULT_UPLOADS_DAYS: u64 = 90;

pub(super) fn ended_jobs_kept(value: Option<Value>) -> Result<Option<SignedDuration>, BadSite> {
    let days = match value {
        None | Some(Value::Null) => Some(DEFAULT_DAYS),
        Some(value) => value.as_u64().filter(|days| *days <= MAX_DAYS),
    };
    let days = days.and_then(|days| i64::try_from(days).ok()).ok_or_else(|| BadSite::Value {
        key: ENDED_JOBS_KEPT_DAYS,
        rule: format!("a whole number of days from 0, which means for ever, to {MAX_DAYS}"),
    })?;
    Ok((days > 0).then(|| SignedDuration::from_hours(24 * days)))
}

pub(super) fn audit_kept(value: Option<Value>) -> Result<SignedDuration, BadSite> {
    days(AUDIT_KEPT_DAYS, DEFAULT_AUDIT_DAYS, value)
}

pub(super) fn uploads_kept(value: Option<Value>) -> Result<SignedDuration, BadSite> {
    days(UPLOADS_KEPT_DAYS, DEFAULT_UPLOADS_DAYS, value)
}

fn days(key: &'static str, unless_said: u64, value: Option<Value>) -> Result<SignedDuration, BadSite> {
    let days = match value {
        None | Some(Value::Null) => Some(unless_said),
        Some(value) => value.as_u64().filter(|days| (1..=MAX_DAYS).contains(days)),
    };
    let days = days.and_then(|days| i64::try_from(days).ok()).ok_or_else(|| BadSite::Value {
        key,
        rule: format!("a whole number of days from 1 to {MAX_DAYS}"),
    })?;
    Ok(SignedDuration::from_hours(24 * days))
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    #[test]
    fn ended_jobs_are_kept_for_days_or_for_ever() {
        let kept = |text: &str| parse(text).unwrap().0.ended_jobs_kept;
        let days = |days: i64| Some(SignedDuration::from_hours(24 * days));
        assert_eq!(kept("{}"), days(30));
        assert_eq!(kept(r#"{"executors.endedJobsKeptDays": 7}"#), days(7));
        assert_eq!(kept(r#"{"executors.endedJobsKeptDays": 0}"#), None);
        for bad in ["-1", "1.5", "36501", "18446744073709551615", r#""7""#, "true"] {
            let fault = parse(&format!(r#"{{"executors.endedJobsKeptDays": {bad}}}"#)).unwrap_err();
            assert!(fault.to_string().starts_with("executors.endedJobsKeptDays must be a whole"), "{fault}");
        }
    }

    #[test]
    fn the_audit_log_is_kept_for_a_year_unless_said() {
        let kept = |text: &str| parse(text).map(|(site, _)| site.audit_kept.as_hours() / 24);
        assert_eq!(kept("{}"), Ok(365));
        assert_eq!(kept(r#"{"executors.auditKeptDays": 7}"#), Ok(7));
        for bad in ["0", "-1", "36501", r#""7""#] {
            let fault = kept(&format!(r#"{{"executors.auditKeptDays": {bad}}}"#)).unwrap_err();
            assert!(
                fault.to_string().starts_with("executors.auditKeptDays must be a whole number"),
                "{fault}"
            );
        }
    }
}
