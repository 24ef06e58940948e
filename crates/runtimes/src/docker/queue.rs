//! Output on its way from the engine's connection to whoever takes it.

use crate::Stream;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Pieces in their order. One side puts in, the other takes out, and each can wait for the other.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<(Stream, Vec<u8>)>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn put(&self, stream: Stream, bytes: &[u8]) {
        let mut state = self.lock();
        state.bytes += bytes.len();
        state.pieces.push_back((stream, bytes.to_vec()));
        drop(state);
        self.changed.notify_waiters();
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// The next piece; `None` when there is none and none comes. It counts until it is [`done`](Self::done).
    pub(super) async fn take(&self) -> Option<(Stream, Vec<u8>)> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From now on no change is missed.
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                if let Some(piece) = state.pieces.pop_front() {
                    return Some(piece);
                }
                if state.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// A piece of that many bytes has been passed on.
    pub(super) fn done(&self, bytes: usize) {
        self.lock().bytes -= bytes;
        self.changed.notify_waiters();
    }

    /// Bytes that were put in and are not done.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Waits until no more than `limit` bytes are in it.
    pub(super) async fn is_down_to(&self, limit: usize) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.bytes() <= limit {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_come_in_order_and_count_until_they_are_done() {
        let queue = Queue::default();
        queue.put(Stream::Stdout, b"first");
        queue.put(Stream::Stderr, b"second");
        queue.close();
        assert_eq!(queue.take().await, Some((Stream::Stdout, b"first".to_vec())));
        assert_eq!(queue.bytes(), 11);
        queue.done(5);
        queue.is_down_to(6).await;
        assert_eq!(queue.take().await, Some((Stream::Stderr, b"second".to_vec())));
        assert_eq!(queue.take().await, None);
    }

    #[tokio::test]
    async fn either_side_waits_for_the_other() {
        let queue = Queue::default();
        let taking = async {
            let piece = queue.take().await;
            tokio::task::yield_now().await;
            queue.done(3);
            piece
        };
        let putting = async {
            tokio::task::yield_now().await;
            queue.put(Stream::Stdout, b"abc");
            queue.is_down_to(0).await;
        };
        let (piece, ()) = tokio::join!(taking, putting);
        assert_eq!(piece, Some((Stream::Stdout, b"abc".to_vec())));
    }
}
