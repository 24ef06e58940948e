//! What can go wrong between the engine and us. None of it is the job's fault by itself.

use crate::RuntimeError;
use std::error::Error;
use std::io;
use std::time::Duration;

/// A call of the engine's that did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// Nobody answers.
    #[error("the container engine at {endpoint} can't be reached; check that it runs, and DOCKER_HOST")]
    Unreachable { endpoint: String, source: io::Error },
    /// It was there and went away.
    #[error("the connection to the container engine broke while asking it to {what}")]
    Broken { what: &'static str, source: Box<dyn Error + Send + Sync> },
    /// It takes too long.
    #[error("the container engine did not {what} within {limit:?}; look at its log")]
    Late { what: &'static str, limit: Duration },
    /// It said no.
    #[error("the container engine did not {what}: {said} (status {status})")]
    Refused { what: &'static str, status: u16, said: String },
    /// It said what no engine should.
    #[error("the container engine's answer when asked to {what} can't be used: {why}")]
    Odd { what: &'static str, why: String },
    /// It speaks another language.
    #[error("{0}")]
    Version(String),
}

impl EngineError {
    /// The status of a refusal.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the engine itself may be gone.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken { .. } | Self::Late { .. })
    }
}

impl From<EngineError> for RuntimeError {
    /// On one line, with its cause.
    fn from(error: EngineError) -> Self {
        Self::Host(told(&error))
    }
}

/// An error and what caused it, on one line.
pub(super) fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
