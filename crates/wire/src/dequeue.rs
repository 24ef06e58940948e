//! Asking for a job.

use crate::lenient::{MAX_QUEUES, at_most, null_as_default};
use serde::{Deserialize, Serialize};

/// What an executor says of itself when it asks for a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DequeueRequest {
    /// Candidate queues; empty, and then left out, when the queue is in the path.
    #[serde(
        default,
        deserialize_with = "at_most::<_, _, MAX_QUEUES>",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub queues: Vec<String>,
    /// Becomes the owner of the job.
    #[serde(default, deserialize_with = "null_as_default")]
    pub executor_name: String,
    /// The executor's version, which decides the payload version.
    #[serde(default, deserialize_with = "null_as_default")]
    pub version: String,
    /// CPUs a job gets; 0 is left out.
    #[serde(
        rename = "numCPUs",
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "is_zero"
    )]
    pub num_cpus: i64,
    /// Memory a job gets, such as `12G`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub memory: String,
    /// Disk a job gets, such as `20G`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub disk_space: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}
