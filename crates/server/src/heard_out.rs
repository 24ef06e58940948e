//! Whoever is refused while they still send is heard out: most clients send all before they listen, and of a connection that is
//! closed on them they hear nothing more, not even why.

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::EXPECT;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;

/// How long they have for the rest.
const HEARD_OUT: Duration = Duration::from_secs(5);

/// Answers, once all has come that whoever is refused had to say.
pub(crate) async fn hear_out(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    // They send nothing before they are asked to, which reading does.
    let waits = request.headers().contains_key(EXPECT);
    let (parts, body) = request.into_parts();
    let lent = Lent(Arc::new(Mutex::new(Sent { body, was_read: false })));
    let sent = Arc::clone(&lent.0);
    let response = next.run(Request::from_parts(parts, Body::new(lent))).await;
    if is_refusal(response.status())
        && let Some(sent) = Arc::into_inner(sent)
    {
        let Sent { mut body, was_read } = sent.into_inner().unwrap_or_else(PoisonError::into_inner);
        if was_read || !waits {
            let _ = timeout(HEARD_OUT, async { while let Some(Ok(_)) = body.frame().await {} }).await;
        }
    }
    response
}

/// Whoever was too slow has been heard for long enough.
fn is_refusal(status: StatusCode) -> bool {
    (status.is_client_error() || status.is_server_error()) && status != StatusCode::REQUEST_TIMEOUT
}

/// What is being sent.
struct Sent {
    body: Body,
    was_read: bool,
}

/// The same for who answers, until they drop it.
struct Lent(Arc<Mutex<Sent>>);

impl Lent {
    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut sent = self.sent();
        sent.was_read = true;
        Pin::new(&mut sent.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.sent().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.sent().body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, middleware};
    use futures_util::{StreamExt, stream};
    use http::HeaderMap;
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::Instant;
    use tower::ServiceExt;

    const PIECES: usize = 9;

    /// How many pieces are read of a body when it is answered so without a look at it, and how long that takes.
    async fn heard(status: StatusCode, headers: HeaderMap, ends: bool) -> (usize, Duration) {
        let counted = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&counted);
        let pieces = stream::repeat_with(move || {
            counts.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(Bytes::from_static(b"x"))
        });
        let pieces = pieces.take(PIECES);
        let body =
            if ends { Body::from_stream(pieces) } else { Body::from_stream(pieces.chain(stream::pending())) };
        let mut request = Request::new(body);
        *request.headers_mut() = headers;
        let answers = Router::new().fallback(move || async move { status });
        let began = Instant::now();
        let response = answers.layer(middleware::from_fn(hear_out)).oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        (counted.load(Ordering::Relaxed), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_refused_is_heard_out_for_a_while() {
        for status in [StatusCode::UNAUTHORIZED, StatusCode::INSUFFICIENT_STORAGE] {
            assert_eq!(heard(status, HeaderMap::new(), true).await, (PIECES, Duration::ZERO), "{status}");
            assert_eq!(heard(status, HeaderMap::new(), false).await, (PIECES, HEARD_OUT), "{status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_to_be_asked_or_is_answered_or_is_slow_is_not() {
        let waits = HeaderMap::from_iter([(EXPECT, "100-continue".parse().unwrap())]);
        assert_eq!(heard(StatusCode::UNAUTHORIZED, waits, false).await, (0, Duration::ZERO));
        for status in [StatusCode::OK, StatusCode::REQUEST_TIMEOUT] {
            assert_eq!(heard(status, HeaderMap::new(), false).await, (0, Duration::ZERO), "{status}");
        }
    }
}
