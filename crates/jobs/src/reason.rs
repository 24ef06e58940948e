//! Why a job ended: a closed set, each with the evidence that shows it.

mod canceler;
mod travel;
mod words;

pub use canceler::{CanceledBy, Canceler};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Whose fault an end is: decides the client's exit code and who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// Nobody's: it succeeded, or somebody stopped it.
    Nobody,
    /// The job's own.
    Job,
    /// The machinery's.
    System,
}

/// How an executor tells a job's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalCall {
    /// `markComplete`
    Complete,
    /// `markErrored`: it may be tried again.
    Errored,
    /// `markFailed`: for good.
    Failed,
}

impl FinalCall {
    /// The call's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "markComplete",
            Self::Errored => "markErrored",
            Self::Failed => "markFailed",
        }
    }
}

/// Why a job ended. `name()` is what is stored and shown; [`EndReason::detail`] travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// Every step ended with 0.
    Succeeded,
    /// A step ended with another code.
    ExitCode {
        /// The step's key.
        step: String,
        /// Its exit code.
        code: i32,
    },
    /// A step was killed by a signal that none of our own limits sent.
    Signal {
        /// The step's key.
        step: String,
        /// The signal's number.
        signal: i32,
    },
    /// The job needed more memory than its limit.
    OutOfMemory {
        /// The key of the step that did; empty when the clone of the job's repository did.
        step: String,
        /// The limit, in bytes.
        limit: u64,
        /// The most it used, in bytes.
        peak: u64,
    },
    /// The job's disk has no room left.
    DiskFull {
        /// The key of the step that filled it; empty when the job's files and repository did.
        step: String,
        /// The disk's size, in bytes.
        limit: u64,
    },
    /// The job's disk holds as many files as it can.
    InodesFull {
        /// The key of the step that made them; empty when the job's files and repository did.
        step: String,
        /// How many there can be.
        limit: u64,
        /// How many there were.
        used: u64,
    },
    /// The disk of the executor's host has no room for what a job may use.
    HostDiskFull {
        /// What lies on that disk: a directory of the executor.
        path: String,
        /// What is left there, in bytes.
        free: u64,
    },
    /// The disk of the executor's host holds as many files as it can.
    HostInodesFull {
        /// What lies on that disk: a directory of the executor.
        path: String,
        /// How many there can be.
        limit: u64,
        /// How many there were.
        used: u64,
    },
    /// The job ran longer than it may.
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// Somebody asked for it to stop.
    Canceled(Canceler),
    /// An image does not exist, may not be had, or can't be used.
    Image {
        /// The kind of fault; empty where it was not told.
        class: String,
    },
    /// An image could not be had for now: its registry can't be reached, is out of order or wants us
    /// to wait, or there is no room for it.
    ImageUnavailable {
        /// The kind of fault; empty where it was not told.
        class: String,
    },
    /// The repository could not be cloned or the commit not be checked out.
    Checkout,
    /// The job left no file that it declared.
    ArtifactMissing {
        /// The artifact's name.
        artifact: String,
    },
    /// A file that the job left could not be kept.
    ArtifactNotKept {
        /// The artifact's name.
        artifact: String,
    },
    /// The job asks for something that can't be done, such as a path outside of its workspace.
    BadJob,
    /// Nobody runs it any more.
    ExecutorLost {
        /// The lease for which its executor was silent; `None` where that one said itself that it has lost the job.
        lease: Option<Duration>,
    },
    /// The executor was stopped while the job ran.
    ExecutorStopped,
    /// The sandbox could not be made or broke.
    Sandbox,
    /// An executor that tells no reason, such as a stock one, said it failed.
    Unspecified,
}

impl EndReason {
    /// The reason's name: lower case with underscores, stable.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::ExitCode { .. } => "exit_code",
            Self::Signal { .. } => "signal",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::DiskFull { .. } => "disk_full",
            Self::InodesFull { .. } => "inodes_full",
            Self::HostDiskFull { .. } => "host_disk_full",
            Self::HostInodesFull { .. } => "host_inodes_full",
            Self::Timeout { .. } => "timeout",
            Self::Canceled(_) => "canceled",
            Self::Image { .. } => "image",
            Self::ImageUnavailable { .. } => "image_unavailable",
            Self::Checkout => "checkout",
            Self::ArtifactMissing { .. } => "artifact_missing",
            Self::ArtifactNotKept { .. } => "artifact_not_kept",
            Self::BadJob => "bad_job",
            Self::ExecutorLost { .. } => "executor_lost",
            Self::ExecutorStopped => "executor_stopped",
            Self::Sandbox => "sandbox",
            Self::Unspecified => "unspecified",
        }
    }

    /// Whose fault it is. A missing image or commit is the job's: trying again won't help.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Succeeded | Self::Canceled(_) => Blame::Nobody,
            Self::ExitCode { .. }
            | Self::Signal { .. }
            | Self::OutOfMemory { .. }
            | Self::DiskFull { .. }
            | Self::InodesFull { .. }
            | Self::Timeout { .. }
            | Self::Image { .. }
            | Self::Checkout
            | Self::ArtifactMissing { .. }
            | Self::BadJob
            | Self::Unspecified => Blame::Job,
            Self::HostDiskFull { .. }
            | Self::HostInodesFull { .. }
            | Self::ImageUnavailable { .. }
            | Self::ArtifactNotKept { .. }
            | Self::ExecutorLost { .. }
            | Self::ExecutorStopped
            | Self::Sandbox => Blame::System,
        }
    }

    /// Whether the infrastructure failed, and not the job: then its try is not charged to it.
    pub const fn is_infrastructure(&self) -> bool {
        matches!(self.blame(), Blame::System)
    }

    /// The final call by which an executor tells it, stock control planes included. Only what somebody asked for
    /// is final there; everything else a control plane may try again. `None` where no executor tells it.
    pub const fn call(&self) -> Option<FinalCall> {
        match self {
            Self::Succeeded => Some(FinalCall::Complete),
            Self::Canceled(_) => Some(FinalCall::Failed),
            Self::Unspecified => None,
            _ => Some(FinalCall::Errored),
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
