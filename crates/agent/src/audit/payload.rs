//! A job's payload as it may be shown: redacted, and not longer than a line of a log should be.

use crate::text::begin;
use jobs::Redactor;
use serde_json::{Value, json};
use wire::{CliStep, DockerStep, Job, PayloadVersion};

/// Bytes of the whole.
const LONGEST: usize = 64 << 10;

/// JSON of what the job is to do. Of files it tells place and size, of credentials how many there are.
pub(super) fn told(job: &Job, redactor: &Redactor) -> String {
    let step = |step: &DockerStep| json!({"key": step.key, "image": step.image, "dir": step.dir, "env": step.env, "commands": step.commands});
    let src_step =
        |step: &CliStep| json!({"key": step.key, "command": step.command, "dir": step.dir, "env": step.env});
    let file = |(path, file): (&String, &wire::JobFile)| json!({"path": path, "bytes": file.content.len(), "binary": std::str::from_utf8(&file.content).is_err()});
    let mut payload = json!({
        "version": match job.version {
            PayloadVersion::V1 => 1,
            PayloadVersion::V2 => 2,
        },
        "repositoryName": job.repository_name,
        "repositoryDirectory": job.repository_directory,
        "commit": job.commit,
        "fetchTags": job.fetch_tags,
        "shallowClone": job.shallow_clone,
        "sparseCheckout": job.sparse_checkout,
        "files": job.files.iter().map(file).collect::<Vec<_>>(),
        "dockerSteps": job.docker_steps.iter().map(step).collect::<Vec<_>>(),
        "cliSteps": job.cli_steps.iter().map(src_step).collect::<Vec<_>>(),
        "redactions": job.redacted_values.values().collect::<Vec<_>>(),
        "dockerAuths": job.docker_auth_config.auths.len(),
    });
    redact(&mut payload, redactor);
    begin(&payload.to_string(), LONGEST).to_owned()
}

/// Each text by itself: the quoting of JSON must not hide a secret.
fn redact(value: &mut Value, redactor: &Redactor) {
    match value {
        Value::String(text) => *text = redactor.redact(text),
        Value::Array(values) => values.iter_mut().for_each(|value| redact(value, redactor)),
        Value::Object(values) => values.values_mut().for_each(|value| redact(value, redactor)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
