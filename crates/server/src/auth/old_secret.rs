//! The shared secret before the present one: whoever still shows it is told of, so that operators know when nobody does.

use crate::peer::Peer;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it is told at most.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// How often the old secret was shown.
#[derive(Default)]
pub(crate) struct OldSecret(Mutex<Shown>);

#[derive(Default)]
struct Shown {
    told_at: Option<Instant>,
    since: u64,
}

impl OldSecret {
    /// Notes that it was shown, and tells of it now and then.
    pub(crate) fn was_shown(&self, peer: Peer) {
        if let Some(calls) = self.count_at(Instant::now()) {
            tracing::warn!(
                ?peer,
                calls,
                "an executor still shows executors.accessTokenPrevious: give it executors.accessToken before you remove \
                 the old one"
            );
        }
    }

    /// How many calls to tell of now.
    fn count_at(&self, now: Instant) -> Option<u64> {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.since += 1;
        if shown.told_at.is_some_and(|at| now.duration_since(at) < TOLD_EVERY) {
            return None;
        }
        shown.told_at = Some(now);
        Some(std::mem::take(&mut shown.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_at_once_and_then_now_and_then_with_the_number_of_calls() {
        let old = OldSecret::default();
        let now = Instant::now();
        assert_eq!(old.count_at(now), Some(1));
        assert_eq!(old.count_at(now), None);
        assert_eq!(old.count_at(now + TOLD_EVERY / 2), None);
        assert_eq!(old.count_at(now + TOLD_EVERY), Some(3));
    }
}
