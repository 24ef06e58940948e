//! What a step came to.

use super::lenient;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// From this version on a diff is written in base64.
const WITH_BINARY_DIFFS: u32 = 2;

/// The result of a step, with all that those before it changed. What it holds besides is kept, so that it can be handed back
/// as it came.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct AfterStepResult {
    /// How it is written: 2, or without one as in version 1.
    #[serde(skip_serializing_if = "is_old")]
    pub version: u32,
    /// What the step did to which files.
    #[serde(deserialize_with = "lenient::or_default")]
    pub changed_files: ChangedFiles,
    /// What the step wrote.
    #[serde(deserialize_with = "lenient::or_default")]
    pub stdout: String,
    /// What it wrote as errors.
    #[serde(deserialize_with = "lenient::or_default")]
    pub stderr: String,
    /// Which step it is of, from 0.
    pub step_index: usize,
    /// All changes since the commit, as git writes them; in version 2 in base64.
    #[serde(deserialize_with = "lenient::or_default")]
    pub diff: String,
    /// Values that later steps may use.
    pub outputs: Option<BTreeMap<String, Value>>,
    /// The step was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<bool>,
    /// Anything else.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
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

    /// Bytes of it, more or less.
    pub(super) fn size(&self) -> usize {
        let values = self.outputs.iter().flatten().chain(&self.others);
        let values = values.map(|(name, value)| name.len() + size_of_value(value));
        let ChangedFiles { modified, added, deleted, renamed } = &self.changed_files;
        let files =
            [modified, added, deleted, renamed].into_iter().flatten().flatten().map(|path| path.len() + 4);
        self.stdout.len() + self.stderr.len() + self.diff.len() + values.chain(files).sum::<usize>()
    }
}

fn size_of_value(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(list) => list.iter().map(|value| size_of_value(value) + 1).sum::<usize>() + 2,
        Value::Object(map) => {
            map.iter().map(|(name, value)| name.len() + size_of_value(value) + 4).sum::<usize>() + 2
        }
        _ => 8,
    }
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
}
