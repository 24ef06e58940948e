//! Reasons as they travel and are stored.

use super::{CanceledBy, Canceler, EndReason};
use std::time::Duration;
use wire::additions::EndDetail;

/// Who stops an executor while it has jobs: whoever signals it twice.
const BY_OPERATOR: &str = "operator";
/// Who found that a job's executor is lost: the control plane, or an executor that found what was left.
const BY_SERVER: &str = "server";
const BY_EXECUTOR: &str = "executor";

impl EndReason {
    /// The reason with its evidence, for the wire and the store.
    pub fn detail(&self) -> EndDetail {
        let mut detail = EndDetail { reason: self.name().to_owned(), ..EndDetail::default() };
        let if_told = |text: &String| (!text.is_empty()).then(|| text.clone());
        match self {
            Self::ExitCode { step, code } => {
                detail.step = Some(step.clone());
                detail.exit_code = Some(*code);
            }
            Self::Signal { step, signal } => {
                detail.step = Some(step.clone());
                detail.exit_code = Some(128 + signal);
            }
            Self::OutOfMemory { step, limit, peak } => {
                detail.step = if_told(step);
                detail.limit = Some(*limit);
                detail.observed = Some(*peak);
            }
            Self::DiskFull { step, limit } => {
                detail.step = if_told(step);
                detail.limit = Some(*limit);
            }
            Self::InodesFull { step, limit, used } => {
                detail.step = if_told(step);
                (detail.limit, detail.observed) = (Some(*limit), Some(*used));
            }
            Self::HostInodesFull { path, limit, used } => {
                detail.path = Some(path.clone());
                (detail.limit, detail.observed) = (Some(*limit), Some(*used));
            }
            Self::HostDiskFull { path, free } => {
                detail.path = Some(path.clone());
                detail.observed = Some(*free);
            }
            Self::Timeout { limit } => detail.limit = millis(*limit),
            Self::Image { class } | Self::ImageUnavailable { class } => {
                detail.class = if_told(class);
            }
            Self::ArtifactMissing { artifact } | Self::ArtifactNotKept { artifact } => {
                detail.artifact = Some(artifact.clone());
            }
            Self::Canceled(canceler) => {
                detail.by = Some(canceler.by.name().to_owned());
                detail.token.clone_from(&canceler.name);
                detail.from.clone_from(&canceler.from);
                detail.client.clone_from(&canceler.client);
            }
            Self::ExecutorLost { lease } => {
                detail.by = Some(if lease.is_some() { BY_SERVER } else { BY_EXECUTOR }.to_owned());
                detail.limit = lease.and_then(millis);
            }
            Self::ExecutorStopped => detail.by = Some(BY_OPERATOR.to_owned()),
            _ => {}
        }
        detail
    }

    /// Reads a reason off the wire. A name we don't know becomes [`EndReason::Unspecified`].
    pub fn from_detail(detail: &EndDetail) -> Self {
        let step = || detail.step.clone().unwrap_or_default();
        let artifact = || detail.artifact.clone().unwrap_or_default();
        let class = || detail.class.clone().unwrap_or_default();
        let (limit, observed) = (|| detail.limit.unwrap_or(0), || detail.observed.unwrap_or(0));
        match detail.reason.as_str() {
            "succeeded" => Self::Succeeded,
            "exit_code" => Self::ExitCode { step: step(), code: detail.exit_code.unwrap_or(1) },
            "signal" => {
                Self::Signal { step: step(), signal: detail.exit_code.unwrap_or(128).saturating_sub(128) }
            }
            "out_of_memory" => Self::OutOfMemory { step: step(), limit: limit(), peak: observed() },
            "disk_full" => Self::DiskFull { step: step(), limit: limit() },
            "host_disk_full" => {
                Self::HostDiskFull { path: detail.path.clone().unwrap_or_default(), free: observed() }
            }
            "inodes_full" => Self::InodesFull { step: step(), limit: limit(), used: observed() },
            "host_inodes_full" => Self::HostInodesFull {
                path: detail.path.clone().unwrap_or_default(),
                limit: limit(),
                used: observed(),
            },
            "timeout" => Self::Timeout { limit: Duration::from_millis(limit()) },
            "canceled" => Self::Canceled(Canceler {
                by: CanceledBy::of(detail.by.as_deref().unwrap_or_default()),
                name: detail.token.clone(),
                from: detail.from.clone(),
                client: detail.client.clone(),
            }),
            "image" => Self::Image { class: class() },
            "image_unavailable" => Self::ImageUnavailable { class: class() },
            "checkout" => Self::Checkout,
            "artifact_missing" => Self::ArtifactMissing { artifact: artifact() },
            "artifact_not_kept" => Self::ArtifactNotKept { artifact: artifact() },
            "bad_job" => Self::BadJob,
            "executor_lost" => Self::ExecutorLost { lease: detail.limit.map(Duration::from_millis) },
            "executor_stopped" => Self::ExecutorStopped,
            "sandbox" => Self::Sandbox,
            _ => Self::Unspecified,
        }
    }
}

fn millis(length: Duration) -> Option<u64> {
    u64::try_from(length.as_millis()).ok()
}
