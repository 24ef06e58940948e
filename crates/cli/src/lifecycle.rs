//! Signals, and the order of leaving.

use crate::logging;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What is said of the first signal, and of the second.
pub(crate) type Told = [&'static str; 2];

/// Of a program that runs jobs.
pub(crate) const OF_JOBS: Told = [
    "draining: nothing new is taken, what runs is finished; a second signal stops it",
    "stopping: what runs is ended and removed",
];
/// Of one that only answers requests: those are short, so there is nothing to hurry.
pub(crate) const OF_REQUESTS: Told = [
    "stopping: waits and streams are ended, requests under way are finished; jobs go on at their agents",
    "already stopping: requests under way are finished",
];

/// What is said of the signal to leave.
const LEAVING: &str = "leaving: nothing new is taken, jobs under supervisors go on and are the next agent's";

/// What the program is asked to do about its work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lifecycle {
    /// Take nothing new, finish what runs. The first HUP, INT or TERM.
    pub(crate) drain: CancellationToken,
    /// Stop what runs, clean up and leave. The second.
    pub(crate) stop: CancellationToken,
    /// Leave at once; what runs goes on without us. `USR2`, if it is listened to.
    pub(crate) leave: CancellationToken,
}

impl Lifecycle {
    /// Listens for signals from now on.
    pub(crate) fn listen([first, second]: Told) -> std::io::Result<Self> {
        let lifecycle = Self::default();
        let mut signals = [
            signal(SignalKind::hangup())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ];
        let heard = lifecycle.clone();
        tokio::spawn(async move {
            let [hangup, interrupt, terminate] = &mut signals;
            for (token, told) in [(&heard.drain, first), (&heard.stop, second)] {
                tokio::select! {
                    _ = hangup.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                token.cancel();
                // Standard output may be gone; that is no reason to stay.
                let _ = logging::tell(told);
            }
        });
        Ok(lifecycle)
    }

    /// Listens for the signal to leave jobs to their supervisors as well.
    pub(crate) fn listen_to_leave(&self) -> std::io::Result<()> {
        let mut signal = signal(SignalKind::user_defined2())?;
        let leave = self.leave.clone();
        tokio::spawn(async move {
            signal.recv().await;
            leave.cancel();
            let _ = logging::tell(LEAVING);
        });
        Ok(())
    }
}
