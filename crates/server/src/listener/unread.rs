//! A connection whose peer reads nothing ends, though the peer is there.
//!
//! `TCP_USER_TIMEOUT` is for peers that are gone: one that answers each probe of the kernel and takes nothing, with a window that
//! it has made smaller, is waited for as long as it likes.

use crate::socket::{Heard, Hears};
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// A socket to which a write fails that could not go on for a while.
pub(super) type Unread<T> = Heard<T, Patience>;

/// How long is waited for a peer that takes nothing.
pub(super) struct Patience {
    limit: Duration,
    /// Runs while the kernel takes nothing more.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<T> Unread<T> {
    pub(super) const fn new(socket: T, limit: Duration) -> Self {
        Self::by(Patience { limit, waiting: None }, socket)
    }
}

impl Hears for Patience {
    fn written<R>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if outcome.is_ready() {
            self.waiting = None;
            return outcome;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        waiting.as_mut().poll(context).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn whoever_reads_a_little_is_waited_for_and_who_reads_nothing_is_not() {
        let (near, mut far) = duplex(4);
        let mut socket = Unread::new(near, Duration::from_secs(10));
        let reader = tokio::spawn(async move {
            for _ in 0..8 {
                sleep(Duration::from_secs(9)).await;
                far.read_exact(&mut [0; 1]).await.unwrap();
            }
            far
        });
        socket.write_all(&[0; 12]).await.unwrap();
        let _far = reader.await.unwrap();
        let begun = tokio::time::Instant::now();
        let fault = socket.write_all(&[0; 4]).await.unwrap_err();
        assert_eq!((fault.kind(), begun.elapsed()), (ErrorKind::TimedOut, Duration::from_secs(10)));
    }
}
