//! Evidence in words.

use super::EndReason;
use crate::size::{compared, shown_size};

impl EndReason {
    /// What shows that this was the reason, for people; `None` where the reason's name says all there is.
    pub fn evidence(&self) -> Option<String> {
        let of =
            |step: &str, what: String| if step.is_empty() { what } else { format!("step {step}: {what}") };
        Some(match self {
            Self::ExitCode { step, code } => of(step, format!("exit code {code}")),
            Self::Signal { step, signal } => of(step, format!("signal {signal}")),
            Self::OutOfMemory { step, limit, peak } => {
                let (peak, limit) = compared(*peak, *limit);
                of(step, format!("used {peak} of memory, and may use {limit}"))
            }
            Self::DiskFull { step, limit } => of(step, format!("the job's disk has {}", shown_size(*limit))),
            Self::InodesFull { step, limit, used } => {
                of(step, format!("the job's disk holds {used} files, and can hold {limit}"))
            }
            Self::HostInodesFull { path, limit, used } => {
                format!("{path}: its disk holds {used} files, and can hold {limit}")
            }
            Self::HostDiskFull { path, free } => {
                format!("{path}: {} are left on its disk", shown_size(*free))
            }
            Self::ArtifactMissing { artifact } | Self::ArtifactNotKept { artifact } => {
                format!("artifact {artifact}")
            }
            Self::Timeout { limit } => format!("it may run for {} s", limit.as_secs_f64()),
            Self::Canceled(canceler) => canceler.evidence(),
            Self::ExecutorLost { lease: Some(lease) } => {
                format!("it was silent for longer than its lease of {} s", lease.as_secs_f64())
            }
            Self::ExecutorLost { lease: None } => "it says so itself".to_owned(),
            Self::ExecutorStopped => "by the executor's operator".to_owned(),
            Self::Image { class } | Self::ImageUnavailable { class } if !class.is_empty() => {
                class.replace('_', " ")
            }
            _ => return None,
        })
    }
}
