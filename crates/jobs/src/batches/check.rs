//! What can be known of an execution without looking at the world.

use super::input::{ExecutionInput, Step};
use super::result::{AfterStepResult, BadDiff};
use super::{QUEUE, StepEnv};
use crate::JobSpec;
use crate::files::{MAX_PATH, MAX_PATH_PART, stays_inside};
use crate::name::{self, BadName};
use crate::revision;
use crate::spec::{self, BadSpec, MAX_STEPS};
use std::collections::BTreeMap;

/// What is wrong with an execution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadExecution {
    /// A name breaks its rule.
    #[error(transparent)]
    Name(#[from] BadName),
    /// It is in a queue whose executors know nothing of it.
    #[error("an execution is a job of the queue {QUEUE}, not of {0:?}: name that queue, or none")]
    Queue(String),
    /// The job has something that an execution has its own words for.
    #[error("a job has either an execution or {0}: {1}")]
    Both(&'static str, &'static str),
    /// Two places name different things.
    #[error("the job's {what} is {job:?}, and its execution's {execution:?}: leave the job's out")]
    Differs {
        /// What they name.
        what: &'static str,
        /// Of the job.
        job: String,
        /// Of the execution.
        execution: String,
    },
    /// A branch or commit that git would not take for one.
    #[error("the execution's branch names {0:?}, which is no branch or commit as git allows them")]
    Rev(String),
    /// A directory that leaves the repository, or that none can have.
    #[error(
        "the execution's path {0:?} is no directory of a repository: it must be relative, without empty parts, '.', '..' \
             and control characters, of parts up to {MAX_PATH_PART} bytes, up to {MAX_PATH} in all; none is all of it"
    )]
    Path(String),
    /// There is nothing to do.
    #[error("the execution has no steps: give it at least one")]
    NoSteps,
    /// There is too much to do.
    #[error("the execution has {0} steps: at most {MAX_STEPS} are allowed")]
    TooManySteps(usize),
    /// All there was to do is done.
    #[error(
        "no step of the execution is left to run: each is in skippedSteps, or comes no later than the cached result"
    )]
    NothingLeft,
    /// A step without a script, or without an image.
    #[error("step {0} of the execution has no {1}: give it one")]
    Incomplete(usize, &'static str),
    /// A step's environment breaks its rules.
    #[error("step {0} of the execution: {1}")]
    Env(usize, Box<BadSpec>),
    /// A mount of files that are not the job's, or that no container could have.
    #[error(
        "step {0} of the execution mounts {1:?} at {2:?}: the path must be relative, lead to a file of the job, and lie \
             below its files; neither may be empty or hold a comma"
    )]
    Mount(usize, String, String),
    /// A file that no container could have.
    #[error(
        "step {0} of the execution makes a file {1:?}: its path may be neither empty nor hold a NUL byte"
    )]
    File(usize, String),
    /// An output that can't be read.
    #[error("output {1:?} of step {0} of the execution has the format {2:?}: use json, yaml, text or none")]
    Format(usize, String, String),
    /// There is no such step.
    #[error("skippedSteps names the step {0:?}: use the indexes of steps, from 0 to {1}")]
    Skipped(String, usize),
    /// There is no such step.
    #[error("the cached result is of step {0}: use the index of a step, from 0 to {1}")]
    CachedStep(usize, usize),
    /// It is not known how it is written.
    #[error("the cached result is of version {0}: use 2, or 1")]
    CachedVersion(u32),
    /// Its changes can't be read.
    #[error("the cached result can't be used: {0}")]
    CachedDiff(#[from] BadDiff),
    /// It would be passed over.
    #[error(
        "there is a cachedStepResult, but cachedStepResultFound is false: make it true, or leave the result out"
    )]
    CachedUnused,
    /// Nobody would be given it.
    #[error("secret {0} is wanted by no step of the execution: name it in the env of one, or leave it out")]
    UnwantedSecret(String),
}

impl ExecutionInput {
    /// Checks it as part of `job`.
    pub(crate) fn check(&self, job: &JobSpec) -> Result<(), BadExecution> {
        self.check_job(job)?;
        name::check_repository(&self.repository.name)?;
        let revs = [&self.branch.name, &self.branch.target.oid];
        if let Some(rev) = revs.into_iter().find(|rev| !rev.is_empty() && !revision::is_allowed(rev)) {
            return Err(BadExecution::Rev(rev.clone()));
        }
        if !self.path.is_empty() && !is_directory(&self.path) {
            return Err(BadExecution::Path(self.path.clone()));
        }
        match self.steps.len() {
            0 => return Err(BadExecution::NoSteps),
            count if count > MAX_STEPS => return Err(BadExecution::TooManySteps(count)),
            _ => {}
        }
        for (index, step) in self.steps.iter().enumerate() {
            step.check(index)?;
        }
        let last = self.steps.len() - 1;
        let is_index =
            |key: &str| key.parse::<usize>().is_ok_and(|index| index <= last && index.to_string() == key);
        if let Some(key) = self.skipped_steps.keys().find(|key| !is_index(key)) {
            return Err(BadExecution::Skipped(key.clone(), last));
        }
        self.check_cached(last)?;
        if self.steps_to_run().next().is_none() {
            return Err(BadExecution::NothingLeft);
        }
        Ok(())
    }

    fn check_job(&self, job: &JobSpec) -> Result<(), BadExecution> {
        const HAS_ITS_OWN: &str = "an execution has its own";
        const BY_NAME: &str = "an execution's steps name in their env what they want of kept secrets";
        const RESULTS: &str = "an execution's results are what it prints";
        if job.queue != QUEUE {
            return Err(BadExecution::Queue(job.queue.clone()));
        }
        let others = [
            ("steps", job.steps.is_empty(), HAS_ITS_OWN),
            ("env", job.env.is_empty(), "the steps of an execution have their own"),
            ("storedSecrets", job.stored_secrets.is_empty(), BY_NAME),
            ("artifacts", job.artifacts.is_empty(), RESULTS),
        ];
        if let Some((what, _, why)) = others.into_iter().find(|(_, is_empty, _)| !is_empty) {
            return Err(BadExecution::Both(what, why));
        }
        let same = |what, job: &Option<String>, own: &str| match job {
            Some(job) if job != own => {
                Err(BadExecution::Differs { what, job: job.clone(), execution: own.to_owned() })
            }
            _ => Ok(()),
        };
        same("repo", &job.repo, &self.repository.name)?;
        same("rev", &job.rev, self.rev().unwrap_or_default())?;
        let wanted = self.outer_variables();
        let unwanted = job.secrets.keys().find(|name| !wanted.contains(name.as_str()));
        unwanted.map_or(Ok(()), |name| Err(BadExecution::UnwantedSecret(name.clone())))
    }

    fn check_cached(&self, last: usize) -> Result<(), BadExecution> {
        let result = &self.cached_step_result;
        if !self.cached_step_result_found {
            // Stock peers write an empty one where there is none.
            let empty = AfterStepResult {
                version: result.version,
                skipped: result.skipped,
                ..AfterStepResult::default()
            };
            let is_empty = *result == empty || result.size() == 0 && result.step_index == 0;
            return if is_empty { Ok(()) } else { Err(BadExecution::CachedUnused) };
        }
        if result.step_index > last {
            return Err(BadExecution::CachedStep(result.step_index, last));
        }
        if result.version > 2 {
            return Err(BadExecution::CachedVersion(result.version));
        }
        result.diff_bytes()?;
        Ok(())
    }
}

/// Whether it names a directory below the top.
fn is_directory(path: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != ".";
    stays_inside(path) && path.split('/').all(plain) && !path.chars().any(char::is_control)
}

impl Step {
    fn check(&self, index: usize) -> Result<(), BadExecution> {
        if self.run.trim().is_empty() {
            return Err(BadExecution::Incomplete(index, "run"));
        }
        if self.container.trim().is_empty() {
            return Err(BadExecution::Incomplete(index, "container"));
        }
        name::check_image(&self.container)?;
        check_env(&self.env).map_err(|fault| BadExecution::Env(index, Box::new(fault)))?;
        for path in self.files.keys() {
            if path.is_empty() || path.contains('\0') {
                return Err(BadExecution::File(index, path.clone()));
            }
        }
        for (name, output) in &self.outputs {
            if !["", "json", "yaml", "text"].contains(&output.format.as_str()) {
                return Err(BadExecution::Format(index, name.clone(), output.format.clone()));
            }
        }
        for mount in &self.mount {
            let good = |text: &str| !text.is_empty() && !text.contains([',', '\0']);
            if !good(&mount.path) || !good(&mount.mountpoint) || !stays_inside(&mount.path) {
                return Err(BadExecution::Mount(index, mount.path.clone(), mount.mountpoint.clone()));
            }
        }
        Ok(())
    }
}

fn check_env(env: &StepEnv) -> Result<(), BadSpec> {
    let variables = env.0.iter();
    // Each by itself: of several of one name the last one counts, and all are written down.
    for variable in variables {
        let value = variable.value.clone().unwrap_or_default();
        spec::check_env(&BTreeMap::from([(variable.name.clone(), value)]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::JobSpec;
    use crate::batches::Skipped;
    use serde_json::{Value, json};

    fn job(change: impl FnOnce(&mut Value)) -> Value {
        let mut job = json!({"execution": {
            "repository": {"name": "github.com/acme/app"},
            "branch": {"name": "refs/heads/main"},
            "steps": [{"run": "make", "container": "alpine:3"}, {"run": "make more", "container": "gcc", "env": ["NPM_TOKEN", "lower"]}],
        }});
        change(&mut job);
        job
    }

    fn told(change: impl FnOnce(&mut Value)) -> Result<JobSpec, String> {
        let spec: JobSpec = serde_json::from_value(job(change)).map_err(|fault| fault.to_string())?;
        spec.check().map(|()| spec).map_err(|fault| fault.to_string())
    }

    #[test]
    fn an_execution_is_a_job_without_steps_of_its_own() {
        let spec = told(|job| job["execution"]["skippedSteps"] = json!({"0": {}})).unwrap();
        let execution = spec.execution.as_ref().unwrap();
        assert_eq!(execution.steps_to_run().map(|(index, _)| index).collect::<Vec<_>>(), [1]);
        assert_eq!(execution.skipped_steps["0"], Skipped {});
        // What can't be a kept secret is not asked for.
        assert_eq!(spec.asked_secrets().into_iter().collect::<Vec<_>>(), ["NPM_TOKEN"]);
        let brought = told(|job| job["secrets"] = json!({"NPM_TOKEN": "x"})).unwrap();
        assert!(brought.asked_secrets().is_empty());
        assert!(spec.size() > "makemake more".len());
        let again: JobSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(again, spec);
    }

    #[test]
    fn what_was_found_of_an_earlier_execution_is_gone_on_from() {
        let cached = |index: usize| json!({"version": 2, "stepIndex": index, "diff": "YQ=="});
        let found = |result: Value| {
            told(|job| {
                job["execution"]["cachedStepResultFound"] = json!(true);
                job["execution"]["cachedStepResult"] = result;
            })
        };
        let steps = |spec: &JobSpec| {
            spec.execution.as_ref().unwrap().steps_to_run().map(|(index, _)| index).collect::<Vec<_>>()
        };
        assert_eq!(steps(&found(cached(0)).unwrap()), [1]);
        assert!(found(cached(1)).unwrap_err().contains("no step of the execution is left"));
        assert!(found(cached(2)).unwrap_err().contains("of step 2: use the index of a step, from 0 to 1"));
        assert!(found(json!({"version": 2, "diff": "?"})).unwrap_err().contains("not base64"));
        assert!(found(json!({"version": 3})).unwrap_err().contains("version 3"));
        let not_found = told(|job| job["execution"]["cachedStepResult"] = cached(0)).unwrap_err();
        assert!(not_found.contains("cachedStepResultFound is false"), "{not_found}");
        let empty = json!({"changedFiles": {"modified": null, "added": null, "deleted": null, "renamed": null},
            "stdout": "", "stderr": "", "stepIndex": 0, "diff": "", "outputs": null});
        assert!(told(|job| job["execution"]["cachedStepResult"] = empty).is_ok());
    }

    #[test]
    fn each_fault_is_told_with_its_rule() {
        let in_execution =
            |key: &'static str, value: Value| told(|job| job["execution"][key] = value).map(drop);
        let in_step =
            |key: &'static str, value: Value| told(|job| job["execution"]["steps"][1][key] = value).map(drop);
        let in_job = |key: &'static str, value: Value| told(|job| job[key] = value).map(drop);
        let step = json!({"image": "a", "run": "b"});
        for (refused, part) in [
            (in_job("queue", json!("codeintel")), "not of \"codeintel\""),
            (in_job("steps", json!([step])), "either an execution or steps"),
            (in_job("env", json!({"A": "b"})), "either an execution or env"),
            (in_job("storedSecrets", json!(["A"])), "either an execution or storedSecrets"),
            (in_job("artifacts", json!([{"name": "a", "path": "b"}])), "either an execution or artifacts"),
            (in_job("secrets", json!({"A": "b"})), "secret A is wanted by no step"),
            (in_job("repo", json!("other")), "the job's repo is \"other\""),
            (
                told(|job| {
                    job["repo"] = json!("github.com/acme/app");
                    job["rev"] = json!("dev");
                })
                .map(drop),
                "the job's rev is \"dev\"",
            ),
            (in_execution("repository", json!({"name": "../x"})), "repository name"),
            (in_execution("branch", json!({"name": "-x"})), "no branch or commit"),
            (in_execution("branch", json!({"target": {"oid": "a..b"}})), "no branch or commit"),
            (in_execution("path", json!("../x")), "no directory of a repository"),
            (in_execution("path", json!("a/")), "no directory of a repository"),
            (in_execution("path", json!("a\nb")), "no directory of a repository"),
            (in_execution("steps", json!([])), "has no steps"),
            (in_execution("steps", json!(vec![json!({}); 1_003])), "has 1003 steps: at most 1000"),
            (in_step("if", json!([[]])), "true, false or a template"),
            (in_execution("skippedSteps", json!({"2": {}})), "skippedSteps names the step \"2\""),
            (in_execution("skippedSteps", json!({"01": {}})), "from 0 to 1"),
            (in_execution("skippedSteps", json!({"0": {}, "1": {}})), "no step of the execution is left"),
            (in_execution("pathh", json!("a")), "unknown field"),
            (in_step("run", json!(" ")), "step 1 of the execution has no run"),
            (in_step("container", json!("")), "step 1 of the execution has no container"),
            (in_step("container", json!("a b")), "image reference"),
            (in_step("env", json!({"A-B": "c"})), "step 1 of the execution: "),
            (in_step("env", json!({"A": "\0"})), "NUL byte"),
            (in_step("files", json!({"": "x"})), "makes a file \"\""),
            (in_step("outputs", json!({"o": {"value": "x", "format": "toml"}})), "the format \"toml\""),
            (in_step("mount", json!([{"path": "../x", "mountpoint": "/x"}])), "mounts \"../x\""),
            (in_step("mount", json!([{"path": "x,y", "mountpoint": "/x"}])), "hold a comma"),
            (in_step("mount", json!([{"path": "x", "mountpoint": ""}])), "may be empty"),
        ] {
            let refused = refused.expect_err(part);
            assert!(refused.contains(part), "{part}: {refused}");
        }
    }
}
