//! Reading request bodies, with a limit on bytes and on time, and sending long ones.

use crate::app::App;
use crate::bodies::FREE;
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Bytes of a long body that are read at a time.
const CHUNK: usize = 64 << 10;
/// Pieces that wait for a slow client before their source has to.
const CHUNKS_AHEAD: usize = 2;

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("the request body is larger than {limit} bytes, which is the limit for this call")]
    TooLarge { limit: usize },
    #[error("the request body did not arrive within {} seconds", .within.as_secs())]
    TooSlow { within: Duration },
    #[error("the request body could not be read")]
    Broken,
    #[error(
        "too many requests of more than {FREE} bytes are being read at one time: send fewer at one time, or try again"
    )]
    Busy,
}

impl BodyFault {
    pub(crate) const fn status(&self) -> http::StatusCode {
        match self {
            Self::TooLarge { .. } => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => http::StatusCode::REQUEST_TIMEOUT,
            Self::Broken => http::StatusCode::BAD_REQUEST,
            Self::Busy => http::StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Reads a whole body of up to `limit` bytes.
pub(crate) async fn read(body: Body, limit: usize, within: Duration) -> Result<Bytes, BodyFault> {
    let collected = timeout(within, Limited::new(body, limit).collect()).await;
    match collected {
        Err(_) => Err(BodyFault::TooSlow { within }),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(fault)) if fault.is::<LengthLimitError>() => Err(BodyFault::TooLarge { limit }),
        Ok(Err(_)) => Err(BodyFault::Broken),
    }
}

/// The same where each piece has room: it is given back as the piece comes, for the next one may wait for it.
pub(crate) async fn gathered(body: Body, limit: usize, within: Duration) -> Result<Vec<u8>, BodyFault> {
    let gather = async {
        let mut body = std::pin::pin!(body);
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(|_| BodyFault::Broken)?.into_data() else { continue };
            if bytes.len() + piece.len() > limit {
                return Err(BodyFault::TooLarge { limit });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    };
    timeout(within, gather).await.unwrap_or(Err(BodyFault::TooSlow { within }))
}

/// A piece of a long body.
pub(crate) type Chunk = Result<Bytes, io::Error>;

/// The body that is sent as `reader` gives it, no faster than the client takes it. It breaks off when
/// the client takes nothing for `idle`.
pub(crate) fn streamed(
    reader: impl AsyncRead + Unpin + Send + 'static,
    idle: Duration,
    tasks: &TaskTracker,
) -> Body {
    let (chunks, body) = channel();
    tasks.spawn(async move {
        if let Err(fault) = pass_on(reader, idle, &chunks).await {
            tracing::debug!(error = %fault, "an answer was broken off");
            // Nobody may be there to hear it, or the client reads nothing: then the body just ends.
            let _ = chunks.try_send(Err(fault));
        }
    });
    body
}

/// Bytes of a kept file of this length that are in memory while it is sent so: all of it, or a piece of its source, the pieces ahead, the one that waits to be
/// among them, and what the connection has.
pub(crate) fn held(app: &App, length: u64) -> usize {
    let whole = usize::try_from(length).unwrap_or(usize::MAX);
    let source = usize::try_from(app.store.objects().piece()).unwrap_or(usize::MAX);
    source.saturating_add((CHUNKS_AHEAD + 2) * CHUNK).min(whole)
}

/// A body that something goes along with until the last of it was taken.
pub(crate) struct Along<T> {
    body: Body,
    _with: T,
}

impl<T> Along<T> {
    pub(crate) const fn new(body: Body, with: T) -> Self {
        Self { body, _with: with }
    }
}

impl<T: Unpin> HttpBody for Along<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that is sent piece by piece.
pub(crate) fn channel() -> (mpsc::Sender<Chunk>, Body) {
    let (chunks, received) = mpsc::channel(CHUNKS_AHEAD);
    let received = stream::unfold(received, async |mut received| Some((received.recv().await?, received)));
    (chunks, Body::from_stream(received))
}

/// Reads to the end and sends what is read, no faster than the client takes it.
pub(crate) async fn pass_on(
    mut reader: impl AsyncRead + Unpin,
    idle: Duration,
    chunks: &mpsc::Sender<Chunk>,
) -> io::Result<()> {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        if reader.read_buf(&mut chunk).await? == 0 {
            return Ok(());
        }
        let sent = timeout(idle, chunks.send(Ok(chunk.into()))).await?;
        sent.map_err(|_| io::Error::other("the client went away"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_body_at_the_limit_is_read_and_one_above_it_is_not() {
        assert_eq!(read(Body::from("1234"), 4, SOON).await, Ok(Bytes::from("1234")));
        assert_eq!(read(Body::from("12345"), 4, SOON).await, Err(BodyFault::TooLarge { limit: 4 }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(never, 4, SOON).await, Err(BodyFault::TooSlow { within: SOON }));
    }
}
