//! Saying which jobs are alive.

use crate::lenient::{MAX_QUEUES, at_most, null_as_default, take_any_case};
use crate::{IdText, JobId};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The constant that single-queue heartbeats carry as `version`.
pub const VERSION: &str = "V2";

/// Running jobs that one list may name.
const MAX_JOBS: usize = 10_000;

/// The running jobs of one queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueJobIds {
    /// The queue.
    pub queue_name: String,
    /// Its running jobs; strings on the wire.
    #[serde(default, deserialize_with = "at_most::<_, _, MAX_JOBS>")]
    pub job_ids: Vec<IdText>,
}

/// Which jobs the heartbeat speaks of. The two shapes differ in keys and in how ids are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Running {
    /// One queue, named in the path: `jobIds` as numbers, `null` when nothing runs.
    Single(Vec<JobId>),
    /// Several queues: `queueNames` and `jobIdsByQueue`, ids as strings, both left out when empty.
    Multi {
        /// Every queue this executor serves.
        queues: Vec<String>,
        /// Running jobs, sorted by queue name.
        by_queue: Vec<QueueJobIds>,
    },
    /// The start-up ping: no job ids at all. Queue names only when there are several.
    Ping {
        /// Empty for a single-queue executor.
        queues: Vec<String>,
    },
}

/// What runs where, in which versions. Empty text means unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Telemetry {
    /// Operating system, such as `linux`.
    #[serde(deserialize_with = "null_as_default")]
    pub os: String,
    /// CPU architecture, such as `amd64`.
    #[serde(deserialize_with = "null_as_default")]
    pub architecture: String,
    /// Version of the Docker server.
    #[serde(deserialize_with = "null_as_default")]
    pub docker_version: String,
    /// Version of the executor.
    #[serde(deserialize_with = "null_as_default")]
    pub executor_version: String,
    /// Version of git.
    #[serde(deserialize_with = "null_as_default")]
    pub git_version: String,
    /// Version of ignite; always empty for ours.
    #[serde(deserialize_with = "null_as_default")]
    pub ignite_version: String,
    /// Version of `src`.
    #[serde(deserialize_with = "null_as_default")]
    pub src_cli_version: String,
}

/// A heartbeat, or the ping that precedes the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatRequest {
    /// The executor that speaks.
    pub executor_name: String,
    /// Its running jobs.
    pub running: Running,
    /// Its surroundings.
    pub telemetry: Telemetry,
    /// Metrics in the text exposition format 0.0.4, or empty.
    pub prometheus_metrics: String,
}

impl Serialize for HeartbeatRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let version = if matches!(self.running, Running::Single(_)) { VERSION } else { "" };
        map.serialize_entry("version", version)?;
        map.serialize_entry("executorName", &self.executor_name)?;
        match &self.running {
            Running::Single(ids) => map.serialize_entry("jobIds", &(!ids.is_empty()).then_some(ids))?,
            Running::Multi { queues, by_queue } => {
                if !queues.is_empty() {
                    map.serialize_entry("queueNames", queues)?;
                }
                if !by_queue.is_empty() {
                    map.serialize_entry("jobIdsByQueue", by_queue)?;
                }
            }
            Running::Ping { queues } if queues.is_empty() => {}
            Running::Ping { queues } => map.serialize_entry("queueNames", queues)?,
        }
        map.serialize_entry("os", &self.telemetry.os)?;
        map.serialize_entry("architecture", &self.telemetry.architecture)?;
        map.serialize_entry("dockerVersion", &self.telemetry.docker_version)?;
        map.serialize_entry("executorVersion", &self.telemetry.executor_version)?;
        map.serialize_entry("gitVersion", &self.telemetry.git_version)?;
        map.serialize_entry("igniteVersion", &self.telemetry.ignite_version)?;
        map.serialize_entry("srcCliVersion", &self.telemetry.src_cli_version)?;
        map.serialize_entry("prometheusMetrics", &self.prometheus_metrics)?;
        map.end()
    }
}

/// A heartbeat as a control plane reads it: every key optional, ids as numbers or strings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Flat")]
pub struct HeartbeatReceived {
    /// `V2`, or empty.
    pub version: String,
    /// The executor that speaks.
    pub executor_name: String,
    /// Running jobs of the queue in the path.
    pub job_ids: Vec<IdText>,
    /// Running jobs by queue.
    pub job_ids_by_queue: Vec<QueueJobIds>,
    /// Every queue the executor serves.
    pub queue_names: Vec<String>,
    /// The executor's surroundings.
    pub telemetry: Telemetry,
    /// Metrics in the text exposition format, or empty.
    pub prometheus_metrics: String,
}

/// The same, key by key: of what is read flattened, also unknown keys are kept until all is read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Flat {
    #[serde(deserialize_with = "null_as_default")]
    version: String,
    #[serde(deserialize_with = "null_as_default")]
    executor_name: String,
    #[serde(deserialize_with = "at_most::<_, _, MAX_JOBS>")]
    job_ids: Vec<IdText>,
    #[serde(deserialize_with = "at_most::<_, _, MAX_QUEUES>")]
    job_ids_by_queue: Vec<QueueJobIds>,
    #[serde(deserialize_with = "at_most::<_, _, MAX_QUEUES>")]
    queue_names: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    os: String,
    #[serde(deserialize_with = "null_as_default")]
    architecture: String,
    #[serde(deserialize_with = "null_as_default")]
    docker_version: String,
    #[serde(deserialize_with = "null_as_default")]
    executor_version: String,
    #[serde(deserialize_with = "null_as_default")]
    git_version: String,
    #[serde(deserialize_with = "null_as_default")]
    ignite_version: String,
    #[serde(deserialize_with = "null_as_default")]
    src_cli_version: String,
    #[serde(deserialize_with = "null_as_default")]
    prometheus_metrics: String,
}

impl From<Flat> for HeartbeatReceived {
    fn from(flat: Flat) -> Self {
        let telemetry = Telemetry {
            os: flat.os,
            architecture: flat.architecture,
            docker_version: flat.docker_version,
            executor_version: flat.executor_version,
            git_version: flat.git_version,
            ignite_version: flat.ignite_version,
            src_cli_version: flat.src_cli_version,
        };
        Self {
            version: flat.version,
            executor_name: flat.executor_name,
            job_ids: flat.job_ids,
            job_ids_by_queue: flat.job_ids_by_queue,
            queue_names: flat.queue_names,
            telemetry,
            prometheus_metrics: flat.prometheus_metrics,
        }
    }
}

/// The answer to a heartbeat.
///
/// We always send both lists; a peer may send `null`, leave one out, write ids as numbers, or spell
/// the keys in another letter case (`knownIDs`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatResponse {
    /// Jobs that still belong to this executor.
    pub known_ids: Vec<IdText>,
    /// Jobs to stop; they are in `known_ids` as well.
    pub cancel_ids: Vec<IdText>,
}

impl<'de> Deserialize<'de> for HeartbeatResponse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = serde_json::Map::deserialize(deserializer)?;
        let mut ids = |key| -> Result<Vec<IdText>, D::Error> {
            let list: Option<_> =
                serde_json::from_value(take_any_case(&mut object, key)).map_err(de::Error::custom)?;
            Ok(list.unwrap_or_default())
        };
        Ok(Self { known_ids: ids("knownIds")?, cancel_ids: ids("cancelIds")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOO_MANY: &str = "a list has 10001 items: at most 10000 are allowed";

    #[test]
    fn a_heartbeat_names_no_more_jobs_than_an_executor_can_have() {
        for (sent, is_read) in [(0, true), (10_000, true), (10_001, false)] {
            let ids =
                serde_json::json!({"executorName": "e", "jobIds": vec![1; sent], "os": null, "more": [1]});
            let read =
                serde_json::from_value::<HeartbeatReceived>(ids).map(|heartbeat| heartbeat.job_ids.len());
            match read {
                Ok(read) => assert_eq!((read, is_read), (sent, true)),
                Err(refused) => assert!(!is_read && refused.to_string().contains(TOO_MANY), "{refused}"),
            }
        }
        let none = r#"{"jobIds":null,"queueNames":null,"os":"linux"}"#;
        assert_eq!(serde_json::from_str::<HeartbeatReceived>(none).unwrap().telemetry.os, "linux");
    }

    #[test]
    fn answers_are_read_whatever_the_case_and_whatever_is_missing() {
        let expect =
            HeartbeatResponse { known_ids: vec![IdText("1".into()), IdText("2".into())], cancel_ids: vec![] };
        for text in [
            r#"{"knownIds":["1","2"],"cancelIds":[]}"#,
            r#"{"knownIDs":[1,2],"cancelIDs":null}"#,
            r#"{"KNOWNIDS":[1,"2"]}"#,
            r#"{"knownIds":[1,"2"],"unknown":{}}"#,
        ] {
            assert_eq!(serde_json::from_str::<HeartbeatResponse>(text).unwrap(), expect, "{text}");
        }
        assert!(serde_json::from_str::<HeartbeatResponse>(r#"{"knownIds":[{}]}"#).is_err());
    }
}
