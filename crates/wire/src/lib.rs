//! The executor protocol as types: every path, header, request and response that an agent and a
//! control plane exchange under `/.executors`, in both payload versions, and our negotiated
//! additions to it.
//!
//! Invariant: nothing here does I/O, reads a clock or knows a runtime. The golden files under
//! `tests/golden` pin the bytes.

pub mod additions;
pub mod dequeue;
pub mod headers;
pub mod heartbeat;
pub mod id;
pub mod job;
pub mod log;
pub mod mark;
pub mod paths;
pub mod upload;

mod bounded;
mod lenient;
mod zero_time;

pub use bounded::Bounded;
pub use dequeue::DequeueRequest;
pub use heartbeat::{HeartbeatRequest, HeartbeatResponse, QueueJobIds};
pub use id::{IdText, JobId};
pub use job::{CliStep, DockerAuthConfig, DockerStep, Job, JobFile, PayloadVersion, RegistryAuth};
pub use log::{LogEntry, LogEntryUpdate};
pub use mark::{Mark, MarkWithError};
pub use upload::{SrcCliVersion, UploadAccepted};

/// The body of every error answer of the executor API: `{"error":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ErrorBody {
    /// What went wrong, for people; peers only log it.
    pub error: String,
}
