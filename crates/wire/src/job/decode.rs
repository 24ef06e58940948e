//! Reading a job payload, whichever version it is, whatever was left out, and in whatever letter case
//! its keys are.

use super::{CliStep, DockerAuthConfig, DockerStep, Job, JobFile, PayloadVersion};
use crate::additions::Artifact;
use crate::lenient::{fold_keys, null_as_default};
use crate::{JobId, zero_time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use std::collections::BTreeMap;

/// The keys of [`JobIn`].
const JOB_KEYS: &[&str] = &[
    "version",
    "id",
    "token",
    "queue",
    "repositoryName",
    "repositoryDirectory",
    "commit",
    "fetchTags",
    "shallowClone",
    "sparseCheckout",
    "files",
    "dockerSteps",
    "cliSteps",
    "redactedValues",
    "dockerAuthConfig",
    "artifacts",
];
/// The keys of [`FileIn`].
const FILE_KEYS: &[&str] = &["content", "bucket", "key", "modifiedAt"];
/// The keys of [`DockerStep`] and of [`CliStep`].
const STEP_KEYS: &[&str] = &["key", "image", "commands", "command", "dir", "env"];

/// Spells every key of the protocol as we do; paths, registries and redacted values are not keys of
/// the protocol.
fn fold(job: &mut Value) {
    fold_keys(job, JOB_KEYS);
    let Value::Object(job) = job else { return };
    if let Some(Value::Object(files)) = job.get_mut("files") {
        for file in files.values_mut() {
            fold_keys(file, FILE_KEYS);
        }
    }
    for steps in ["dockerSteps", "cliSteps"] {
        if let Some(Value::Array(steps)) = job.get_mut(steps) {
            for step in steps {
                fold_keys(step, STEP_KEYS);
            }
        }
    }
    if let Some(config) = job.get_mut("dockerAuthConfig") {
        fold_logins(config);
    }
}

/// Spells the keys of a [`DockerAuthConfig`] as we do; registries are none of them.
fn fold_logins(config: &mut Value) {
    fold_keys(config, &["auths"]);
    if let Some(Value::Object(auths)) = config.get_mut("auths") {
        for credentials in auths.values_mut() {
            fold_keys(credentials, &["auth"]);
        }
    }
}

impl DockerAuthConfig {
    /// Reads one that people wrote: keys in any letter case, and `null` for none.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        // First as it is: only such a fault tells its place.
        let asis = serde_json::from_str::<Option<Self>>(text);
        // Not an array, which serde takes for the fields of a structure in their order.
        let value: Option<serde_json::Map<String, Value>> = serde_json::from_str(text)?;
        let mut value = value.map_or(Value::Null, Value::Object);
        fold_logins(&mut value);
        match serde_json::from_value::<Option<Self>>(value) {
            Ok(config) => Ok(config.unwrap_or_default()),
            Err(fault) => Err(asis.err().unwrap_or(fault)),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct JobIn {
    #[serde(deserialize_with = "null_as_default")]
    version: i64,
    id: Option<JobId>,
    #[serde(deserialize_with = "null_as_default")]
    token: String,
    #[serde(deserialize_with = "null_as_default")]
    queue: String,
    #[serde(deserialize_with = "null_as_default")]
    repository_name: String,
    #[serde(deserialize_with = "null_as_default")]
    repository_directory: String,
    #[serde(deserialize_with = "null_as_default")]
    commit: String,
    #[serde(deserialize_with = "null_as_default")]
    fetch_tags: bool,
    #[serde(deserialize_with = "null_as_default")]
    shallow_clone: bool,
    #[serde(deserialize_with = "null_as_default")]
    sparse_checkout: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    files: BTreeMap<String, FileIn>,
    #[serde(deserialize_with = "null_as_default")]
    docker_steps: Vec<DockerStep>,
    #[serde(deserialize_with = "null_as_default")]
    cli_steps: Vec<CliStep>,
    #[serde(deserialize_with = "null_as_default")]
    redacted_values: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    docker_auth_config: DockerAuthConfig,
    #[serde(deserialize_with = "null_as_default")]
    artifacts: Vec<Artifact>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct FileIn {
    #[serde(deserialize_with = "null_as_default")]
    content: String,
    #[serde(deserialize_with = "null_as_default")]
    bucket: String,
    #[serde(deserialize_with = "null_as_default")]
    key: String,
    #[serde(deserialize_with = "zero_time::deserialize")]
    modified_at: Option<Timestamp>,
}

impl FileIn {
    fn decode(self, version: PayloadVersion) -> Result<JobFile, base64::DecodeError> {
        let content = match version {
            PayloadVersion::V1 => self.content.into_bytes(),
            PayloadVersion::V2 => BASE64.decode(&self.content)?,
        };
        let stored = (!self.bucket.is_empty() && !self.key.is_empty()).then_some((self.bucket, self.key));
        Ok(JobFile { content, stored, modified_at: self.modified_at })
    }
}

impl<'de> Deserialize<'de> for Job {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        fold(&mut value);
        let raw = JobIn::deserialize(value).map_err(de::Error::custom)?;
        let version = if raw.version == 2 { PayloadVersion::V2 } else { PayloadVersion::V1 };
        let mut files = BTreeMap::new();
        for (path, file) in raw.files {
            let decoded = file.decode(version).map_err(|fault| {
                de::Error::custom(format!("content of file {path:?} is not base64: {fault}"))
            })?;
            files.insert(path, decoded);
        }
        Ok(Self {
            version,
            id: raw.id.ok_or_else(|| de::Error::missing_field("id"))?,
            token: raw.token,
            queue: (!raw.queue.is_empty()).then_some(raw.queue),
            repository_name: raw.repository_name,
            repository_directory: raw.repository_directory,
            commit: raw.commit,
            fetch_tags: raw.fetch_tags,
            shallow_clone: raw.shallow_clone,
            sparse_checkout: raw.sparse_checkout,
            files,
            docker_steps: raw.docker_steps,
            cli_steps: raw.cli_steps,
            artifacts: raw.artifacts,
            redacted_values: raw.redacted_values,
            docker_auth_config: match version {
                PayloadVersion::V1 => DockerAuthConfig::default(),
                PayloadVersion::V2 => raw.docker_auth_config,
            },
        })
    }
}
