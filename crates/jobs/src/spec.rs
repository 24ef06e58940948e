//! What a user asks for.

mod bad;

pub use bad::BadSpec;

use crate::artifacts::{self, ArtifactSpec};
use crate::batches::ExecutionInput;
use crate::dispatch::{Concurrency, MAX_CONCURRENCY, MAX_PRIORITY};
use crate::files::{self, FileSpec};
use crate::index::IndexSpec;
use crate::name;
use crate::needs::Needs;
use crate::revision;
use crate::unique;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Steps in one job at most.
pub const MAX_STEPS: usize = 1_000;
/// How often a job may ask to be tried again after it failed by its own fault.
pub const MAX_RETRIES: u32 = 10;
/// Seconds that a job may ask to wait after it was submitted: ten years.
pub const MAX_DELAY_SECONDS: u64 = 10 * 366 * 24 * 3_600;
/// Bytes of one job's environment, scripts, secrets and inline files together at most.
pub const MAX_SPEC_BYTES: usize = 4 << 20;
/// Bytes of one job's secrets together at most: each is looked for in every log in many forms.
pub const MAX_SECRET_BYTES: usize = 64 << 10;
/// Bytes of one variable, `NAME=value`, at most: the kernel passes no longer one on.
pub const MAX_VARIABLE_BYTES: usize = (128 << 10) - 1;
/// Bytes of one step's environment at most, for the same reason.
pub const MAX_ENVIRONMENT_BYTES: usize = 1 << 20;
/// Bytes of the environments of all steps together at most. The job's own variables count for each step:
/// whoever runs the job is given all of them.
pub const MAX_ENVIRONMENTS_BYTES: usize = 32 << 20;

/// A job as a user submits it: JSON in the API, YAML in a job file.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobSpec {
    /// The queue; `batches` unless said otherwise.
    #[serde(default = "default_queue")]
    pub queue: String,
    /// The repository's name, as it was added; none for a job that is just steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Branch, tag or commit; the repository's default branch unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
    /// Environment of every step.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique::map")]
    pub env: BTreeMap<String, String>,
    /// Environment of every step whose values must not reach a log. Never given back by the API.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique::map")]
    pub secrets: BTreeMap<String, String>,
    /// Keys of secrets that the control plane keeps, for every step: see [`crate::secrets`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stored_secrets: Vec<String>,
    /// Files to put into the workspace before the first step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileSpec>,
    /// What it leaves, to be kept when its steps are over, however they ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactSpec>,
    /// What to run, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepSpec>,
    /// An index to make of the repository, in place of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<IndexSpec>,
    /// An execution of a batch change in one workspace, in place of steps: see [`crate::batches`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Box<ExecutionInput>>,
    /// From -10 to 10; one level counts as five minutes of waiting. See [`crate::dispatch`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// Not to be run before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Not to be run before so many seconds have passed since it was submitted, in place of `notBefore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<u64>,
    /// How many jobs that have something in common may run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// How often it is tried again after it failed by its own fault, such as a step's exit code: 0 to 10. Faults of the
    /// infrastructure are not counted here.
    #[serde(default, skip_serializing_if = "is_none_asked")]
    pub retries: u32,
    /// What it needs of its executor.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
}

/// One step of a job.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepSpec {
    /// Shown to people, part of log keys; the step's index unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The container image.
    pub image: String,
    /// A shell script.
    pub run: String,
    /// Working directory, below the workspace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dir: String,
    /// Environment of this step; wins over the job's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique::map")]
    pub env: BTreeMap<String, String>,
    /// Keys of secrets that the control plane keeps, for this step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stored_secrets: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(number: &i32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_none_asked(retries: &u32) -> bool {
    *retries == 0
}

fn default_queue() -> String {
    "batches".to_owned()
}

/// Secret values stay out of `Debug`.
impl fmt::Debug for JobSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobSpec")
            .field("queue", &self.queue)
            .field("repo", &self.repo)
            .field("rev", &self.rev)
            .field("secrets", &self.secrets.keys().collect::<Vec<_>>())
            .field("files", &self.files.len())
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for StepSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepSpec")
            .field("name", &self.name)
            .field("image", &self.image)
            .finish_non_exhaustive()
    }
}

impl JobSpec {
    /// Checks everything that can be known without looking at the world.
    pub fn check(&self) -> Result<(), BadSpec> {
        name::check_queue(&self.queue)?;
        if let Some(repo) = &self.repo {
            name::check_repository(repo)?;
        }
        match (&self.rev, &self.repo) {
            (Some(rev), None) => return Err(BadSpec::RevWithoutRepo(rev.clone())),
            (Some(rev), Some(_)) if !revision::is_allowed(rev) => return Err(BadSpec::Rev(rev.clone())),
            _ => {}
        }
        self.check_order()?;
        match (&self.index, &self.execution) {
            (Some(_), Some(_)) => return Err(BadSpec::TwoKinds),
            (Some(index), None) => index.check_in(self)?,
            (None, Some(execution)) => execution.check(self)?,
            (None, None) if self.steps.is_empty() => return Err(BadSpec::NoSteps),
            (None, None) => {}
        }
        if self.steps.len() > MAX_STEPS {
            return Err(BadSpec::TooManySteps(self.steps.len()));
        }
        check_env(&self.env)?;
        check_env(&self.secrets)?;
        self.check_asked()?;
        for (name, value) in &self.secrets {
            if value.is_empty() {
                return Err(BadSpec::EmptySecret(name.clone()));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        for (index, step) in self.steps.iter().enumerate() {
            let key = step.key(index);
            step.check(&key)?;
            for name in self.env.keys().chain(step.env.keys()) {
                if self.secrets.contains_key(name) {
                    return Err(BadSpec::PlainAndSecret(name.clone()));
                }
            }
            if !seen.insert(key.clone()) {
                return Err(BadSpec::DuplicateStep(key));
            }
        }
        files::check_all(&self.files)?;
        artifacts::check(&self.artifacts)?;
        self.check_sizes(&BTreeMap::new())?;
        let size = self.size();
        if size > MAX_SPEC_BYTES { Err(BadSpec::TooLarge(size)) } else { Ok(()) }
    }

    /// The job with its execution's repository and revision as its own, as everybody looks for those.
    #[must_use]
    pub fn with_execution_named(mut self) -> Self {
        if let Some(execution) = &self.execution {
            self.repo = Some(execution.repository.name.clone());
            self.rev = execution.rev().map(str::to_owned);
        }
        self
    }

    /// Before which time it may not be run, where it is submitted `now`.
    pub fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let after = |seconds: u64| {
            let delay = SignedDuration::from_secs(seconds.min(MAX_DELAY_SECONDS).cast_signed());
            now.saturating_add(delay).unwrap_or(Timestamp::MAX)
        };
        self.not_before.or_else(|| self.delay_seconds.map(after))
    }

    /// Checks what decides when and where it runs.
    fn check_order(&self) -> Result<(), BadSpec> {
        if !(-MAX_PRIORITY..=MAX_PRIORITY).contains(&self.priority) {
            return Err(BadSpec::Priority(self.priority));
        }
        match self.delay_seconds {
            Some(_) if self.not_before.is_some() => return Err(BadSpec::TwoTimes),
            Some(seconds) if seconds > MAX_DELAY_SECONDS => return Err(BadSpec::Delay(seconds)),
            _ => {}
        }
        if self.retries > MAX_RETRIES {
            return Err(BadSpec::Retries(self.retries));
        }
        if let Some(Concurrency { key, limit }) = &self.concurrency {
            name::check_concurrency_key(key)?;
            if *limit == 0 {
                return Err(BadSpec::NoConcurrency(key.clone()));
            }
            if *limit > MAX_CONCURRENCY {
                return Err(BadSpec::Concurrency(key.clone(), *limit));
            }
        }
        Ok(self.needs.check()?)
    }

    /// Checks what every step is started with, now that the bytes are known of the kept secrets that it asks for.
    pub fn check_with_stored(&self, stored: &BTreeMap<&str, usize>) -> Result<(), BadSpec> {
        self.check_sizes(stored)
    }

    fn check_sizes(&self, stored: &BTreeMap<&str, usize>) -> Result<(), BadSpec> {
        let of_stored = |key: &str| key.len() + 1 + stored.get(key).copied().unwrap_or_default();
        let of_all = |keys: &[String]| keys.iter().map(|key| of_stored(key)).sum::<usize>();
        let secrets = bytes(&self.secrets);
        let all_secrets = secrets + self.asked_secrets().into_iter().map(of_stored).sum::<usize>();
        if all_secrets > MAX_SECRET_BYTES {
            return Err(BadSpec::LargeSecrets(all_secrets));
        }
        let of_each = bytes(&self.env) + secrets + of_all(&self.stored_secrets);
        let mut all = 0;
        for (index, step) in self.steps.iter().enumerate() {
            let size = of_each + bytes(&step.env) + of_all(&step.stored_secrets);
            if size > MAX_ENVIRONMENT_BYTES {
                return Err(BadSpec::LargeEnvironment { step: step.key(index), size });
            }
            all += size;
        }
        if let Some(index) = &self.index {
            all += index.steps_with_secrets() * of_all(&index.requested_env_vars);
        }
        // Its helper is given what all steps want from outside, before each of them and after.
        if let Some(execution) = &self.execution {
            all += 2 * execution.steps.len() * all_secrets;
        }
        if all > MAX_ENVIRONMENTS_BYTES { Err(BadSpec::LargeEnvironments(all)) } else { Ok(()) }
    }

    /// Bytes of its scripts, variables, secrets and inline files.
    pub fn size(&self) -> usize {
        let steps = self.steps.iter().map(|step| step.run.len() + step.image.len() + bytes(&step.env));
        let files = self.files.iter().map(FileSpec::size);
        let asked: usize = self.asked_secrets().into_iter().map(str::len).sum();
        let index = self.index.as_ref().map_or(0, IndexSpec::size);
        let execution = self.execution.as_ref().map_or(0, |execution| execution.size());
        index
            + execution
            + asked
            + bytes(&self.env)
            + bytes(&self.secrets)
            + steps.sum::<usize>()
            + files.sum::<usize>()
    }
}

impl StepSpec {
    /// The step's name, or its index.
    pub fn key(&self, index: usize) -> String {
        self.name.clone().unwrap_or_else(|| index.to_string())
    }

    fn check(&self, key: &str) -> Result<(), BadSpec> {
        name::check_step_key(key)?;
        if self.image.trim().is_empty() {
            return Err(BadSpec::NoImage(key.to_owned()));
        }
        name::check_image(&self.image)?;
        if self.run.trim().is_empty() {
            return Err(BadSpec::NoScript(key.to_owned()));
        }
        if !files::stays_inside(&self.dir) {
            return Err(BadSpec::Dir { step: key.to_owned(), dir: self.dir.clone() });
        }
        check_env(&self.env)
    }
}

/// Bytes of all `NAME=value`.
fn bytes(env: &BTreeMap<String, String>) -> usize {
    env.iter().map(|(name, value)| name.len() + 1 + value.len()).sum()
}

pub(crate) fn check_env(env: &BTreeMap<String, String>) -> Result<(), BadSpec> {
    for (name, value) in env {
        name::check_env_name(name)?;
        if value.contains('\0') {
            return Err(BadSpec::NulInValue(name.clone()));
        }
        let size = name.len() + 1 + value.len();
        if size > MAX_VARIABLE_BYTES {
            return Err(BadSpec::LongVariable { name: name.clone(), size });
        }
    }
    Ok(())
}
