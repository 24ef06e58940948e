//! How long a step that is asked to end may take.

use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// See above.
#[derive(Debug, Clone)]
pub(crate) struct Grace {
    pub(crate) time: Duration,
    /// Fires when there is no time for it any more.
    pub(crate) at_once: CancellationToken,
}

impl Grace {
    /// Waits until it is over.
    pub(crate) async fn over(&self) {
        let _ = tokio::time::timeout(self.time, self.at_once.cancelled()).await;
    }
}
