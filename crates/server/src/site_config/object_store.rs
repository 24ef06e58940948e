//! Where results go, if not into the data directory.

use super::parse::BadSite;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

/// The key. It is read at a start only.
pub(super) const OBJECT_STORE: &str = "executors.objectStore";
/// Characters of a name or of a path at most.
const MAX_TEXT: usize = 512;

/// A bucket of S3, or of what speaks like it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Bucket {
    /// Its name.
    #[serde(rename = "bucket")]
    pub(crate) name: String,
    /// Where it is, unless Amazon's.
    pub(crate) endpoint: Option<Url>,
    /// Its region.
    pub(crate) region: Option<String>,
    /// What keys begin with.
    #[serde(default)]
    pub(crate) prefix: String,
    /// Whether the bucket is in the path of a URL: unless said otherwise, wherever there is an endpoint.
    pub(crate) path_style: Option<bool>,
}

pub(super) fn bucket(value: Option<Value>) -> Result<Option<Bucket>, BadSite> {
    let bad = |rule: String| BadSite::Value { key: OBJECT_STORE, rule };
    let bucket = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => Bucket::deserialize(value).map_err(|fault| {
            bad(format!(r#"like {{"bucket": "results", "endpoint": "https://s3.example.com"}}: {fault}"#))
        })?,
    };
    let plain = |text: &str| {
        text.len() <= MAX_TEXT && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\".contains(&byte))
    };
    if bucket.name.is_empty() || bucket.name.contains('/') || !plain(&bucket.name) {
        return Err(bad(format!("about a bucket with a name, not {:?}", bucket.name)));
    }
    let parts = || bucket.prefix.split('/');
    if !bucket.prefix.is_empty()
        && (!plain(&bucket.prefix) || parts().any(|part| part.is_empty() || part == "." || part == ".."))
    {
        return Err(bad(format!(
            "about a prefix like executor/results, of names with slashes between them, not {:?}",
            bucket.prefix
        )));
    }
    if let Some(endpoint) = &bucket.endpoint {
        let is_plain = endpoint.username().is_empty()
            && endpoint.password().is_none()
            && endpoint.query().is_none()
            && matches!(endpoint.scheme(), "http" | "https");
        if !is_plain {
            return Err(bad("about an endpoint that is an http or https URL without credentials".to_owned()));
        }
    }
    Ok(Some(bucket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_read_and_what_is_wrong_with_it_told() {
        let read = |text: &str| bucket(Some(serde_json::from_str(text).unwrap()));
        let full = r#"{"bucket": "b", "endpoint": "http://s3:9000", "prefix": "a/b", "pathStyle": true}"#;
        assert_eq!(read(full).unwrap().unwrap().prefix, "a/b");
        for (text, told) in [
            (r#"{"bucket": ""}"#, "a bucket with a name"),
            (r#"{"bucket": "a/b"}"#, "a bucket with a name"),
            (r#"{"bucket": "b", "prefix": "/a"}"#, "a prefix like"),
            (r#"{"bucket": "b", "prefix": "a/../b"}"#, "a prefix like"),
            (r#"{"bucket": "b", "endpoint": "ftp://x"}"#, "an endpoint that is"),
            (r#"{"bucket": "b", "endpoint": "https://key:secret@x"}"#, "without credentials"),
            (r#"{"bucket": "b", "secretAccessKey": "x"}"#, "unknown field"),
        ] {
            let fault = read(text).unwrap_err().to_string();
            assert!(fault.contains(told), "{text}: {fault}");
        }
        assert_eq!(bucket(None), Ok(None));
    }
}
