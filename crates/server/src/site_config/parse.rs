//! What the file may say.

use super::executions::{Executions, executions};
use super::images::{Images, images};
use super::object_store::{Bucket, OBJECT_STORE, bucket};
use jiff::SignedDuration;
use jsonc_parser::ast::Value as Node;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast, parse_to_serde_value};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use url::Url;
use wire::paths::QUEUES;

/// Characters of the access token at least.
const MIN_TOKEN: usize = 20;

const ACCESS_TOKEN: &str = "executors.accessToken";
const PREVIOUS_ACCESS_TOKEN: &str = "executors.accessTokenPrevious";
const FRONTEND_URL: &str = "executors.frontendURL";
const MULTIQUEUE: &str = "executors.multiqueue";
const AUDIT_KEPT_DAYS: &str = "executors.auditKeptDays";
const UPLOADS_KEPT_DAYS: &str = "executors.uploadsKeptDays";
const ENDED_JOBS_KEPT_DAYS: &str = "executors.endedJobsKeptDays";

/// All keys that have an effect.
pub(super) const USED: [&str; 7] = [
    ACCESS_TOKEN,
    PREVIOUS_ACCESS_TOKEN,
    MULTIQUEUE,
    AUDIT_KEPT_DAYS,
    UPLOADS_KEPT_DAYS,
    ENDED_JOBS_KEPT_DAYS,
    OBJECT_STORE,
];

/// Days for which ended jobs are kept unless said otherwise, and at most.
const DEFAULT_DAYS: u64 = 30;
const MAX_DAYS: u64 = 36_500;
/// Days for which it is kept who did what, unless said otherwise.
const DEFAULT_AUDIT_DAYS: u64 = 365;
/// Days for which uploaded indexes are kept, unless said otherwise.
const DEFAULT_UPLOADS_DAYS: u64 = 90;

/// A site configuration that can be used.
#[derive(Debug)]
pub(crate) struct Site {
    /// What executors present; without it none can connect.
    pub(crate) access_token: Option<SecretString>,
    /// What they presented before it was replaced, for as long as it is good as well.
    pub(crate) previous_access_token: Option<SecretString>,
    /// How long jobs are kept after their end; `None`: for ever.
    pub(crate) ended_jobs_kept: Option<SignedDuration>,
    /// How long it is kept who did what.
    pub(crate) audit_kept: SignedDuration,
    /// How long uploaded indexes are kept.
    pub(crate) uploads_kept: SignedDuration,
    /// Where jobs reach this server; `None`: where their executor does.
    pub(crate) frontend_url: Option<String>,
    /// The images that jobs are given besides their own.
    pub(crate) images: Images,
    /// Where results go, if not into the data directory; read at a start only.
    pub(crate) bucket: Option<Bucket>,
    /// How executions of batch changes are sent.
    pub(crate) executions: Executions,
    shares: BTreeMap<String, QueueShare>,
}

impl Site {
    /// The share of `queue`: as configured, else the default.
    pub(crate) fn share(&self, queue: &str) -> QueueShare {
        self.shares.get(queue).copied().unwrap_or_else(|| QueueShare::default_for(queue))
    }
}

/// How much of the executors' time a queue gets when several are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueShare {
    /// Jobs within the window before the queue comes after the others.
    pub(crate) limit: u32,
    /// Its chance, relative to the other weights.
    pub(crate) weight: u32,
}

impl QueueShare {
    pub(crate) fn default_for(queue: &str) -> Self {
        match queue {
            "batches" => Self { limit: 50, weight: 4 },
            _ => Self { limit: 250, weight: 1 },
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Multiqueue {
    #[serde(default)]
    dequeue_cache_config: BTreeMap<String, QueueShare>,
}

/// Why the text can't be used: key, rule and remedy.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadSite {
    #[error("it is not JSON with comments: {0}")]
    Syntax(String),
    #[error("the key {key:?} is there twice: keep the one that is meant, for the other would have no effect")]
    Twice { key: String },
    #[error("it must hold one JSON object")]
    NotAnObject,
    #[error("{key} must be {rule}")]
    Value { key: &'static str, rule: String },
    #[error(
        "{key} has {characters} characters, but must have at least {MIN_TOKEN}. Make one with: openssl rand -hex 32"
    )]
    ShortToken { key: &'static str, characters: usize },
    #[error("{key} holds a blank or a control character, which no HTTP header can carry")]
    UnsendableToken { key: &'static str },
}

/// What to do about a key that has no effect in this version.
pub(super) fn advice(key: &str) -> &'static str {
    if key.strip_prefix(MULTIQUEUE).is_some_and(|rest| rest.starts_with('.')) {
        r#"this key is not used: write "executors.multiqueue": {"dequeueCacheConfig": {"batches": {"limit": 50, "weight": 4}}}"#
    } else {
        "this version does not use this key"
    }
}

/// Reads the text; also tells the keys that have no effect in this version.
pub(super) fn parse(text: &str) -> Result<(Site, Vec<String>), BadSite> {
    let value: Option<Value> = parse_to_serde_value(text, &comments_and_trailing_commas())
        .map_err(|fault| BadSite::Syntax(fault.to_string()))?;
    if let Some(key) = duplicate(text) {
        return Err(BadSite::Twice { key });
    }
    // An empty file, which has no value, is what an editor or a full disk may leave for a moment.
    let Some(Value::Object(mut object)) = value else { return Err(BadSite::NotAnObject) };
    let site = Site {
        access_token: access_token(ACCESS_TOKEN, object.remove(ACCESS_TOKEN))?,
        previous_access_token: access_token(PREVIOUS_ACCESS_TOKEN, object.remove(PREVIOUS_ACCESS_TOKEN))?,
        shares: shares(object.remove(MULTIQUEUE))?,
        ended_jobs_kept: ended_jobs_kept(object.remove(ENDED_JOBS_KEPT_DAYS))?,
        audit_kept: days(AUDIT_KEPT_DAYS, DEFAULT_AUDIT_DAYS, object.remove(AUDIT_KEPT_DAYS))?,
        uploads_kept: days(UPLOADS_KEPT_DAYS, DEFAULT_UPLOADS_DAYS, object.remove(UPLOADS_KEPT_DAYS))?,
        frontend_url: frontend_url(object.remove(FRONTEND_URL))?,
        images: images(&mut object)?,
        bucket: bucket(object.remove(OBJECT_STORE))?,
        executions: executions(&mut object)?,
    };
    Ok((site, object.into_iter().map(|(key, _)| key).collect()))
}

/// The values of the keys that have an effect.
pub(super) fn values(text: &str) -> BTreeMap<&'static str, Value> {
    let value: Option<Value> =
        parse_to_serde_value(text, &comments_and_trailing_commas()).unwrap_or_default();
    let Some(Value::Object(mut object)) = value else { return BTreeMap::new() };
    // That a key is there and says nothing is the same as that it is not.
    let said = |key| Some((key, object.remove(key).filter(|value| !value.is_null())?));
    USED.into_iter().filter_map(said).collect()
}

/// A key that an object in the text has twice.
fn duplicate(text: &str) -> Option<String> {
    let parsed = parse_to_ast(text, &CollectOptions::default(), &comments_and_trailing_commas()).ok()?;
    let mut nodes: Vec<&Node<'_>> = parsed.value.iter().collect();
    while let Some(node) = nodes.pop() {
        match node {
            Node::Object(object) => {
                let mut keys = BTreeSet::new();
                for property in &object.properties {
                    if !keys.insert(property.name.as_str()) {
                        return Some(property.name.as_str().to_owned());
                    }
                    nodes.push(&property.value);
                }
            }
            Node::Array(array) => nodes.extend(&array.elements),
            _ => {}
        }
    }
    None
}

fn access_token(key: &'static str, value: Option<Value>) -> Result<Option<SecretString>, BadSite> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(token)) if token.is_empty() => Ok(None),
        Some(Value::String(token)) => {
            let characters = token.chars().count();
            if characters < MIN_TOKEN {
                return Err(BadSite::ShortToken { key, characters });
            }
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(BadSite::UnsendableToken { key });
            }
            Ok(Some(token.into()))
        }
        Some(_) => Err(BadSite::Value { key, rule: "a string".to_owned() }),
    }
}

/// Kept as it is written: programs of jobs put their paths behind it. Jobs see it, so it holds no secret.
fn frontend_url(value: Option<Value>) -> Result<Option<String>, BadSite> {
    let rule = "an http or https URL without credentials, query or fragment".to_owned();
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(BadSite::Value { key: FRONTEND_URL, rule }),
    };
    let is_plain = |url: &Url| {
        let bare = url.username().is_empty() && url.password().is_none();
        bare && url.query().is_none() && url.fragment().is_none() && matches!(url.scheme(), "http" | "https")
    };
    match Url::parse(&text) {
        Ok(url) if is_plain(&url) && !text.contains(char::is_whitespace) => {
            Ok(Some(text.trim_end_matches('/').to_owned()))
        }
        _ => Err(BadSite::Value { key: FRONTEND_URL, rule }),
    }
}

fn ended_jobs_kept(value: Option<Value>) -> Result<Option<SignedDuration>, BadSite> {
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

fn shares(value: Option<Value>) -> Result<BTreeMap<String, QueueShare>, BadSite> {
    let bad = |rule: String| BadSite::Value { key: MULTIQUEUE, rule };
    let shares = match value {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(value) => Multiqueue::deserialize(value).map_err(|fault| {
            bad(format!(
                r#"like {{"dequeueCacheConfig": {{"batches": {{"limit": 50, "weight": 4}}}}}}: {fault}"#
            ))
        })?,
    }
    .dequeue_cache_config;
    for (queue, share) in &shares {
        if !QUEUES.contains(&queue.as_str()) {
            return Err(bad(format!("about the queues {}, not {queue:?}", QUEUES.join(" and "))));
        }
        if share.limit == 0 || share.weight == 0 {
            return Err(bad(format!("positive: limit and weight of {queue} must be at least 1")));
        }
    }
    Ok(shares)
}

/// What people mean by JSONC; the parser would take much more.
fn comments_and_trailing_commas() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_configured_by_queue_and_the_rest_keep_their_defaults() {
        let text = r#"{
            "executors.multiqueue": {"dequeueCacheConfig": {"codeintel": {"limit": 7, "weight": 3}}},
            "somethingElse": true, // not ours
        }"#;
        let (site, unknown) = parse(text).unwrap();
        assert_eq!(site.share("codeintel"), QueueShare { limit: 7, weight: 3 });
        assert_eq!(site.share("batches"), QueueShare { limit: 50, weight: 4 });
        assert_eq!(unknown, ["somethingElse"]);
        assert!(site.access_token.is_none());
    }

    #[test]
    fn a_flat_key_is_told_its_right_form_which_can_be_read() {
        let flat = r#"{"executors.multiqueue.dequeueCacheConfig.batches.limit": 7}"#;
        let (_, unknown) = parse(flat).unwrap();
        let advice = advice(&unknown[0]);
        let form = advice.split_once("write ").unwrap().1;
        let (site, unknown) = parse(&format!("{{{}}}", form.replace("50", "7"))).unwrap();
        assert_eq!(site.share("batches"), QueueShare { limit: 7, weight: 4 });
        assert!(unknown.is_empty(), "{unknown:?}");
        for other in ["executors.multiqueueX", "somethingElse"] {
            assert_eq!(super::advice(other), "this version does not use this key");
        }
    }

    #[test]
    fn jobs_are_told_an_address_if_one_is_set() {
        let read = |text: &str| parse(text).map(|(site, _)| site.frontend_url);
        assert_eq!(read("{}"), Ok(None));
        let set = |url: &str| read(&format!(r#"{{"executors.frontendURL": "{url}"}}"#));
        assert_eq!(
            set("https://ci.example.com/base/").unwrap().as_deref(),
            Some("https://ci.example.com/base")
        );
        for bad in ["ftp://x", "https://user:secret@x", "https://x/?a=b", "x", ""] {
            let fault = set(bad).unwrap_err().to_string();
            assert!(
                fault.starts_with("executors.frontendURL must be an http or https URL without"),
                "{fault}"
            );
        }
    }

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

    #[test]
    fn each_bad_value_is_told_with_its_key() {
        for (text, told) in [
            ("[]", "one JSON object"),
            (
                r#"{"executors.accessToken": "a", "executors.accessToken": "b"}"#,
                r#""executors.accessToken" is there twice"#,
            ),
            (
                r#"{"executors.multiqueue": {"dequeueCacheConfig": {"batches": {"limit": 1, "limit": 2, "weight": 1}}}}"#,
                r#""limit" is there twice"#,
            ),
            (r#"{"other": [{"a": 1, "\u0061": 2}]}"#, r#""a" is there twice"#),
            ("{'a': 1}", "not JSON with comments"),
            (r#"{"executors.accessToken": 5}"#, "executors.accessToken must be a string"),
            (r#"{"executors.accessToken": "0123456789 0123456789"}"#, "no HTTP header can carry"),
            (
                r#"{"executors.accessTokenPrevious": "short"}"#,
                "executors.accessTokenPrevious has 5 characters",
            ),
            (r#"{"executors.frontendURL": "ftp://x"}"#, "executors.frontendURL must be an http or https URL"),
            (
                r#"{"executors.multiqueue": {"dequeueCacheConfig": {"batches": {"limit": 1}}}}"#,
                "missing field `weight`",
            ),
            (
                r#"{"executors.multiqueue": {"dequeueCacheConfig": {"bulk": {"limit": 1, "weight": 1}}}}"#,
                r#"not "bulk""#,
            ),
            (
                r#"{"executors.multiqueue": {"dequeueCacheConfig": {"batches": {"limit": 0, "weight": 1}}}}"#,
                "at least 1",
            ),
        ] {
            let fault = parse(text).unwrap_err().to_string();
            assert!(fault.contains(told), "{text}: {fault}");
        }
    }

    #[test]
    fn the_token_stays_out_of_debug() {
        let (site, _) = parse(r#"{"executors.accessToken": "very-secret-very-secret"}"#).unwrap();
        assert!(!format!("{site:?}").contains("very-secret"));
    }
}
