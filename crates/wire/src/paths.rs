//! Paths of the executor API, below the base URL of the control plane.

/// Answers 200 when the shared secret is right.
pub const TEST_AUTH: &str = "/.executors/test/auth";
/// Takes a job from any of several queues.
pub const MULTI_DEQUEUE: &str = "/.executors/queue/dequeue";
/// Says which jobs of several queues are alive.
pub const MULTI_HEARTBEAT: &str = "/.executors/queue/heartbeat";
/// Prefix of the git smart HTTP endpoints.
pub const GIT: &str = "/.executors/git";
/// Prefix of workspace files.
pub const FILES: &str = "/.executors/files";
/// The bucket of workspace files.
pub const FILES_BUCKET: &str = "batch-changes";
/// Takes an index that a job made (POST, with the shared secret), as [`crate::upload`] tells; the path
/// that jobs are given.
pub const LSIF_UPLOAD: &str = "/.executors/lsif/upload";
/// The same by its newer name. A HEAD asks whether indexes in the newer format are taken: 200 and
/// nothing else.
pub const SCIP_UPLOAD: &str = "/.executors/scip/upload";
/// Where older programs ask the same, by a HEAD: a path of the instance's, and not of executors.
pub const SCIP_PROBE: &str = "/.api/scip/upload";
/// Tells which `src` goes with the control plane: [`crate::SrcCliVersion`]. Stock ones answer it; no control
/// plane of ours does yet.
pub const SRC_CLI_VERSION: &str = "/.api/src-cli/version";

/// The queue names the protocol knows.
pub const QUEUES: [&str; 2] = ["batches", "codeintel"];

/// A call on one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueCall {
    /// Takes a job.
    Dequeue,
    /// Says which jobs are alive.
    Heartbeat,
    /// Opens a log entry.
    AddLogEntry,
    /// Replaces a log entry.
    UpdateLogEntry,
    /// Adds bytes at an offset of a log entry (an addition of ours).
    AppendLog,
    /// The job succeeded.
    MarkComplete,
    /// The job failed in a way that may be tried again.
    MarkErrored,
    /// The job failed for good.
    MarkFailed,
}

impl QueueCall {
    /// The last segment of the call's path.
    pub const fn segment(self) -> &'static str {
        match self {
            Self::Dequeue => "dequeue",
            Self::Heartbeat => "heartbeat",
            Self::AddLogEntry => "addExecutionLogEntry",
            Self::UpdateLogEntry => "updateExecutionLogEntry",
            Self::AppendLog => "appendExecutionLog",
            Self::MarkComplete => "markComplete",
            Self::MarkErrored => "markErrored",
            Self::MarkFailed => "markFailed",
        }
    }

    /// The call's path on `queue`.
    pub fn path(self, queue: &str) -> String {
        format!("/.executors/queue/{queue}/{}", self.segment())
    }
}
