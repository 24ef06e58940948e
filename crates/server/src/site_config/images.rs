//! The images that a job is given besides its own.

use super::parse::BadSite;
use serde_json::{Map, Value};

pub(super) const SRC_CLI: &str = "executors.srcCLIImage";
pub(super) const SRC_CLI_TAG: &str = "executors.srcCLIImageTag";
pub(super) const LSIF_GO: &str = "executors.lsifGoImage";

/// The program `src`, and its version that this server is known to understand, unless said otherwise.
const DEFAULT_SRC_CLI: &str = "sourcegraph/src-cli";
const DEFAULT_SRC_CLI_TAG: &str = "5.5.0";
/// The indexer that reads tags, unless said otherwise.
const DEFAULT_LSIF_GO: &str = "sourcegraph/lsif-go";

/// Which images jobs are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Images {
    /// What uploads an index, with its tag.
    pub(crate) src_cli: String,
    /// What the names of indexers begin with that need a repository's tags.
    pub(crate) lsif_go: String,
}

/// Takes the keys that are about images.
pub(super) fn images(object: &mut Map<String, Value>) -> Result<Images, BadSite> {
    let src_cli = image(object, (SRC_CLI, DEFAULT_SRC_CLI), (SRC_CLI_TAG, DEFAULT_SRC_CLI_TAG))?;
    let lsif_go = text(object, (LSIF_GO, DEFAULT_LSIF_GO))?;
    Ok(Images { src_cli, lsif_go })
}

/// An image with its tag, which have a key each; beside each key stands what is so unless said otherwise.
pub(super) fn image(
    object: &mut Map<String, Value>,
    name: (&'static str, &str),
    tag: (&'static str, &str),
) -> Result<String, BadSite> {
    let ((name_key, _), (tag_key, _)) = (name, tag);
    let (name, tag) = (text(object, name)?, text(object, tag)?);
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if has_tag || name.contains('@') || jobs::name::check_image(&name).is_err() {
        let rule = format!(
            "an image without a tag, such as \"registry.example.com/name\", with its tag in {tag_key}, and not {name:?}"
        );
        return Err(BadSite::Value { key: name_key, rule });
    }
    let whole = format!("{name}:{tag}");
    jobs::name::check_image(&whole).map_err(|fault| BadSite::Value {
        key: tag_key,
        rule: format!("a tag of an image, such as \"5.2.0\": {fault}"),
    })?;
    Ok(whole)
}

/// What a key says, or `unless_said`.
fn text(
    object: &mut Map<String, Value>,
    (key, unless_said): (&'static str, &str),
) -> Result<String, BadSite> {
    match object.remove(key) {
        None | Some(Value::Null) => Ok(unless_said.to_owned()),
        Some(Value::String(text)) if text.is_empty() => Ok(unless_said.to_owned()),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(BadSite::Value { key, rule: "a string".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Images, String> {
        let mut object = serde_json::from_str(text).unwrap();
        let images = images(&mut object).map_err(|fault| fault.to_string());
        assert!(images.is_err() || object.is_empty(), "{object:?}");
        images
    }

    #[test]
    fn images_are_the_documented_ones_unless_said_otherwise() {
        let images = read("{}").unwrap();
        assert_eq!(
            (images.src_cli.as_str(), images.lsif_go.as_str()),
            ("sourcegraph/src-cli:5.5.0", "sourcegraph/lsif-go")
        );
        let all = r#"{"executors.srcCLIImage": "mirror:5000/src", "executors.srcCLIImageTag": "6.1.0", "executors.lsifGoImage": "mirror:5000/go"}"#;
        let images = read(all).unwrap();
        assert_eq!(
            (images.src_cli.as_str(), images.lsif_go.as_str()),
            ("mirror:5000/src:6.1.0", "mirror:5000/go")
        );
        for (text, told) in [
            (r#"{"executors.srcCLIImage": 5}"#, "executors.srcCLIImage must be a string"),
            (r#"{"executors.srcCLIImage": "src:5.5.0"}"#, "its tag in executors.srcCLIImageTag"),
            (r#"{"executors.srcCLIImageTag": "a b"}"#, "invalid image reference"),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.contains(told), "{text}: {fault}");
        }
    }
}
