//! Calls about one job that come at the same time share a transaction.
//!
//! Each commit waits for the disk, and one takes as long for many jobs as for one. So whoever comes while others commit
//! waits, and the first of those who wait then does the work of all of them. A call that comes alone waits for nobody.

use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, oneshot};

/// Calls that share one transaction at most.
const MOST: usize = 64;

/// Calls that take an `I` and are answered with an `O`.
pub(super) struct Together<I, O> {
    waiting: Mutex<Vec<(I, oneshot::Sender<O>)>>,
    /// How many transactions there may be at one time.
    turns: Semaphore,
}

impl<I, O> Together<I, O> {
    /// With so many transactions at one time.
    pub(super) fn new(turns: usize) -> Self {
        Self { waiting: Mutex::default(), turns: Semaphore::new(turns) }
    }

    /// Has `all` do this, together with what others want. It answers each, in order. `None` where whoever did it for this
    /// call was stopped in the middle: then nobody knows.
    pub(super) async fn call<F>(&self, item: I, all: impl Fn(Vec<I>) -> F) -> Option<O>
    where
        F: Future<Output = Vec<O>>,
    {
        let (sender, mut answer) = oneshot::channel();
        self.waiting().push((item, sender));
        // It is never closed.
        let turn = self.turns.acquire().await.ok()?;
        // Those who came before may be more than are done at once.
        loop {
            if let Ok(done) = answer.try_recv() {
                return Some(done);
            }
            let (items, senders): (Vec<I>, Vec<_>) = self.next().into_iter().unzip();
            if items.is_empty() {
                break;
            }
            for (sender, outcome) in senders.into_iter().zip(all(items).await) {
                // Whoever does not wait any more does not want to know.
                let _ = sender.send(outcome);
            }
        }
        drop(turn);
        // It is in the hands of somebody else.
        answer.await.ok()
    }

    fn next(&self) -> Vec<(I, oneshot::Sender<O>)> {
        let mut waiting = self.waiting();
        // Nothing is done for who has left: not now, and not later.
        waiting.retain(|(_, sender)| !sender.is_closed());
        let most = waiting.len().min(MOST);
        waiting.drain(..most).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(I, oneshot::Sender<O>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;

    /// Each is answered its own, whoever did the work, and few do it.
    #[tokio::test]
    async fn those_who_wait_are_served_together() {
        for turns in [1, 3] {
            let together = Together::<usize, usize>::new(turns);
            let rounds = Mutex::new(Vec::new());
            let call = async |n| {
                let all = |items: Vec<usize>| {
                    rounds.lock().unwrap().push(items.len());
                    async move {
                        tokio::task::yield_now().await;
                        items.into_iter().map(|n| n * 2).collect()
                    }
                };
                together.call(n, all).await
            };
            let answers = join_all((0..200).map(call)).await;
            assert_eq!(answers, (0..200).map(|n| Some(n * 2)).collect::<Vec<_>>());
            let rounds = rounds.lock().unwrap();
            assert_eq!(rounds.iter().sum::<usize>(), 200);
            assert!(rounds.len() < 10 && rounds.iter().all(|items| *items <= MOST), "{rounds:?}");
        }
    }
}
