//! How a job ended.

use crate::JobId;
use crate::additions::EndDetail;
use crate::lenient::null_as_default;
use serde::{Deserialize, Serialize};

/// The job succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The executor that ran the job.
    #[serde(default, deserialize_with = "null_as_default")]
    pub executor_name: String,
    /// The job.
    pub job_id: JobId,
}

/// The job did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MarkWithError {
    /// The executor that ran the job.
    #[serde(default, deserialize_with = "null_as_default")]
    pub executor_name: String,
    /// The job.
    pub job_id: JobId,
    /// What went wrong, for people.
    #[serde(default, deserialize_with = "null_as_default")]
    pub error_message: String,
    /// What went wrong, for programs: an addition of ours that other peers ignore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<EndDetail>,
}
