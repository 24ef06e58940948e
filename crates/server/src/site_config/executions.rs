//! How executions of batch changes are sent to executors.

use super::images::image;
use super::parse::BadSite;
use serde_json::{Map, Value};

pub(super) const IMAGE: &str = "executors.batcheshelperImage";
pub(super) const TAG: &str = "executors.batcheshelperImageTag";
pub(super) const NATIVE: &str = "batchChanges.nativeServerSideExecution";

/// The documented image. Its documented tag is the instance's version, and there is no helper of any version of ours: so it is
/// the one that belongs to no release.
const DEFAULT_IMAGE: &str = "sourcegraph/batcheshelper";
const DEFAULT_TAG: &str = "insiders";

/// How they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Executions {
    /// The image of the helper, with its tag.
    pub(crate) helper: String,
    /// Whether executors that can are sent steps in containers, and not a call of src.
    pub(crate) native: bool,
}

/// What the file says of it.
pub(super) fn executions(object: &mut Map<String, Value>) -> Result<Executions, BadSite> {
    let helper = image(object, (IMAGE, DEFAULT_IMAGE), (TAG, DEFAULT_TAG))?;
    let native = match object.remove(NATIVE) {
        None | Some(Value::Null) => true,
        Some(Value::Bool(native)) => native,
        Some(_) => return Err(BadSite::Value { key: NATIVE, rule: "true or false".to_owned() }),
    };
    Ok(Executions { helper, native })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Executions, String> {
        let Value::Object(mut object) = value else { panic!("no object") };
        let read = executions(&mut object).map_err(|fault| fault.to_string());
        assert!(read.is_err() || object.is_empty(), "{object:?}");
        read
    }

    #[test]
    fn the_helper_and_the_form_are_configured() {
        let default = read(json!({})).unwrap();
        assert_eq!((default.helper.as_str(), default.native), ("sourcegraph/batcheshelper:insiders", true));
        assert_eq!(read(json!({IMAGE: "", TAG: null, NATIVE: null})).unwrap(), default);
        let own = read(json!({IMAGE: "localhost:5000/helper", TAG: "5.2.0", NATIVE: false})).unwrap();
        assert_eq!((own.helper.as_str(), own.native), ("localhost:5000/helper:5.2.0", false));
        for (bad, told) in [
            (json!({IMAGE: 5}), "executors.batcheshelperImage must be a string"),
            (json!({IMAGE: "a b"}), "must be an image without a tag"),
            (json!({IMAGE: "a@sha256:00"}), "must be an image without a tag"),
            (json!({IMAGE: "a:b"}), "must be"),
            (json!({TAG: "a b"}), "executors.batcheshelperImageTag must be a tag"),
            (json!({NATIVE: "yes"}), "batchChanges.nativeServerSideExecution must be true or false"),
        ] {
            let refused = read(bad.clone()).unwrap_err();
            assert!(refused.contains(told), "{bad}: {refused}");
        }
    }
}
