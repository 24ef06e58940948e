//! From a claimed job to the payload that an executor runs.

use super::files;
use jobs::{FileSpec, JobId, JobSpec, StepSpec};
use std::collections::BTreeMap;
use store::Claimed;
use wire::paths::FILES_BUCKET;
use wire::{DockerStep, Job, JobFile, PayloadVersion};

/// Builds the payload. `queue` is told in answers to multi-queue dequeues only.
pub(super) fn build(claimed: Claimed, version: PayloadVersion, queue: Option<String>) -> Job {
    let Claimed { job, spec, secrets, token } = claimed;
    let steps = spec.steps.iter().enumerate();
    Job {
        version,
        id: job.id,
        token,
        queue,
        repository_name: spec.repo.clone().unwrap_or_default(),
        // The workspace itself, so that a step begins in the checkout.
        repository_directory: String::new(),
        commit: job.commit,
        shallow_clone: true,
        files: spec.files.iter().map(|file| (file.path.clone(), job_file(job.id, file))).collect(),
        docker_steps: steps.map(|(index, step)| docker_step(&spec, index, step, &secrets)).collect(),
        redacted_values: secrets.iter().map(|(name, value)| (value.clone(), placeholder(name))).collect(),
        ..Job::default()
    }
}

fn job_file(job: JobId, file: &FileSpec) -> JobFile {
    let content = file.content.clone().unwrap_or_default().into_bytes();
    let stored = file.upload.as_ref().map(|id| (FILES_BUCKET.to_owned(), files::key(job, id)));
    JobFile { content, stored, modified_at: file.modified_at }
}

fn docker_step(
    spec: &JobSpec,
    index: usize,
    step: &StepSpec,
    secrets: &BTreeMap<String, String>,
) -> DockerStep {
    DockerStep {
        key: step.key(index),
        image: step.image.clone(),
        commands: lines(&step.run),
        dir: step.dir.clone(),
        env: environment(&spec.env, &step.env, secrets),
    }
}

/// The script as the protocol wants it. Executors join the lines again, so that a command of several
/// lines stays one.
fn lines(script: &str) -> Vec<String> {
    script.strip_suffix('\n').unwrap_or(script).split('\n').map(str::to_owned).collect()
}

/// The job's variables, then the step's, which win over them, and the secrets.
fn environment(
    job: &BTreeMap<String, String>,
    step: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, String>,
) -> Vec<String> {
    let merged: BTreeMap<_, _> = job.iter().chain(step).chain(secrets).collect();
    merged.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// What a log shows in place of a secret.
fn placeholder(name: &str) -> String {
    format!("${{{{ secrets.{name} }}}}")
}
