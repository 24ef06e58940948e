//! The job payload that answers a dequeue, in both of its versions.

use crate::lenient::null_as_default;
use crate::{JobId, zero_time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeStruct};
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

impl Default for JobId {
    fn default() -> Self {
        Self(0)
    }
}

/// An empty list is written `null`, as stock peers write a list that was never set.
fn or_null<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

impl Serialize for Job {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let v2 = self.version == PayloadVersion::V2;
        let files: BTreeMap<_, _> =
            self.files.iter().map(|(path, file)| (path, FileOut { file, base64: v2 })).collect();
        let redacted = (!self.redacted_values.is_empty()).then_some(&self.redacted_values);

        let mut out = serializer.serialize_struct("Job", 15)?;
        if v2 {
            out.serialize_field("version", &2)?;
        }
        out.serialize_field("id", &self.id)?;
        out.serialize_field("token", &self.token)?;
        if let Some(queue) = &self.queue {
            out.serialize_field("queue", queue)?;
        }
        out.serialize_field("repositoryName", &self.repository_name)?;
        out.serialize_field("repositoryDirectory", &self.repository_directory)?;
        out.serialize_field("commit", &self.commit)?;
        out.serialize_field("fetchTags", &self.fetch_tags)?;
        out.serialize_field("shallowClone", &self.shallow_clone)?;
        out.serialize_field("sparseCheckout", &or_null(&self.sparse_checkout))?;
        out.serialize_field("files", &files)?;
        out.serialize_field("dockerSteps", &or_null(&self.docker_steps))?;
        out.serialize_field("cliSteps", &or_null(&self.cli_steps))?;
        out.serialize_field("redactedValues", &redacted)?;
        if v2 {
            out.serialize_field("dockerAuthConfig", &self.docker_auth_config)?;
        }
        out.end()
    }
}

struct FileOut<'a> {
    file: &'a JobFile,
    base64: bool,
}

impl Serialize for FileOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape<'a> {
            #[serde(skip_serializing_if = "String::is_empty")]
            content: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            bucket: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            key: Option<&'a str>,
            #[serde(with = "zero_time")]
            modified_at: Option<Timestamp>,
        }
        let JobFile { content, stored, modified_at } = self.file;
        let content = match (stored, self.base64) {
            (Some(_), _) => String::new(),
            (None, true) => BASE64.encode(content),
            (None, false) => String::from_utf8_lossy(content).into_owned(),
        };
        let (bucket, key) = stored.as_ref().map(|(b, k)| (b.as_str(), k.as_str())).unzip();
        Shape { content, bucket, key, modified_at: *modified_at }.serialize(serializer)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
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
        let raw = JobIn::deserialize(deserializer)?;
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
            redacted_values: raw.redacted_values,
            docker_auth_config: match version {
                PayloadVersion::V1 => DockerAuthConfig::default(),
                PayloadVersion::V2 => raw.docker_auth_config,
            },
        })
    }
}
