//! What a process counted that ran a job, for the agent to add to its own.

use super::operation::OperationCounts;
use exposition::{Counted, Took};
use serde::{Deserialize, Serialize};

/// All of it. The two processes may be of different releases: what one does not know is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    pub(super) commands: OperationCounts,
    pub(super) queue_calls: OperationCounts,
    pub(super) file_calls: OperationCounts,
    pub(super) images: Counted<Took>,
    pub(super) image_failures: Counted<u64>,
    pub(super) log_delivered: u64,
}
