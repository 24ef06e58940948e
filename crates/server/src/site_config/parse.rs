//! What the file may say.

use super::executions::{self, Executions, executions};
use super::images::{self, Images, images};
use super::jsonc::{comments_and_trailing_commas, key_that_is_there_twice};
use super::kept::{AUDIT_KEPT_DAYS, ENDED_JOBS_KEPT_DAYS, UPLOADS_KEPT_DAYS};
use super::kept::{audit_kept, ended_jobs_kept, uploads_kept};
use super::object_store::{Bucket, OBJECT_STORE, bucket};
use super::shares::{MULTIQUEUE, QueueShare, shares};
use jiff::SignedDuration;
use jsonc_parser::parse_to_serde_value;
use secrecy::SecretString;
use serde_json::Value;
use std::collections::BTreeMap;
use url::Url;

/// Characters of the access token at least.
const MIN_TOKEN: usize = 20;

const ACCESS_TOKEN: &str = "executors.accessToken";
const PREVIOUS_ACCESS_TOKEN: &str = "executors.accessTokenPrevious";
const FRONTEND_URL: &str = "executors.frontendURL";

/// All keys that have an effect.
pub(super) const USED: [&str; 14] = [
    ACCESS_TOKEN,
    PREVIOUS_ACCESS_TOKEN,
    MULTIQUEUE,
    AUDIT_KEPT_DAYS,
    UPLOADS_KEPT_DAYS,
    ENDED_JOBS_KEPT_DAYS,
    OBJECT_STORE,
    FRONTEND_URL,
    images::SRC_CLI,
    images::SRC_CLI_TAG,
    images::LSIF_GO,
    executions::IMAGE,
    executions::TAG,
    executions::NATIVE,
];

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
    if let Some(key) = key_that_is_there_twice(text) {
        return Err(BadSite::Twice { key });
    }
    // An empty file, which has no value, is what an editor or a full disk may leave for a moment.
    let Some(Value::Object(mut object)) = value else { return Err(BadSite::NotAnObject) };
    let site = Site {
        access_token: access_token(ACCESS_TOKEN, object.remove(ACCESS_TOKEN))?,
        previous_access_token: access_token(PREVIOUS_ACCESS_TOKEN, object.remove(PREVIOUS_ACCESS_TOKEN))?,
        shares: shares(object.remove(MULTIQUEUE))?,
        ended_jobs_kept: ended_jobs_kept(object.remove(ENDED_JOBS_KEPT_DAYS))?,
        audit_kept: audit_kept(object.remove(AUDIT_KEPT_DAYS))?,
        uploads_kept: uploads_kept(object.remove(UPLOADS_KEPT_DAYS))?,
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
