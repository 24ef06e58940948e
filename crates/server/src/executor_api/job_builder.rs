//! From a claimed job to the payload that an executor runs.

use super::execution::{self, Form};
use super::files;
use super::index_job::{Surroundings, Target};
use super::kept::Kept;
use jobs::redact::spelled_out;
use jobs::secrets::DOCKER_AUTH_CONFIG;
use jobs::{ArtifactSpec, FileSpec, IndexSpec, JobId, JobSpec, StepSpec};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use store::Claimed;
use wire::additions::Artifact;
use wire::paths::FILES_BUCKET;
use wire::{DockerAuthConfig, DockerStep, Job, JobFile, PayloadVersion};

/// Whom a payload is for.
pub(super) struct Reader {
    pub(super) version: PayloadVersion,
    /// Told in answers to multi-queue dequeues only.
    pub(super) queue: Option<String>,
    /// Whether it is one of ours: it finds the forms of a secret by itself, and keeps artifacts.
    pub(super) is_ours: bool,
    /// How executions of batch changes are written for it.
    pub(super) executions: Form,
}

/// Builds the payload.
pub(super) fn build(claimed: Claimed, kept: Kept, index: Option<Surroundings>, reader: Reader) -> Job {
    let Claimed { job, spec, secrets, token } = claimed;
    let steps = spec.steps.iter().enumerate();
    let env = Environment { spec: &spec, secrets: &secrets, kept: &kept.values };
    let index = spec.index.as_ref().zip(index);
    let repository = spec.repo.as_deref().unwrap_or_default();
    let target = Target { repository, commit: &job.commit, job: job.id.0 };
    let of_index =
        index.iter().flat_map(|(index, around)| around.steps(index, &target, &env.of_index(index)));
    let docker_steps = steps.map(|(number, step)| docker_step(number, step, &env)).chain(of_index).collect();
    let mut redacted_values = redacted(&secrets, &kept, reader.is_ours);
    redacted_values.extend(index.iter().flat_map(|(_, around)| around.redacted(reader.is_ours)));
    let mut payload = Job {
        version: reader.version,
        id: job.id,
        token,
        repository_name: spec.repo.clone().unwrap_or_default(),
        // The workspace itself, so that a step begins in the checkout.
        repository_directory: String::new(),
        commit: job.commit,
        fetch_tags: index.is_some_and(|(index, around)| around.fetches_tags(index)),
        shallow_clone: true,
        files: spec.files.iter().map(|file| (file.path.clone(), job_file(job.id, file))).collect(),
        docker_steps,
        artifacts: artifacts(&spec, reader.is_ours),
        redacted_values,
        docker_auth_config: kept.docker_auth,
        queue: reader.queue,
        ..Job::default()
    };
    if let Some(input) = &spec.execution {
        execution::add(&mut payload, input, &env.of_execution(), &reader.executions);
    }
    payload
}

/// What it is to leave. Others would pass it over.
fn artifacts(spec: &JobSpec, is_ours: bool) -> Vec<Artifact> {
    let artifacts = spec.artifacts.iter().filter(|_| is_ours);
    let artifact = |spec: &ArtifactSpec| Artifact {
        name: spec.name.clone(),
        path: spec.path.clone(),
        optional: spec.optional,
    };
    artifacts.map(artifact).collect()
}

fn job_file(job: JobId, file: &FileSpec) -> JobFile {
    let content = file.content.clone().unwrap_or_default().into_bytes();
    let stored = file.upload.as_ref().map(|id| (FILES_BUCKET.to_owned(), files::key(job, id)));
    JobFile { content, stored, modified_at: file.modified_at }
}

fn docker_step(index: usize, step: &StepSpec, env: &Environment<'_>) -> DockerStep {
    DockerStep {
        key: step.key(index),
        image: step.image.clone(),
        commands: lines(&step.run),
        dir: step.dir.clone(),
        env: env.of(step),
    }
}

/// The script as the protocol wants it. Executors join the lines again, so that a command of several
/// lines stays one.
fn lines(script: &str) -> Vec<String> {
    script.strip_suffix('\n').unwrap_or(script).split('\n').map(str::to_owned).collect()
}

/// Where the variables of steps come from.
struct Environment<'a> {
    spec: &'a JobSpec,
    secrets: &'a BTreeMap<String, SecretString>,
    kept: &'a BTreeMap<String, SecretString>,
}

impl Environment<'_> {
    /// What the steps of an execution want from outside.
    fn of_execution(&self) -> Vec<String> {
        execution::environment(
            self.kept.iter().chain(self.secrets).map(|(name, value)| (name, value.expose_secret())),
        )
    }

    /// The job's variables, then the step's, which win over them, the job's secrets, and what job and step ask for of
    /// those that are kept.
    fn of(&self, step: &StepSpec) -> Vec<String> {
        let plain = self.spec.env.iter().chain(&step.env).map(|(name, value)| (name, value.as_str()));
        let asked = self.spec.stored_secrets.iter().chain(&step.stored_secrets);
        let kept = asked.filter_map(|key| self.kept.get_key_value(key));
        let secret = self.secrets.iter().chain(kept).map(|(name, value)| (name, value.expose_secret()));
        let merged: BTreeMap<_, _> = plain.chain(secret).collect();
        merged.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// What an index asks for of those that are kept.
    fn of_index(&self, index: &IndexSpec) -> Vec<String> {
        let asked = index.requested_env_vars.iter().filter_map(|key| self.kept.get_key_value(key));
        asked.map(|(name, value)| format!("{name}={}", value.expose_secret())).collect()
    }
}

/// What no log may show, and what is shown in its place.
fn redacted(
    secrets: &BTreeMap<String, SecretString>,
    kept: &Kept,
    knows_forms: bool,
) -> BTreeMap<String, String> {
    let of_steps = secrets.iter().chain(&kept.values);
    let of_steps = of_steps.map(|(name, value)| (name.as_str(), value.expose_secret().to_owned()));
    let logins = logins(&kept.docker_auth).map(|text| (DOCKER_AUTH_CONFIG, text));
    let mut redacted = BTreeMap::new();
    for (name, value) in of_steps.chain(logins) {
        let forms = if knows_forms { [value].into() } else { spelled_out(&value) };
        redacted.extend(forms.into_iter().map(|form| (form, placeholder(name))));
    }
    redacted
}

/// The passwords, and the texts in which they are written.
fn logins(auth: &DockerAuthConfig) -> impl Iterator<Item = String> {
    let of_login = |auth: &wire::RegistryAuth| {
        let password =
            auth.decode().map(|(_, password)| password.trim_end_matches(['\r', '\n', '\0']).to_owned());
        [Some(auth.auth.trim().to_owned()), password].into_iter().flatten().filter(|text| !text.is_empty())
    };
    auth.auths.values().flat_map(of_login)
}

/// What a log shows in place of a secret.
fn placeholder(name: &str) -> String {
    format!("${{{{ secrets.{name} }}}}")
}
