//! Writing a job payload.

use super::{Job, JobFile, PayloadVersion};
use crate::zero_time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::collections::BTreeMap;

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
        if !self.artifacts.is_empty() {
            out.serialize_field("artifacts", &self.artifacts)?;
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
