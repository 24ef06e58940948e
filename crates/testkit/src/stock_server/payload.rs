//! Job payloads as a stock instance writes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

/// The time that was never set, as Go writes it.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// A job to be handed out.
#[derive(Debug, Clone)]
pub struct StockJob {
    /// Its queue.
    pub queue: String,
    /// Its id.
    pub id: i64,
    /// The token that its payload carries.
    pub token: String,
    fields: Map<String, Value>,
    files: Vec<(String, Vec<u8>, String)>,
    version: u8,
    /// What is sent, whatever else is said here.
    raw: Option<String>,
}

impl StockJob {
    /// A job without steps, in version 2.
    pub fn new(queue: &str, id: i64) -> Self {
        let always = json!({
            "repositoryName": "", "repositoryDirectory": "", "commit": "", "fetchTags": false,
            "shallowClone": false, "sparseCheckout": null, "files": {}, "dockerSteps": null,
            "cliSteps": null, "redactedValues": null,
        });
        let Value::Object(fields) = always else { unreachable!("it is an object") };
        let token = format!("{:040x}", 0x00c0_ffee_0000_i64 + id);
        Self { queue: queue.to_owned(), id, token, fields, files: Vec::new(), version: 2, raw: None }
    }

    /// In version 1, which older instances write.
    #[must_use]
    pub fn version_1(mut self) -> Self {
        self.version = 1;
        self
    }

    /// With another value.
    #[must_use]
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.fields.insert(key.to_owned(), value);
        self
    }

    /// With another step that runs in the image `busybox`. An empty key is left out, as it is there.
    #[must_use]
    pub fn step(self, key: &str, commands: &[&str]) -> Self {
        self.step_with(key, commands, &json!({}))
    }

    /// The same, with other values.
    #[must_use]
    pub fn step_with(mut self, key: &str, commands: &[&str], other: &Value) -> Self {
        let mut step = json!({"image": "busybox", "commands": commands, "dir": "", "env": null});
        if !key.is_empty() {
            step["key"] = json!(key);
        }
        for (key, value) in other.as_object().into_iter().flatten() {
            step[key.as_str()] = value.clone();
        }
        match self.fields.get_mut("dockerSteps") {
            Some(Value::Array(steps)) => steps.push(step),
            _ => self = self.set("dockerSteps", json!([step])),
        }
        self
    }

    /// With another file whose content is in the payload.
    #[must_use]
    pub fn file(self, path: &str, content: &[u8]) -> Self {
        self.file_of(path, content, ZERO_TIME)
    }

    /// The same, with its time of modification in RFC 3339.
    #[must_use]
    pub fn file_of(mut self, path: &str, content: &[u8], modified_at: &str) -> Self {
        self.files.push((path.to_owned(), content.to_vec(), modified_at.to_owned()));
        self
    }

    /// With another file that is to be downloaded.
    #[must_use]
    pub fn stored_file(mut self, path: &str, bucket: &str, key: &str, modified_at: &str) -> Self {
        self.fields["files"][path] = json!({"bucket": bucket, "key": key, "modifiedAt": modified_at});
        self
    }

    /// Written exactly thus.
    #[must_use]
    pub fn raw(mut self, text: &str) -> Self {
        self.raw = Some(text.to_owned());
        self
    }

    /// With this token.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.token);
        self
    }

    pub(super) fn repository(&self) -> String {
        self.fields["repositoryName"].as_str().unwrap_or_default().to_owned()
    }

    /// The payload. It names its queue where several were asked for.
    pub(super) fn text(&self, name_queue: bool) -> String {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut job = self.fields.clone();
        job.insert("id".to_owned(), json!(self.id));
        job.insert("token".to_owned(), json!(self.token));
        if name_queue {
            job.insert("queue".to_owned(), json!(self.queue));
        }
        if self.version == 2 {
            job.insert("version".to_owned(), json!(2));
            job.entry("dockerAuthConfig").or_insert_with(|| json!({}));
        }
        for (path, content, modified_at) in &self.files {
            let content = match self.version {
                2 => BASE64.encode(content),
                _ => String::from_utf8_lossy(content).into_owned(),
            };
            job["files"][path] = json!({"content": content, "modifiedAt": modified_at});
        }
        Value::Object(job).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_have_the_keys_they_always_have() {
        let job = StockJob::new("batches", 42).step("", &["true"]).file("a", b"A");
        let keys = |text: &str| -> Vec<String> {
            let value: Value = serde_json::from_str(text).unwrap();
            value.as_object().unwrap().keys().cloned().collect()
        };
        let first = job.clone().version_1().text(false);
        let always = [
            "cliSteps",
            "commit",
            "dockerSteps",
            "fetchTags",
            "files",
            "id",
            "redactedValues",
            "repositoryDirectory",
            "repositoryName",
            "shallowClone",
            "sparseCheckout",
            "token",
        ];
        assert_eq!(keys(&first), always);
        let second = job.text(true);
        assert!(first.contains("\"content\":\"A\"") && second.contains("\"content\":\"QQ==\""));
        let more: Vec<String> =
            keys(&second).into_iter().filter(|key| !always.contains(&key.as_str())).collect();
        assert_eq!(more, ["dockerAuthConfig", "queue", "version"]);
    }
}
