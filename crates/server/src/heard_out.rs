//! Whoever is refused while they still send is heard out: most clients send all before they listen, and of a connection that is
//! closed on them they hear nothing more, not even why. Nothing of it is kept, and nobody's turn is held meanwhile.
//!
//! It ends with who falls silent, after a while, and when the server stops. One request too many of an address does not come this far: see `listener`.

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
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
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long they may say nothing, and how long they have for all of the rest.
const SILENT: Duration = Duration::from_secs(5);
const HEARD_OUT: Duration = Duration::from_mins(1);
/// Who is not asked within this sends all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers, whoever is refused when they were heard out.
pub(crate) async fn hear_out(
    State(stop): State<CancellationToken>,
    request: Request,
    next: Next,
) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (came, expects) = (Instant::now(), request.headers().contains_key(EXPECT));
    let (parts, body) = request.into_parts();
    let lent = Lent(Arc::new(Mutex::new(Sent { body, was_read: false })));
    let sent = Arc::clone(&lent.0);
    let response = next.run(Request::from_parts(parts, Body::new(lent))).await;
    if is_refusal(response.status())
        && let Some(sent) = Arc::into_inner(sent)
    {
        let Sent { body, was_read } = sent.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Reading would ask for what is not being sent.
        let waits = expects && !was_read && came.elapsed() < PATIENCE;
        if !waits {
            let _ = stop.run_until_cancelled(timeout(HEARD_OUT, rest(body))).await;
        }
    }
    response
}

async fn rest(mut body: Body) {
    while let Ok(Some(Ok(_))) = timeout(SILENT, body.frame()).await {}
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

    fn heard_out(answers: Router, stop: &CancellationToken) -> Router {
        answers.layer(middleware::from_fn_with_state(stop.clone(), hear_out))
    }

    /// A request whose sender says something every now and then, for ever.
    fn endless() -> Request {
        let drops = stream::unfold((), |()| async {
            tokio::time::sleep(SILENT / 2).await;
            Some((Ok::<_, io::Error>(Bytes::from_static(b"x")), ()))
        });
        Request::new(Body::from_stream(drops))
    }

    /// What becomes of a body.
    #[derive(Clone, Copy)]
    enum Is {
        Unread,
        Begun,
        UnreadFor(Duration),
    }

    fn expects() -> HeaderMap {
        HeaderMap::from_iter([(EXPECT, "100-continue".parse().unwrap())])
    }

    /// How many pieces of a body are read in all that is answered so, and how long the answer takes.
    async fn heard(status: StatusCode, headers: HeaderMap, ends: bool, is: Is) -> (usize, Duration) {
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
        let answers = Router::new().fallback(move |request: Request| async move {
            match is {
                Is::Unread => {}
                Is::Begun => assert!(request.into_body().frame().await.is_some()),
                Is::UnreadFor(time) => tokio::time::sleep(time).await,
            }
            status
        });
        let began = Instant::now();
        let response = heard_out(answers, &CancellationToken::new()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        (counted.load(Ordering::Relaxed), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_refused_is_heard_out_for_a_while() {
        for status in [StatusCode::UNAUTHORIZED, StatusCode::INSUFFICIENT_STORAGE] {
            for is in [Is::Unread, Is::Begun] {
                assert_eq!(
                    heard(status, HeaderMap::new(), true, is).await,
                    (PIECES, Duration::ZERO),
                    "{status}"
                );
                assert_eq!(heard(status, HeaderMap::new(), false, is).await, (PIECES, SILENT), "{status}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_sends_slowly_without_end_is_not_heard_for_ever() {
        let answers = Router::new().fallback(|| async { StatusCode::UNAUTHORIZED });
        let began = Instant::now();
        heard_out(answers, &CancellationToken::new()).oneshot(endless()).await.unwrap();
        assert_eq!(began.elapsed(), HEARD_OUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stops_hears_nobody_out() {
        let stop = CancellationToken::new();
        let answers = Router::new().fallback(|| async { StatusCode::UNAUTHORIZED });
        let began = Instant::now();
        let stops = async {
            tokio::time::sleep(SILENT).await;
            stop.cancel();
        };
        let (answered, ()) = tokio::join!(heard_out(answers, &stop).oneshot(endless()), stops);
        assert_eq!((answered.unwrap().status(), began.elapsed()), (StatusCode::UNAUTHORIZED, SILENT));
    }

    /// They do not wait for ever, and then send what nobody asked for.
    #[tokio::test(start_paused = true)]
    async fn whoever_was_asked_or_waits_no_longer_is_heard_out() {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        assert_eq!(heard(status, expects(), true, Is::Begun).await.0, PIECES);
        assert_eq!(heard(status, expects(), true, Is::UnreadFor(PATIENCE)).await.0, PIECES);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_to_be_asked_or_is_answered_or_is_slow_is_not() {
        let refused = StatusCode::UNAUTHORIZED;
        assert_eq!(heard(refused, expects(), false, Is::Unread).await, (0, Duration::ZERO));
        for status in [StatusCode::OK, StatusCode::REQUEST_TIMEOUT] {
            assert_eq!(
                heard(status, HeaderMap::new(), false, Is::Unread).await,
                (0, Duration::ZERO),
                "{status}"
            );
        }
    }
}
