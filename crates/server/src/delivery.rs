//! Whether an answer left for the client.
//!
//! An answer that gives something away, such as a job, may never get to its receiver: the client hangs
//! up while the handler works, while the body waits to be sent, or half-way through it. Each of these
//! drops something: the handler's future, the body, the connection. So the answer carries an
//! [`Undelivered`], which is called off only when all bytes of the answer were handed to the kernel;
//! dropped before, it undoes what the answer gave away. Of what follows, such as a cable that is cut, the
//! server can't know: for that there are leases.

use crate::socket::{Heard, Hears};
use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// Undoes something when it is dropped, unless it was delivered.
pub(crate) struct Undelivered(Option<Box<dyn FnOnce() + Send>>);

impl Undelivered {
    pub(crate) fn new(undo: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(undo)))
    }

    /// It left for its receiver, or there is nothing to undo any more.
    pub(crate) fn call_off(mut self) {
        self.0 = None;
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        if let Some(undo) = self.0.take() {
            undo();
        }
    }
}

/// What was written into a connection's buffer and has not left it yet. Goes with the connection.
#[derive(Clone, Default)]
pub(crate) struct Unflushed(Arc<Mutex<Vec<Undelivered>>>);

impl Unflushed {
    fn push(&self, carried: Vec<Undelivered>) {
        self.list().extend(carried);
    }

    /// The connection's buffer is empty.
    fn all_left(&self) {
        let left = std::mem::take(&mut *self.list());
        left.into_iter().for_each(Undelivered::call_off);
    }

    fn list(&self) -> MutexGuard<'_, Vec<Undelivered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets what is `carried` go along with `response` on the connection of `unflushed`.
pub(crate) fn with(response: Response, carried: Vec<Undelivered>, unflushed: Unflushed) -> Response {
    response.map(|body| Body::new(Carrying { body, carried, unflushed }))
}

/// A body that something goes along with.
struct Carrying {
    body: Body,
    carried: Vec<Undelivered>,
    unflushed: Unflushed,
}

impl HttpBody for Carrying {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let ends = match &frame {
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            Poll::Ready(None) => true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if ends {
            // The connection writes this frame into its buffer before it flushes that again.
            let carried = std::mem::take(&mut self.carried);
            self.unflushed.push(carried);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection's socket, which tells when everything was handed to the kernel: only with an empty
/// buffer does the HTTP implementation flush what lies below it.
pub(crate) type Flushing<T> = Heard<T, Unflushed>;

impl<T> Flushing<T> {
    pub(crate) const fn new(socket: T, unflushed: Unflushed) -> Self {
        Self::by(unflushed, socket)
    }
}

impl Hears for Unflushed {
    fn flushed(&mut self) {
        self.all_left();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;
    use http_body_util::BodyExt;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::io::AsyncWriteExt;

    fn counted() -> (Arc<AtomicU32>, Undelivered) {
        let undone = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&undone);
        let undo = move || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        (undone, Undelivered::new(undo))
    }

    #[tokio::test]
    async fn only_what_was_sent_and_flushed_is_not_undone() {
        let (undone, undelivered) = counted();
        let unflushed = Unflushed::default();
        let mut socket = Flushing::new(Vec::new(), unflushed.clone());
        let mut body = with("text".into_response(), vec![undelivered], unflushed.clone()).into_body();
        assert_eq!(body.size_hint().exact(), Some(4), "the length is still known");
        socket.flush().await.unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert!(body.is_end_stream(), "it is not asked for more");
        drop(body);
        assert_eq!(undone.load(Ordering::Relaxed), 0, "it lies in the buffer");
        socket.write_all(&frame.into_data().unwrap()).await.unwrap();
        socket.flush().await.unwrap();
        drop((socket, unflushed));
        assert_eq!(undone.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_was_not_is_undone_once() {
        let (unsent, undelivered) = counted();
        let unflushed = Unflushed::default();
        drop(with("text".into_response(), vec![undelivered], unflushed.clone()));
        assert_eq!(unsent.load(Ordering::Relaxed), 1);

        let (stuck, undelivered) = counted();
        let mut body = with("text".into_response(), vec![undelivered], unflushed.clone()).into_body();
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!(stuck.load(Ordering::Relaxed), 0);
        drop(unflushed);
        assert_eq!((unsent.load(Ordering::Relaxed), stuck.load(Ordering::Relaxed)), (1, 1));
    }
}
