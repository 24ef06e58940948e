//! Work that is under way, so that nobody does it twice at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// What this process is fetching, by name or digest.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<String, Weak<Turn<()>>>>);

impl Flights {
    /// Waits until nobody else works on `what`. Then look whether it is there: they may have
    /// finished it, or failed.
    pub(crate) async fn enter(&self, what: &str) -> OwnedMutexGuard<()> {
        self.turn(what).lock_owned().await
    }

    fn turn(&self, what: &str) -> Arc<Turn<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(what).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(what.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_stays() {
        let flights = Flights::default();
        let first = flights.enter("a").await;
        assert!(flights.turn("a").try_lock().is_err(), "someone works on it");
        drop(flights.enter("b").await);
        drop(first);
        drop(flights.enter("a").await);
        drop(flights.turn("c"));
        assert_eq!(flights.0.lock().expect("no test panicked").len(), 1, "only the latest may linger");
    }
}
