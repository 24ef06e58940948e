//! What a step came to.

use super::kept::KeptJson;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// From this version on a diff is written in base64.
const WITH_BINARY_DIFFS: u32 = 2;
/// Names that we know nothing of in one result at most; stock peers have three.
const MAX_OTHERS: usize = 64;

/// The result of a step, with all that those before it changed. What it holds besides is kept, so that it can be handed back
/// as it came.
#[derive(Clone, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct AfterStepResult {
    /// How it is written: 2, or without one as in version 1.
    #[serde(skip_serializing_if = "is_old")]
    pub version: u32,
    /// What the step did to which files.
    pub changed_files: ChangedFiles,
    /// What the step wrote.
    pub stdout: String,
    /// What it wrote as errors.
    pub stderr: String,
    /// Which step it is of, from 0.
    pub step_index: usize,
    /// All changes since the commit, as git writes them; in version 2 in base64.
    pub diff: String,
    /// Values that later steps may use.
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    pub outputs: Option<KeptJson>,
    /// The step was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<bool>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub others: Others,
}

/// What a result holds besides, in the order in which it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others(Vec<(String, KeptJson)>);

impl Serialize for Others {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Files by what a step did to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct ChangedFiles {
    /// Changed.
    pub modified: Option<Vec<String>>,
    /// New.
    pub added: Option<Vec<String>>,
    /// Gone.
    pub deleted: Option<Vec<String>>,
    /// Moved, by their new names.
    pub renamed: Option<Vec<String>>,
}

/// A diff that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its diff is not base64, as results of version {0} have it: {1}")]
pub struct BadDiff(u32, base64::DecodeError);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_old(version: &u32) -> bool {
    *version < WITH_BINARY_DIFFS
}

impl AfterStepResult {
    /// The diff itself, which is base64 from version 2 on: [`BadDiff`] where it is not.
    pub fn diff_bytes(&self) -> Result<Cow<'_, [u8]>, BadDiff> {
        if self.version < WITH_BINARY_DIFFS {
            return Ok(self.diff.as_bytes().into());
        }
        BASE64.decode(&self.diff).map(Cow::Owned).map_err(|fault| BadDiff(self.version, fault))
    }

    /// The names of its outputs.
    pub fn output_names(&self) -> Vec<String> {
        self.outputs.as_ref().map(KeptJson::names).unwrap_or_default()
    }

    /// Bytes of it, more or less.
    pub(super) fn size(&self) -> usize {
        let outputs = self.outputs.as_ref().map_or(0, |outputs| outputs.text().len() - "{}".len());
        let others = self.others.0.iter().map(|(name, value)| name.len() + value.text().len());
        let ChangedFiles { modified, added, deleted, renamed } = &self.changed_files;
        let files =
            [modified, added, deleted, renamed].into_iter().flatten().flatten().map(|path| path.len() + 4);
        let texts = self.stdout.len() + self.stderr.len() + self.diff.len();
        texts + outputs + others.chain(files).sum::<usize>()
    }
}

/// By hand, since what is *flattened* is held in memory as values first, all of it.
impl<'de> Deserialize<'de> for AfterStepResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ResultVisitor)
    }
}

struct ResultVisitor;

impl<'de> Visitor<'de> for ResultVisitor {
    type Value = AfterStepResult;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the result of a step")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AfterStepResult, A::Error> {
        let (mut result, mut seen) = (AfterStepResult::default(), Vec::new());
        while let Some(name) = map.next_key::<String>()? {
            if seen.contains(&name) {
                return Err(A::Error::custom(format_args!("duplicate key `{name}` in the result of a step")));
            }
            match name.as_str() {
                "version" => result.version = map.next_value()?,
                "changedFiles" => result.changed_files = or_default(&mut map)?,
                "stdout" => result.stdout = or_default(&mut map)?,
                "stderr" => result.stderr = or_default(&mut map)?,
                "stepIndex" => result.step_index = map.next_value()?,
                "diff" => result.diff = or_default(&mut map)?,
                "outputs" => result.outputs = outputs(&mut map)?,
                "skipped" => result.skipped = map.next_value()?,
                _ if result.others.0.len() == MAX_OTHERS => {
                    return Err(A::Error::custom(format_args!(
                        "the result of a step has more than {MAX_OTHERS} keys that are not documented: leave them out"
                    )));
                }
                _ => result.others.0.push((name.clone(), map.next_value()?)),
            }
            seen.push(name);
        }
        Ok(result)
    }
}

/// What stock peers write `null` where nothing was set.
fn or_default<'de, A: MapAccess<'de>, T: Deserialize<'de> + Default>(map: &mut A) -> Result<T, A::Error> {
    Ok(map.next_value::<Option<T>>()?.unwrap_or_default())
}

fn outputs<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<KeptJson>, A::Error> {
    let outputs: Option<KeptJson> = map.next_value()?;
    if outputs.as_ref().is_some_and(|outputs| !outputs.is_object()) {
        return Err(A::Error::custom("outputs of the result of a step must be an object, or null"));
    }
    Ok(outputs)
}

/// What the step wrote and changed stays out of `Debug`.
impl fmt::Debug for AfterStepResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterStepResult")
            .field("version", &self.version)
            .field("step_index", &self.step_index)
            .field("diff_bytes", &self.diff.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read_and_written_again() {
        const FILES: &str = r#""changedFiles":{"modified":["a"],"added":null,"deleted":null,"renamed":null}"#;
        let old = format!(
            r#"{{{FILES},"stdout":"o","stderr":"e","stepIndex":1,"diff":"diff --git","outputs":null}}"#
        );
        let new = format!(
            r#"{{"version":2,{FILES},"stdout":"o","stderr":"e","stepIndex":1,"diff":"ZGlmZg==","outputs":{{}},"skipped":false,"diffArtifact":{{"id":1}}}}"#
        );
        for (text, diff) in [(old, "diff --git"), (new, "diff")] {
            let result: AfterStepResult = serde_json::from_str(&text).unwrap();
            assert_eq!(result.diff_bytes().unwrap().as_ref(), diff.as_bytes());
            assert_eq!(serde_json::to_string(&result).unwrap(), text);
        }
        let bad: AfterStepResult = serde_json::from_str(r#"{"version":2,"diff":"diff --git"}"#).unwrap();
        assert!(bad.diff_bytes().unwrap_err().to_string().contains("not base64"));
        let none: AfterStepResult =
            serde_json::from_str(r#"{"version":2,"diff":null,"stdout":null}"#).unwrap();
        assert!(none.diff_bytes().unwrap().is_empty());
    }

    /// Six bytes as a value are a map with room for eleven entries, and they were read twice.
    #[test]
    fn what_a_step_made_up_takes_the_memory_of_its_text() {
        let many = format!("[{}]", vec![r#"{"":0}"#; 10_000].join(","));
        let text = format!(r#"{{"stepIndex":3,"outputs":{{"a":{many}}},"zzz":{many},"other":[1]}}"#);
        let result: AfterStepResult = serde_json::from_str(&text).unwrap();
        assert_eq!(result.outputs.as_ref().unwrap().text(), format!(r#"{{"a":{many}}}"#));
        let [(zzz, value), (other, _)] = result.others.0.as_slice() else { panic!("{:?}", result.others) };
        assert_eq!((zzz.as_str(), value.text(), other.as_str()), ("zzz", many.as_str(), "other"));
        assert!(result.size().abs_diff(text.len()) < 100, "{} of {}", result.size(), text.len());
        assert_eq!(result.output_names(), ["a"]);
        let again: AfterStepResult = serde_json::from_value(serde_json::to_value(&result).unwrap()).unwrap();
        assert_eq!(again.outputs, result.outputs);
    }

    #[test]
    fn what_is_no_result_is_refused() {
        let many: Vec<String> = (0..=MAX_OTHERS).map(|n| format!(r#""k{n}":0"#)).collect();
        for (bad, told) in [
            (r#"{"outputs":[]}"#.to_owned(), "must be an object"),
            (r#"{"diff":"a","diff":"b"}"#.to_owned(), "duplicate key `diff`"),
            (r#"{"x":1,"x":2}"#.to_owned(), "duplicate key `x`"),
            (format!("{{{}}}", many.join(",")), "more than 64 keys"),
            ("[2]".to_owned(), "the result of a step"),
        ] {
            let refused = serde_json::from_str::<AfterStepResult>(&bad).unwrap_err().to_string();
            assert!(refused.contains(told), "{bad}: {refused}");
        }
        let all: AfterStepResult = serde_json::from_str(&format!("{{{}}}", many[1..].join(","))).unwrap();
        assert_eq!(all.others.0.len(), MAX_OTHERS);
    }
}
