//! Evidence in words.

use super::EndReason;

impl EndReason {
    /// What shows that this was the reason, for people; `None` where the reason's name says all there is.
    pub fn evidence(&self) -> Option<String> {
        let of =
            |step: &str, what: String| if step.is_empty() { what } else { format!("step {step}: {what}") };
        Some(match self {
            Self::ExitCode { step, code } => of(step, format!("exit code {code}")),
            Self::Signal { step, signal } => of(step, format!("signal {signal}")),
            Self::OutOfMemory { step, limit, peak } => {
                of(step, format!("used {peak} bytes of memory, and may use {limit}"))
            }
            Self::DiskFull { step, limit } => of(step, format!("the job's disk has {limit} bytes")),
            Self::HostDiskFull { path, free } => format!("{path}: {free} bytes are left on its disk"),
            Self::Timeout { limit } => format!("it may run for {} s", limit.as_secs_f64()),
            Self::Canceled => "by whoever has the API's token".to_owned(),
            Self::ExecutorStopped => "by the executor's operator".to_owned(),
            Self::Image { class } | Self::ImageUnavailable { class } if !class.is_empty() => {
                class.replace('_', " ")
            }
            _ => return None,
        })
    }
}
