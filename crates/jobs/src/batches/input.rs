//! What is asked for, by the names of the documented protocol.

#![expect(clippy::zero_sized_map_values, reason = "the documented shape is an object of empty objects")]

use super::env::StepEnv;
use super::lenient;
use super::result::AfterStepResult;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The execution of a batch change's steps in one workspace of a repository.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecutionInput {
    /// The batch change that it is of; templates and cache keys know of it.
    #[serde(default, rename = "BatchChangeAttributes")]
    pub batch_change_attributes: BatchChangeAttributes,
    /// The repository.
    pub repository: Repository,
    /// The branch, and the commit to start from.
    #[serde(default)]
    pub branch: Branch,
    /// The workspace: a directory of the repository; empty for all of it.
    #[serde(default)]
    pub path: String,
    /// Check out the workspace alone.
    #[serde(default)]
    pub only_fetch_workspace: bool,
    /// The steps, in order.
    #[serde(deserialize_with = "lenient::steps")]
    pub steps: Vec<Step>,
    /// The files for which the repository was found, for templates.
    #[serde(default)]
    pub search_result_paths: Option<Vec<String>>,
    /// Whether `cachedStepResult` is one: the steps up to its own are not run again.
    #[serde(default)]
    pub cached_step_result_found: bool,
    /// The result of an earlier execution to go on from.
    #[serde(default)]
    pub cached_step_result: AfterStepResult,
    /// Indexes of steps that are known not to be needed here.
    #[serde(default, deserialize_with = "lenient::map")]
    pub skipped_steps: BTreeMap<String, Skipped>,
}

/// The batch change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct BatchChangeAttributes {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// What it says of itself.
    #[serde(default)]
    pub description: String,
}

/// A repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// What the batch change's server knows it by; only cache keys are made of it.
    #[serde(default)]
    pub id: String,
    /// Its name, as it was added.
    pub name: String,
}

/// A branch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// Its name, such as `refs/heads/main`; the default branch where there is no commit either.
    #[serde(default)]
    pub name: String,
    /// Where it points.
    #[serde(default)]
    pub target: Commit,
}

/// A commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Its id; where it is empty, the branch is looked up when the job is submitted.
    #[serde(default)]
    pub oid: String,
}

/// A step. Its keys are written in the order of these fields, which cache keys depend on.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// A shell script; a template.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run: String,
    /// The container image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// Its variables.
    #[serde(default)]
    pub env: StepEnv,
    /// Files to make in the container: contents, which are templates, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::map")]
    pub files: BTreeMap<String, String>,
    /// Values that later steps may use, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::map")]
    pub outputs: BTreeMap<String, Output>,
    /// Files of the job to put into the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::or_default")]
    pub mount: Vec<Mount>,
    /// Whether it is run; a template.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
}

/// A value that later steps may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// A template.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// What it is read as: `json`, `yaml`, or as it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub format: String,
}

/// A file or directory of the job's, in the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where it is in the container.
    pub mountpoint: String,
    /// Where it is among the job's files.
    pub path: String,
}

/// Whether a step is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Condition {
    /// It is known.
    Known(bool),
    /// A template; the step is run where it comes to `true`.
    Template(String),
}

/// By hand, since what is *untagged* is held in memory first, whatever it is.
impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Condition;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a template")
            }

            fn visit_bool<E: Error>(self, known: bool) -> Result<Condition, E> {
                Ok(Condition::Known(known))
            }

            fn visit_str<E: Error>(self, template: &str) -> Result<Condition, E> {
                Ok(Condition::Template(template.to_owned()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Nothing is said of a skipped step but that it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Skipped {}

impl ExecutionInput {
    /// The revision to check out: the commit, or else the branch; `None`: the default branch.
    pub fn rev(&self) -> Option<&str> {
        [&self.branch.target.oid, &self.branch.name]
            .into_iter()
            .map(String::as_str)
            .find(|rev| !rev.is_empty())
    }

    /// Names whose values its steps want from outside.
    pub fn outer_variables(&self) -> BTreeSet<&str> {
        self.steps.iter().flat_map(|step| step.env.outer()).collect()
    }

    /// Whether a step is known not to be needed.
    pub fn skips(&self, index: usize) -> bool {
        self.skipped_steps.contains_key(&index.to_string())
    }

    /// The result to go on from.
    pub fn cached(&self) -> Option<&AfterStepResult> {
        self.cached_step_result_found.then_some(&self.cached_step_result)
    }

    /// The steps that are left to run, with their indexes.
    pub fn steps_to_run(&self) -> impl Iterator<Item = (usize, &Step)> {
        let start = self.cached().map_or(0, |result| result.step_index.saturating_add(1));
        self.steps.iter().enumerate().skip(start).filter(|(index, _)| !self.skips(*index))
    }

    /// Whether the workspace alone is checked out. There is nothing to leave out where it is all of the repository.
    pub fn is_sparse(&self) -> bool {
        self.only_fetch_workspace && !self.path.is_empty()
    }

    /// Bytes of all that it says.
    pub fn size(&self) -> usize {
        let attributes = &self.batch_change_attributes;
        let texts = [
            &attributes.name,
            &attributes.description,
            &self.repository.id,
            &self.repository.name,
            &self.branch.name,
            &self.branch.target.oid,
            &self.path,
        ];
        let paths = self.search_result_paths.iter().flatten().map(|path| path.len() + 4);
        let steps = self.steps.iter().map(Step::size);
        let texts = texts.into_iter().map(String::len);
        texts.chain(paths).chain(steps).sum::<usize>() + self.cached_step_result.size()
    }
}

impl Step {
    fn size(&self) -> usize {
        let files = self.files.iter().map(|(path, content)| path.len() + content.len());
        let outputs =
            self.outputs.iter().map(|(name, output)| name.len() + output.value.len() + output.format.len());
        let mounts = self.mount.iter().map(|mount| mount.path.len() + mount.mountpoint.len());
        let condition = match &self.condition {
            Some(Condition::Template(text)) => text.len(),
            _ => 0,
        };
        let texts = [self.run.len(), self.container.len(), self.env.size(), condition];
        texts.into_iter().chain(files).chain(outputs).chain(mounts).sum()
    }
}

/// Scripts and results stay out of `Debug`.
impl fmt::Debug for ExecutionInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutionInput")
            .field("repository", &self.repository)
            .field("branch", &self.branch)
            .field("path", &self.path)
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("container", &self.container)
            .field("env", &self.env)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the protocol's documentation has it.
    const DOCUMENTED: &str = r#"{"BatchChangeAttributes":{"Name":"n","Description":"d"},"repository":{"id":"UmVwb3NpdG9yeTox","name":"github.com/acme/app"},"branch":{"name":"refs/heads/main","target":{"oid":"0123456789012345678901234567890123456789"}},"path":"a/b","onlyFetchWorkspace":false,"steps":[{"run":"make","container":"alpine:3","env":{},"files":{"/a":"b"},"outputs":{"x":{"value":"1","format":"json"}},"mount":[{"mountpoint":"/m","path":"./m"}],"if":"true"}],"searchResultPaths":["a/b/x.go"],"cachedStepResultFound":true,"cachedStepResult":{"version":2,"changedFiles":{"modified":null,"added":null,"deleted":null,"renamed":null},"stdout":"","stderr":"","stepIndex":0,"diff":"YQ==","outputs":{"k":"v"},"skipped":false},"skippedSteps":{"1":{}}}"#;

    #[test]
    fn it_is_written_as_it_was_read() {
        let input: ExecutionInput = serde_json::from_str(DOCUMENTED).unwrap();
        assert_eq!(serde_json::to_string(&input).unwrap(), DOCUMENTED);
        assert!(input.skips(1) && !input.skips(0));
        assert_eq!(input.rev(), Some("0123456789012345678901234567890123456789"));
    }

    #[test]
    fn what_was_never_set_may_be_null_and_what_is_unknown_is_refused() {
        let text = r#"{"repository":{"name":"app"},"steps":[{"run":"x","container":"y","env":null,"files":null,
            "outputs":null,"mount":null,"if":null}],"searchResultPaths":null,"skippedSteps":null}"#;
        let input: ExecutionInput = serde_json::from_str(text).unwrap();
        assert_eq!(input.rev(), None);
        assert_eq!(input.steps_to_run().count(), 1);
        for bad in [
            text.replace("\"run\"", "\"rnu\""),
            text.replace("\"name\"", "\"nmae\""),
            text.replace("\"skippedSteps\":null", "\"skippedSteps\":{\"1\":{},\"1\":{}}"),
            text.replace("\"skippedSteps\":null", "\"skippedSteps\":{\"1\":{\"x\":1}}"),
        ] {
            assert!(serde_json::from_str::<ExecutionInput>(&bad).is_err(), "{bad}");
        }
    }
}
