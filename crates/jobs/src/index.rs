//! An index of a repository, for finding one's way in its code: what a job of the queue `codeintel` may be in place of steps.
//!
//! Steps before the indexer, the indexer, and what uploads its outcome are made of it when it is given out, since some of that
//! depends on the executor.

use crate::files::{MAX_PATH, stays_inside};
use crate::name::{self, BadName};
use crate::spec::{JobSpec, MAX_STEPS};
use serde::{Deserialize, Serialize};

/// The queue of indexes.
pub const QUEUE: &str = "codeintel";
/// The key of the step that runs the indexer.
pub const INDEXER: &str = "indexer";
/// The key of the step that uploads what it made.
pub const UPLOAD: &str = "upload";
/// What steps are told of their executor, and no secret may be called.
pub const RESOURCES: [&str; 7] =
    ["VM_CPUS", "VM_MEM", "VM_MEM_GB", "VM_MEM_MB", "VM_DISK", "VM_DISK_GB", "VM_DISK_MB"];

/// Bytes of a directory's path at most: uploads take no longer one.
const MAX_ROOT: usize = 1_024;
/// Steps beside those before the indexer.
const OTHER_STEPS: usize = 2;

/// How an index is made. The documented configuration's own names are understood as well: `steps`, `local_steps` and so on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IndexSpec {
    /// What runs before the indexer, each in a container of its own.
    #[serde(default, alias = "docker_steps", alias = "steps", skip_serializing_if = "Vec::is_empty")]
    pub docker_steps: Vec<IndexStep>,
    /// Lines of shell that run in the indexer's container before it.
    #[serde(default, alias = "local_steps", skip_serializing_if = "Vec::is_empty")]
    pub local_steps: Vec<String>,
    /// The directory of the repository that is indexed; the whole of it unless said otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub root: String,
    /// The indexer's container image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub indexer: String,
    /// The indexer's command line, an argument each.
    #[serde(default, alias = "indexer_args", skip_serializing_if = "Vec::is_empty")]
    pub indexer_args: Vec<String>,
    /// The file that it makes, from `root` on; `dump.lsif` unless said otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outfile: String,
    /// Keys of secrets that the control plane keeps, for all steps but the upload.
    #[serde(
        default,
        alias = "requested_env_vars",
        alias = "requested_envvars",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub requested_env_vars: Vec<String>,
}

/// One step before the indexer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IndexStep {
    /// The directory that it runs in, below the workspace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub root: String,
    /// The container image.
    pub image: String,
    /// Lines of shell.
    pub commands: Vec<String>,
}

/// What is wrong with an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadIndex {
    /// A name breaks its rule.
    #[error(transparent)]
    Name(#[from] BadName),
    /// Executors of another queue would not know what to do.
    #[error("a job with an index is one of the queue {QUEUE}, not {0:?}: set queue to {QUEUE}")]
    Queue(String),
    /// There is nothing to index.
    #[error("the job has an index but no repository: name the one to index as repo")]
    NoRepository,
    /// It says what to do twice, or something that no step of an index is given.
    #[error(
        "the job has both index and {0}: leave {0} out; an index has dockerSteps, localSteps and requestedEnvVars"
    )]
    Beside(&'static str),
    /// There is nothing to do.
    #[error("the index runs nothing: give it an indexer with indexerArgs, or dockerSteps")]
    Nothing,
    /// Nowhere to run it.
    #[error("the index has {0} but no indexer: name the container image to run them in as indexer")]
    NoIndexer(&'static str),
    /// An image that does nothing.
    #[error("the indexer {0:?} has nothing to run: give it indexerArgs or localSteps")]
    IdleIndexer(String),
    /// A step that does nothing.
    #[error("step {0} of the index's dockerSteps has no commands: give it one")]
    IdleStep(usize),
    /// There is too much to do.
    #[error("the index has {0} dockerSteps: at most {max} are allowed", max = MAX_STEPS - OTHER_STEPS)]
    TooManySteps(usize),
    /// A directory that leaves the workspace.
    #[error(
        "{place} of the index is {dir:?}: it must lie below the workspace, so it may not begin with '/', hold '..' or \
             control characters, or be longer than {MAX_ROOT} bytes"
    )]
    Root {
        /// Whose.
        place: String,
        /// The directory.
        dir: String,
    },
    /// No program could be told of it.
    #[error("the index's outfile is {0:?}: use up to {MAX_PATH} bytes without control characters")]
    Outfile(String),
    /// What no script can hold.
    #[error("{0} of the index hold a NUL byte, which no script can carry")]
    Nul(&'static str),
    /// A secret in place of what the step is told of its executor.
    #[error(
        "the index asks for the secret {0}, but steps are told that of their executor: give it another key"
    )]
    Resource(String),
}

impl IndexSpec {
    /// Keys and images of its steps, in order.
    pub fn outline<'a>(&'a self, src_cli: &'a str) -> Vec<(String, &'a str)> {
        let before = self.docker_steps.iter().enumerate();
        let before = before.map(|(index, step)| (pre_index(index), step.image.as_str()));
        let indexer =
            Some((INDEXER.to_owned(), self.indexer.as_str())).filter(|(_, image)| !image.is_empty());
        before.chain(indexer).chain([(UPLOAD.to_owned(), src_cli)]).collect()
    }

    /// How many of its steps have the secrets that it asks for.
    pub(crate) fn steps_with_secrets(&self) -> usize {
        self.docker_steps.len() + usize::from(!self.indexer.is_empty())
    }

    /// Bytes of all that it says.
    pub(crate) fn size(&self) -> usize {
        let lines = |lines: &[String]| lines.iter().map(|line| line.len() + 1).sum::<usize>();
        let step = |step: &IndexStep| step.root.len() + step.image.len() + lines(&step.commands);
        self.docker_steps.iter().map(step).sum::<usize>()
            + lines(&self.local_steps)
            + lines(&self.indexer_args)
            + [&self.root, &self.indexer, &self.outfile].map(String::len).iter().sum::<usize>()
    }

    /// Checks it and what stands beside it.
    pub(crate) fn check_in(&self, job: &JobSpec) -> Result<(), BadIndex> {
        if job.queue != QUEUE {
            return Err(BadIndex::Queue(job.queue.clone()));
        }
        if job.repo.is_none() {
            return Err(BadIndex::NoRepository);
        }
        let beside = [
            ("steps", job.steps.is_empty()),
            ("env", job.env.is_empty()),
            ("secrets", job.secrets.is_empty()),
            ("storedSecrets", job.stored_secrets.is_empty()),
            ("files", job.files.is_empty()),
        ];
        if let Some((what, _)) = beside.into_iter().find(|(_, is_empty)| !is_empty) {
            return Err(BadIndex::Beside(what));
        }
        self.check()
    }

    fn check(&self) -> Result<(), BadIndex> {
        self.check_what_runs()?;
        check_root("root", &self.root)?;
        for (number, step) in self.docker_steps.iter().enumerate() {
            name::check_image(&step.image)?;
            check_root(&format!("root of step {number}"), &step.root)?;
            check_text("commands of dockerSteps", &step.commands)?;
            if is_blank(&step.commands) {
                return Err(BadIndex::IdleStep(number));
            }
        }
        check_text("localSteps", &self.local_steps)?;
        check_text("indexerArgs", &self.indexer_args)?;
        if self.outfile.len() > MAX_PATH || self.outfile.contains(char::is_control) {
            return Err(BadIndex::Outfile(self.outfile.clone()));
        }
        let resource = self.requested_env_vars.iter().find(|key| RESOURCES.contains(&key.as_str()));
        resource.map_or(Ok(()), |key| Err(BadIndex::Resource(key.clone())))
    }

    fn check_what_runs(&self) -> Result<(), BadIndex> {
        if self.docker_steps.len() > MAX_STEPS - OTHER_STEPS {
            return Err(BadIndex::TooManySteps(self.docker_steps.len()));
        }
        let idle = self.indexer_args.is_empty() && is_blank(&self.local_steps);
        match (self.indexer.is_empty(), idle) {
            (true, _) if !self.indexer_args.is_empty() => Err(BadIndex::NoIndexer("indexerArgs")),
            (true, _) if !self.local_steps.is_empty() => Err(BadIndex::NoIndexer("localSteps")),
            (true, _) if self.docker_steps.is_empty() => Err(BadIndex::Nothing),
            (true, _) => Ok(()),
            (false, true) => Err(BadIndex::IdleIndexer(self.indexer.clone())),
            (false, false) => Ok(name::check_image(&self.indexer)?),
        }
    }
}

/// Whether both name one directory of the repository: whoever uploads may write it otherwise than it was asked for.
pub fn is_same_root(one: &str, other: &str) -> bool {
    root_parts(one) == root_parts(other)
}

fn root_parts(root: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in root.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}

/// The key of a step before the indexer.
pub fn pre_index(number: usize) -> String {
    format!("pre-index.{number}")
}

fn is_blank(lines: &[String]) -> bool {
    lines.iter().all(|line| line.trim().is_empty())
}

fn check_root(place: &str, dir: &str) -> Result<(), BadIndex> {
    if stays_inside(dir) && dir.len() <= MAX_ROOT && !dir.contains(char::is_control) {
        return Ok(());
    }
    Err(BadIndex::Root { place: place.to_owned(), dir: dir.to_owned() })
}

fn check_text(place: &'static str, lines: &[String]) -> Result<(), BadIndex> {
    if lines.iter().any(|line| line.contains('\0')) { Err(BadIndex::Nul(place)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn job(index: Value) -> JobSpec {
        let mut job = json!({"queue": "codeintel", "repo": "app"});
        job["index"] = index;
        serde_json::from_value(job).unwrap()
    }

    fn small() -> Value {
        json!({"indexer": "sourcegraph/scip-go", "indexerArgs": ["scip-go"]})
    }

    #[test]
    fn the_documented_configuration_is_read_as_it_is() {
        let documented = json!({
            "steps": [{"root": "web", "image": "node:20", "commands": ["npm ci"]}],
            "local_steps": ["go mod download"], "root": "cmd", "indexer": "sourcegraph/scip-go:v1",
            "indexer_args": ["scip-go", "--no-animation"], "outfile": "index.scip", "requested_envvars": ["NPM_TOKEN"]
        });
        let spec = job(documented);
        assert_eq!(spec.check(), Ok(()));
        let ours = json!({
            "dockerSteps": [{"root": "web", "image": "node:20", "commands": ["npm ci"]}],
            "localSteps": ["go mod download"], "root": "cmd", "indexer": "sourcegraph/scip-go:v1",
            "indexerArgs": ["scip-go", "--no-animation"], "outfile": "index.scip", "requestedEnvVars": ["NPM_TOKEN"]
        });
        assert_eq!(serde_json::to_value(spec.index.as_ref().unwrap()).unwrap(), ours);
        assert_eq!(spec.asked_secrets().into_iter().collect::<Vec<_>>(), ["NPM_TOKEN"]);
        let outline = spec.index.as_ref().unwrap().outline("src:1");
        let keys: Vec<_> = outline.iter().map(|(key, image)| (key.as_str(), *image)).collect();
        let steps = [("pre-index.0", "node:20"), ("indexer", "sourcegraph/scip-go:v1"), ("upload", "src:1")];
        assert_eq!(keys, steps);
        assert!(serde_json::from_value::<IndexSpec>(json!({"indexr": "x"})).is_err());
    }

    #[test]
    fn what_can_not_be_run_is_refused_with_the_rule() {
        let with = |changes: Value| {
            let mut index = small();
            index.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            job(index)
        };
        let step = |root: &str, image: &str, line: &str| json!({"dockerSteps": [{"root": root, "image": image, "commands": [line]}]});
        let many = vec![json!({"image": "a", "commands": ["x"]}); 999];
        for (spec, told) in [
            (JobSpec { queue: "batches".to_owned(), ..job(small()) }, "one of the queue codeintel"),
            (JobSpec { repo: None, ..job(small()) }, "no repository"),
            (
                JobSpec { env: [("A".to_owned(), "b".to_owned())].into(), ..job(small()) },
                "both index and env",
            ),
            (
                JobSpec { stored_secrets: vec!["A".to_owned()], ..job(small()) },
                "both index and storedSecrets",
            ),
            (JobSpec { steps: vec![crate::StepSpec::default()], ..job(small()) }, "both index and steps"),
            (job(json!({})), "runs nothing"),
            (job(json!({"indexerArgs": ["x"]})), "indexerArgs but no indexer"),
            (job(json!({"localSteps": ["x"]})), "localSteps but no indexer"),
            (job(json!({"indexer": "a", "localSteps": [" "]})), "has nothing to run"),
            (with(json!({"indexer": "Not An Image"})), "invalid image reference"),
            (with(step("", "", "x")), "invalid image reference"),
            (with(step("/etc", "a", "x")), "root of step 0"),
            (with(step("", "a", "")), "step 0 of the index's dockerSteps has no commands"),
            (with(step("", "a", "x\0")), "NUL"),
            (with(json!({"dockerSteps": many})), "999 dockerSteps: at most 998"),
            (with(json!({"root": "a/../.."})), "root of the index"),
            (with(json!({"root": "a\nb"})), "root of the index"),
            (with(json!({"outfile": "a\nb"})), "outfile"),
            (with(json!({"requestedEnvVars": ["VM_MEM"]})), "the secret VM_MEM"),
            (with(json!({"requestedEnvVars": ["A", "A"]})), "A is asked for twice"),
            (with(json!({"requestedEnvVars": ["lower"]})), "capital letters"),
            (with(json!({"localSteps": ["x".repeat(4 << 20)]})), "at most 4194304 are allowed"),
        ] {
            let refused = spec.check().expect_err(told).to_string();
            assert!(refused.contains(told), "{told}: {refused}");
        }
        let before_alone = job(json!({"dockerSteps": [{"image": "a", "commands": ["x"]}]}));
        assert_eq!(before_alone.check(), Ok(()));
    }

    #[test]
    fn a_root_is_the_same_however_it_is_written() {
        for (one, other) in
            [("", "/"), ("", "."), ("cmd", "cmd/"), ("cmd", "./cmd"), ("a/../cmd//x", "/cmd/x/.")]
        {
            assert!(is_same_root(one, other), "{one:?} {other:?}");
        }
        for (one, other) in [("", "cmd"), ("cmd", "cmd/x"), ("a/b", "b"), ("cmd", "CMD")] {
            assert!(!is_same_root(one, other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn secrets_count_for_each_step_that_has_them() {
        let steps = vec![json!({"image": "a", "commands": ["x"]}); 900];
        let spec = job(json!({"dockerSteps": steps, "requestedEnvVars": ["A"]}));
        assert_eq!(spec.check(), Ok(()));
        let check = |bytes| spec.check_with_stored(&[("A", bytes)].into());
        assert_eq!(check(1_000), Ok(()));
        assert!(check(60_000).unwrap_err().to_string().contains("environments of all steps"));
    }
}
