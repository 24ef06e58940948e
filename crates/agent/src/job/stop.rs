//! Why and how a running job is stopped from outside.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long the final call waits until whoever sends the heartbeats knows of it.
const HEARD: Duration = Duration::from_secs(1);

/// Hears, once, that a job's end is about to be told, and lets that go on by dropping what it gets.
pub(crate) type EndTold = mpsc::Receiver<oneshot::Sender<()>>;

/// Who stopped a job. The first one counts, unless the job is not ours any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// The control plane passed on that somebody wants it to end.
    Canceled,
    /// It ran longer than it may.
    Timeout,
    /// The agent has to leave.
    ExecutorStopped,
    /// It is not ours any more: nothing may be said about it, whatever stopped it before.
    Abandoned,
}

/// A job's stop: fired once, seen by everything that works for the job.
#[derive(Debug, Default)]
pub(crate) struct JobStop {
    cause: OnceLock<StopCause>,
    token: CancellationToken,
    abandoned: CancellationToken,
    end_told: AtomicBool,
    /// Who has to know of that in another process.
    listener: Option<mpsc::Sender<oneshot::Sender<()>>>,
}

impl JobStop {
    /// One whose end somebody in another process has to know of.
    pub(crate) fn with_listener() -> (Self, EndTold) {
        let (listener, end_told) = mpsc::channel(1);
        (Self { listener: Some(listener), ..Self::default() }, end_told)
    }

    /// Stops the job; `false` when this is no news.
    pub(crate) fn fire(&self, cause: StopCause) -> bool {
        let before = self.cause();
        let first = self.cause.set(cause).is_ok();
        if cause == StopCause::Abandoned {
            self.abandoned.cancel();
        }
        self.token.cancel();
        first || self.cause() != before
    }

    pub(crate) fn cause(&self) -> Option<StopCause> {
        if self.abandoned.is_cancelled() { Some(StopCause::Abandoned) } else { self.cause.get().copied() }
    }

    /// Fires with the job's first stop.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// From now on the control plane may know how the job ended, and so not know it as ours.
    pub(crate) async fn tell_end(&self) {
        self.note_end_told();
        if let Some(listener) = &self.listener {
            let (waiting, heard) = oneshot::channel();
            if listener.send(waiting).await.is_ok() {
                let _ = timeout(HEARD, heard).await;
            }
        }
    }

    /// The same, where somebody else makes the final call.
    pub(crate) fn note_end_told(&self) {
        self.end_told.store(true, Ordering::Release);
    }

    /// Whether the final call has been made, answered or not.
    pub(crate) fn end_is_told(&self) -> bool {
        self.end_told.load(Ordering::Acquire)
    }

    /// Fires when the job is not ours any more.
    pub(crate) fn abandoned(&self) -> &CancellationToken {
        &self.abandoned
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
        assert!(stop.token().is_cancelled() && !stop.abandoned().is_cancelled());
    }

    #[test]
    fn a_job_that_is_not_ours_any_more_is_never_ours_again() {
        let stop = JobStop::default();
        stop.fire(StopCause::Timeout);
        assert!(stop.fire(StopCause::Abandoned));
        assert!(!stop.fire(StopCause::Abandoned));
        assert!(!stop.fire(StopCause::Canceled));
        assert_eq!(stop.cause(), Some(StopCause::Abandoned));
        assert!(stop.abandoned().is_cancelled());
    }
}
