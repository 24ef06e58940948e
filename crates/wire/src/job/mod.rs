//! The job payload that answers a dequeue, in both of its versions.

mod decode;
mod encode;

use crate::JobId;
use crate::additions::Artifact;
use crate::lenient::null_as_default;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How a payload is written. Executors from 4.3.0 on read version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PayloadVersion {
    /// No `version` key; file contents as plain text; no registry credentials.
    V1,
    /// `"version": 2`; file contents in base64; `dockerAuthConfig` present.
    #[default]
    V2,
}

/// Everything an executor needs to run one job.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// How it is written.
    pub version: PayloadVersion,
    /// The job's id.
    pub id: JobId,
    /// The job token.
    pub token: String,
    /// The job's queue, in answers to multi-queue dequeues only.
    pub queue: Option<String>,
    /// What to clone; empty means nothing.
    pub repository_name: String,
    /// Where to clone it, below the workspace; empty means the workspace itself.
    pub repository_directory: String,
    /// The commit to check out.
    pub commit: String,
    /// Fetch tags as well.
    pub fetch_tags: bool,
    /// Fetch only the commit itself.
    pub shallow_clone: bool,
    /// Patterns of a sparse checkout; empty means all files.
    pub sparse_checkout: Vec<String>,
    /// Files to write before the first step, by path below the workspace.
    pub files: BTreeMap<String, JobFile>,
    /// Steps that run in containers, in order.
    pub docker_steps: Vec<DockerStep>,
    /// Steps that run `src`, after the others.
    pub cli_steps: Vec<CliStep>,
    /// What it is to leave: an addition of ours, for executors of ours.
    pub artifacts: Vec<Artifact>,
    /// Secret text and what to write in its place.
    pub redacted_values: BTreeMap<String, String>,
    /// Registry credentials of this job.
    pub docker_auth_config: DockerAuthConfig,
}

/// The token, the redacted values, file contents and credentials stay out of `Debug`.
impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("id", &self.id)
            .field("queue", &self.queue)
            .field("repository_name", &self.repository_name)
            .field("commit", &self.commit)
            .field("docker_steps", &self.docker_steps.len())
            .field("cli_steps", &self.cli_steps.len())
            .finish_non_exhaustive()
    }
}

/// A file to write into the workspace.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct JobFile {
    /// The bytes, unless `stored` says where they are.
    pub content: Vec<u8>,
    /// Bucket and key in the files API; wins over `content`.
    pub stored: Option<(String, String)>,
    /// Access and modification time to set.
    pub modified_at: Option<Timestamp>,
}

/// The content may be secret, so `Debug` tells only its length.
impl fmt::Debug for JobFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobFile")
            .field("content_bytes", &self.content.len())
            .field("stored", &self.stored)
            .field("modified_at", &self.modified_at)
            .finish()
    }
}

/// A step that runs in a container.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DockerStep {
    /// A stable name; the step's index stands in for an empty one.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub key: String,
    /// The container image.
    #[serde(deserialize_with = "null_as_default")]
    pub image: String,
    /// Lines of a shell script.
    #[serde(deserialize_with = "null_as_default")]
    pub commands: Vec<String>,
    /// Working directory below the workspace.
    #[serde(deserialize_with = "null_as_default")]
    pub dir: String,
    /// `NAME=value` pairs.
    #[serde(deserialize_with = "null_as_default")]
    pub env: Vec<String>,
}

/// Environment values stay out of `Debug`.
impl fmt::Debug for DockerStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerStep")
            .field("key", &self.key)
            .field("image", &self.image)
            .finish_non_exhaustive()
    }
}

/// A step that runs `src`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CliStep {
    /// A stable name; the step's index stands in for an empty one.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub key: String,
    /// Arguments of `src`. The protocol's key is singular.
    #[serde(deserialize_with = "null_as_default")]
    pub command: Vec<String>,
    /// Working directory below the workspace.
    #[serde(deserialize_with = "null_as_default")]
    pub dir: String,
    /// `NAME=value` pairs.
    #[serde(deserialize_with = "null_as_default")]
    pub env: Vec<String>,
}

/// The part of a Docker configuration that travels: credentials by registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DockerAuthConfig {
    /// Credentials by registry host.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub auths: BTreeMap<String, RegistryAuth>,
}

/// Credentials for one registry: base64 of `user:password`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistryAuth {
    /// Base64 of `user:password`.
    #[serde(deserialize_with = "null_as_default")]
    pub auth: String,
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistryAuth(…)")
    }
}

impl RegistryAuth {
    /// User and password; `None` when the text is not base64 of something with a colon.
    pub fn decode(&self) -> Option<(String, String)> {
        let text = String::from_utf8(BASE64.decode(self.auth.trim()).ok()?).ok()?;
        text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    }
}
