//! Trying again: exponential back-off with jitter, and how long it is worth it.

use super::ApiError;
use crate::random;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// The first pause of a call that is repeated.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause of a call that is repeated: a control plane that comes back is noticed soon.
const LONGEST: Duration = Duration::from_secs(5);
/// The same of an executor that is refused.
const FIRST_REFUSED: Duration = Duration::from_secs(1);
const LONGEST_REFUSED: Duration = Duration::from_secs(15);
/// What is left of anybody's patience once the agent has been told to stop at once.
const HURRIED: Duration = Duration::from_secs(10);

/// Pauses that double, each with jitter, up to a longest one.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, next: first, longest: longest.max(first) }
    }

    /// Pauses of an executor that is refused: longer ones, since a person has to mend that.
    pub(crate) fn of_refusals() -> Self {
        Self::new(FIRST_REFUSED, LONGEST_REFUSED)
    }

    /// The pause to make now: between half and all of the current step.
    pub(crate) fn pause(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.longest);
        step.mul_f64(0.5 + 0.5 * random::fraction())
    }

    /// Nothing has failed since it began, or since it was reset.
    fn is_fresh(&self) -> bool {
        self.next == self.first
    }

    /// How long to wait after a call failed that may pass. An operator hears of it, once in a row of failures, when
    /// it looks as if something answers in the control plane's place: nobody else can mend that.
    pub(crate) fn pause_after(&mut self, what: &str, error: &ApiError) -> Duration {
        let first = self.is_fresh();
        let pause = self.pause().max(error.retry_after().unwrap_or_default());
        let error_text = crate::error::chain(error);
        if first && error.is_strange() {
            warn!(
                what,
                error = error_text,
                "something seems to have answered in the control plane's place; trying again until it does itself"
            );
        } else {
            debug!(what, error = error_text, ?pause, "call failed, trying again");
        }
        pause
    }

    /// The call worked: begin small again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(FIRST, LONGEST)
    }
}

/// Makes a call until it works or fails for good. There is no end to it otherwise: bound it with
/// [`Patience`] or with the job's stop.
pub(crate) async fn retry<T, F>(what: &'static str, mut call: impl FnMut() -> F) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let mut backoff = Backoff::default();
    loop {
        match call().await {
            Err(error) if error.may_pass() => {
                sleep(backoff.pause_after(what, &error)).await;
            }
            result => return result,
        }
    }
}

/// How long the calls that end a job are tried.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    /// From the moment it is first needed.
    pub(crate) limit: Duration,
    /// Fires when the agent has to leave.
    pub(crate) hurry: CancellationToken,
}

impl Patience {
    /// Ends when it is over.
    pub(crate) async fn over(&self) {
        let hurried = async {
            self.hurry.cancelled().await;
            sleep(HURRIED).await;
        };
        tokio::select! {
            () = sleep(self.limit) => {}
            () = hurried => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_small_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        for step in [100, 200, 400, 400] {
            let pause = backoff.pause().as_millis();
            assert!((step / 2..=step).contains(&pause), "{pause} ms where {step} is the step");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hurry_shortens_any_patience() {
        let hurry = CancellationToken::new();
        let patience = Patience { limit: Duration::from_mins(10), hurry: hurry.clone() };
        hurry.cancel();
        let began = tokio::time::Instant::now();
        patience.over().await;
        assert_eq!(began.elapsed().as_secs(), HURRIED.as_secs());
    }
}
