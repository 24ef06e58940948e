//! Why and how a running job is stopped from outside.

use std::sync::OnceLock;
use tokio_util::sync::CancellationToken;

/// Who stopped a job. The first one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// The control plane passed on that somebody wants it to end.
    Canceled,
    /// It ran longer than it may.
    Timeout,
    /// The agent has to leave.
    ExecutorStopped,
    /// It is not ours any more: nothing may be said about it.
    Abandoned,
}

/// A job's stop: fired once, seen by everything that works for the job.
#[derive(Debug, Default)]
pub(crate) struct JobStop {
    cause: OnceLock<StopCause>,
    token: CancellationToken,
}

impl JobStop {
    /// Stops the job; `false` when it was stopped before.
    pub(crate) fn fire(&self, cause: StopCause) -> bool {
        let first = self.cause.set(cause).is_ok();
        self.token.cancel();
        first
    }

    pub(crate) fn cause(&self) -> Option<StopCause> {
        self.cause.get().copied()
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_counts() {
        let stop = JobStop::default();
        assert!(stop.fire(StopCause::Timeout));
        assert!(!stop.fire(StopCause::Canceled));
        assert_eq!(stop.cause(), Some(StopCause::Timeout));
        assert!(stop.token().is_cancelled());
    }
}
