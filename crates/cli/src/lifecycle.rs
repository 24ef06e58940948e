//! Signals, and the order of leaving.

use crate::commands::print;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const DRAINING: &str = "draining: nothing new is taken, what runs is finished; a second signal stops it";
const STOPPING: &str = "stopping: what runs is ended and removed";

/// What the program is asked to do about its work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lifecycle {
    /// Take nothing new, finish what runs. The first HUP, INT or TERM.
    pub(crate) drain: CancellationToken,
    /// Stop what runs, clean up and leave. The second.
    pub(crate) stop: CancellationToken,
}

impl Lifecycle {
    /// Listens for signals from now on.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let lifecycle = Self::default();
        let mut signals = [
            signal(SignalKind::hangup())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ];
        let heard = lifecycle.clone();
        tokio::spawn(async move {
            let [hangup, interrupt, terminate] = &mut signals;
            for (token, told) in [(&heard.drain, DRAINING), (&heard.stop, STOPPING)] {
                tokio::select! {
                    _ = hangup.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                token.cancel();
                // Standard output may be gone; that is no reason to stay.
                let _ = print::line(told);
            }
        });
        Ok(lifecycle)
    }
}
