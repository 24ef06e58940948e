//! What is made ahead, for the first who asks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// At most one is there or being made.
#[derive(Debug)]
pub(super) struct Spare<T>(Mutex<State<T>>);

#[derive(Debug, Default)]
enum State<T> {
    #[default]
    Missing,
    BeingMade,
    /// Somebody waits for the one that is being made.
    Awaited(oneshot::Sender<T>),
    Ready(T),
}

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Spare<T> {
    /// Takes the one that is there. The first who comes while one is being made waits for that: it is further
    /// than another that is begun now, which would also leave it behind for nobody.
    pub(super) async fn take(&self) -> Option<T> {
        let coming = {
            let mut state = self.state();
            match std::mem::take(&mut *state) {
                State::Ready(spare) => return Some(spare),
                State::BeingMade => {
                    let (give, coming) = oneshot::channel();
                    *state = State::Awaited(give);
                    coming
                }
                other => {
                    *state = other;
                    return None;
                }
            }
        };
        coming.await.ok()
    }

    /// Begins to make one, unless there is one or will be.
    pub(super) fn begin(&self) -> Option<Making<'_, T>> {
        let mut state = self.state();
        if !matches!(*state, State::Missing) {
            return None;
        }
        *state = State::BeingMade;
        Some(Making(self))
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is being made. Dropped without one, nobody waits any more.
#[derive(Debug)]
pub(super) struct Making<'a, T>(&'a Spare<T>);

impl<T> Making<'_, T> {
    /// Here it is.
    pub(super) fn done(self, spare: T) {
        let mut state = self.0.state();
        let kept = match std::mem::take(&mut *state) {
            State::Awaited(give) => give.send(spare).err(),
            _ => Some(spare),
        };
        *state = kept.map_or(State::Missing, State::Ready);
    }
}

impl<T> Drop for Making<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if matches!(*state, State::BeingMade | State::Awaited(_)) {
            *state = State::Missing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    #[tokio::test]
    async fn one_that_is_there_is_taken_once() {
        let spare = Spare::default();
        assert_eq!(spare.take().await, None);
        spare.begin().unwrap().done(1);
        assert!(spare.begin().is_none(), "there is one");
        assert_eq!((spare.take().await, spare.take().await), (Some(1), None));
        assert!(spare.begin().is_some());
    }

    #[tokio::test]
    async fn the_first_who_comes_too_early_waits_for_it_and_nobody_else_does() {
        let spare = Spare::default();
        let making = spare.begin().unwrap();
        assert!(spare.begin().is_none(), "one is being made");
        let mut first = pin!(spare.take());
        assert!(polled(&mut first).await.is_none(), "it is not done");
        assert_eq!(spare.take().await, None);
        making.done(1);
        assert_eq!(first.await, Some(1));
        assert!(spare.begin().is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_one_that_failed() {
        let spare = Spare::<u8>::default();
        let making = spare.begin().unwrap();
        let mut first = pin!(spare.take());
        assert!(polled(&mut first).await.is_none());
        drop(making);
        assert_eq!(first.await, None);
        assert!(spare.begin().is_some());
    }

    #[tokio::test]
    async fn one_that_nobody_waits_for_any_more_is_kept() {
        let spare = Spare::default();
        let making = spare.begin().unwrap();
        {
            let mut first = pin!(spare.take());
            assert!(polled(&mut first).await.is_none());
        }
        making.done(1);
        assert_eq!(spare.take().await, Some(1));
    }

    /// What `of` has come to, if it is done.
    async fn polled<F: Future + Unpin>(of: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            done = of => Some(done),
            () = std::future::ready(()) => None,
        }
    }
}
