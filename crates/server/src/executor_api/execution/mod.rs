//! From an execution of a batch change to what an executor runs.
//!
//! In the native form each step is three in containers: the helper before it, the step, the helper after it. In the classic form
//! it is one call of `src`, which starts the containers itself. The tables of the documented protocol say what is in both.

mod classic;
mod native;

use jobs::batches::{Branch, Commit, ExecutionInput};
use std::collections::BTreeMap;
use wire::{Job, JobFile, PayloadVersion};

/// Where the repository is checked out, below the workspace.
const REPOSITORY: &str = "repository";
/// What is to be done, for helper and src.
const INPUT: &str = "input.json";
/// Below which the job's own files are.
const WORKSPACE_FILES: &str = "workspace-files";

/// In which form an execution is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// As steps in containers, with the helper of this image.
    Native {
        /// The image, with its tag.
        helper: String,
    },
    /// As a call of src.
    Classic {
        /// Whether it knows results that hold any bytes.
        binary_diffs: bool,
    },
}

impl Form {
    /// The form for an executor that reads payloads of `version`. Old ones know nothing of steps that are passed over, so they
    /// are sent the classic one whatever the site configuration says.
    pub(super) fn of(version: PayloadVersion, native: bool, helper: &str, binary_diffs: bool) -> Self {
        if native && version == PayloadVersion::V2 {
            Self::Native { helper: helper.to_owned() }
        } else {
            Self::Classic { binary_diffs }
        }
    }
}

/// Makes `job`, which has all that any job has, run an execution. `env` are the variables that its steps want from outside.
pub(super) fn add(job: &mut Job, input: &ExecutionInput, env: &[String], form: &Form) {
    let input = resolved(input, &job.commit);
    REPOSITORY.clone_into(&mut job.repository_directory);
    if input.only_fetch_workspace {
        job.sparse_checkout = vec![format!("{}/*", input.path)];
    }
    let own = std::mem::take(&mut job.files);
    let has_files = !own.is_empty();
    job.files = own.into_iter().map(|(path, file)| (format!("{WORKSPACE_FILES}/{path}"), file)).collect();
    job.files.insert(INPUT.to_owned(), file(json(&input)));
    match form {
        Form::Native { helper } => native::add(job, &input, env, helper),
        Form::Classic { binary_diffs } => job.cli_steps = vec![classic::step(env, *binary_diffs, has_files)],
    }
}

/// The input with what is known now: the commit, and whether there is anything to leave out.
fn resolved(input: &ExecutionInput, commit: &str) -> ExecutionInput {
    let branch = Branch { name: input.branch.name.clone(), target: Commit { oid: commit.to_owned() } };
    ExecutionInput { branch, only_fetch_workspace: input.is_sparse(), ..input.clone() }
}

fn file(content: Vec<u8>) -> JobFile {
    JobFile { content, ..JobFile::default() }
}

/// The maps all have texts as keys, so writing can't fail.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// What its steps want from outside, as far as it is there.
pub(super) fn environment<'a>(values: impl Iterator<Item = (&'a String, &'a str)>) -> Vec<String> {
    let merged: BTreeMap<_, _> = values.collect();
    merged.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests;
