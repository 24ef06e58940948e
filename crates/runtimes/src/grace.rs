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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn it_is_over_with_its_time_or_at_once() {
        let (time, began) = (Duration::from_secs(5), Instant::now());
        let grace = Grace { time, at_once: CancellationToken::new() };
        grace.over().await;
        assert!(began.elapsed() >= time);
        grace.at_once.cancel();
        let began = Instant::now();
        grace.over().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
