//! Many jobs submitted with one call.

use jobs::JobSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Jobs that one call submits at most.
pub const MOST_JOBS: usize = 1_000;

/// `POST /api/v1/jobs/batch` submits these: all of them, or none.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubmitJobs {
    /// The jobs, 1,000 at most.
    #[schemars(length(min = 1, max = 1000))]
    pub jobs: Vec<SubmitJob>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubmitJob {
    /// What is to be run.
    pub job: JobSpec,
    /// Makes it a submission that may be made again: the same job comes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubmittedJobs {
    /// The jobs' ids, in the order in which they were submitted.
    pub ids: Vec<i64>,
}

/// Why one of several jobs can't be submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobFault {
    /// Its place among those that were sent, from 0.
    pub index: usize,
    /// The code that it would have been refused with alone.
    pub code: String,
    /// What, which value, which rule, what to do.
    pub detail: String,
}
