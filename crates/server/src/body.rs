//! Reading request bodies, with a limit on bytes and on time, and sending long ones.

use crate::pace::Pace;
use crate::peer::Peer;
use crate::slots::{Slot, Slots};
use axum::body::{Body, BodyDataStream, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};
use tokio_util::task::TaskTracker;

/// Bytes of a body that are read without more ado, and those that one slot is for beyond that.
pub(crate) const FREE: usize = 64 << 10;
/// How long the rest of a body that is refused is heard out.
const HEARD_OUT: Duration = Duration::from_secs(5);
/// Bytes of a long body that are read at a time.
const CHUNK: usize = 64 << 10;
/// Pieces that wait for a slow client before their source has to.
const CHUNKS_AHEAD: usize = 4;

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("the request body is larger than {limit} bytes, which is the limit for this call")]
    TooLarge { limit: usize },
    #[error("the request body did not arrive within {} seconds", .within.as_secs())]
    TooSlow { within: Duration },
    #[error("the request body could not be read")]
    Broken,
    #[error("too many large requests at one time: try again")]
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

/// Where there is room for bodies that are not small.
pub(crate) struct Room<'a> {
    /// One for every [`FREE`] bytes.
    pub(crate) slots: &'a Slots,
    /// Whose body it is.
    pub(crate) client: Peer,
    /// How long it may wait for its room.
    pub(crate) wait: Duration,
    /// How fast it is to come once it has that.
    pub(crate) pace: Pace,
}

/// The same where many clients send large ones at one time: what is beyond the first bytes has a slot for all of it, to be
/// held for as long as it is in memory, and comes at a pace. A body that has its slot already, `held`, needs no other.
pub(crate) async fn read_in_turn(
    body: Body,
    limit: usize,
    held: Option<Slot>,
    room: Room<'_>,
) -> Result<(Bytes, Option<Slot>), BodyFault> {
    let hint = HttpBody::size_hint(&body);
    let limit_bytes = limit as u64;
    let told = usize::try_from(hint.upper().unwrap_or(limit_bytes).min(limit_bytes)).unwrap_or(limit);
    let mut body = body.into_data_stream();
    let whole = if hint.lower() > limit_bytes {
        Err(BodyFault::TooLarge { limit })
    } else {
        collect(&mut body, (limit, told), held, room).await
    };
    if let Err(BodyFault::TooLarge { .. } | BodyFault::Busy) = whole {
        // Most clients send all before they listen, and of a connection that is closed on them they hear no more.
        let _ = timeout(HEARD_OUT, async { while let Some(Ok(_)) = body.next().await {} }).await;
    }
    whole
}

/// `told`: the bytes that it may come to.
async fn collect(
    body: &mut BodyDataStream,
    (limit, told): (usize, usize),
    held: Option<Slot>,
    room: Room<'_>,
) -> Result<(Bytes, Option<Slot>), BodyFault> {
    let Pace { whole, .. } = room.pace;
    let mut slot = held;
    let mut arrival = if slot.is_some() { room.pace } else { Pace { idle: whole, ..room.pace } }.begin();
    let mut came = BytesMut::new();
    loop {
        let next = timeout_at(arrival.late(), body.next()).await;
        let Some(piece) = next.map_err(|_| BodyFault::TooSlow { within: whole })? else { break };
        let piece = piece.map_err(|_| BodyFault::Broken)?;
        let length = came.len() + piece.len();
        if length > limit {
            return Err(BodyFault::TooLarge { limit });
        }
        if slot.is_none() && length > FREE {
            let taken = room.slots.take_several(room.client, told.div_ceil(FREE), room.wait).await;
            slot = Some(taken.ok_or(BodyFault::Busy)?);
            arrival = room.pace.begin();
        }
        arrival.add(piece.len() as u64);
        came.extend_from_slice(&piece);
    }
    Ok((came.freeze(), slot))
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_body_at_the_limit_is_read_and_one_above_it_is_not() {
        assert_eq!(read(Body::from("1234"), 4, SOON).await, Ok(Bytes::from("1234")));
        assert_eq!(read(Body::from("12345"), 4, SOON).await, Err(BodyFault::TooLarge { limit: 4 }));
    }

    fn client(last: u8) -> Peer {
        Peer::of([10, 0, 0, last].into())
    }

    fn room(slots: &Slots, client: Peer) -> Room<'_> {
        let pace = Pace { idle: SOON, rate: 1 << 10, whole: Duration::from_mins(1) };
        Room { slots, client, wait: SOON, pace }
    }

    /// So many bytes that are there at once, and then nothing more.
    fn unfinished(bytes: usize) -> Body {
        let came = stream::iter([Ok::<_, io::Error>(Bytes::from(vec![b'x'; bytes]))]);
        Body::from_stream(came.chain(stream::pending()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_small_has_room_for_all_of_it_before_more_is_read() {
        let slots = Slots::new(4, 3);
        let small = read_in_turn(Body::from(vec![b'x'; FREE]), 9 * FREE, None, room(&slots, client(1)));
        let (bytes, slot) = small.await.unwrap();
        assert!(bytes.len() == FREE && slot.is_none());
        let large =
            || read_in_turn(Body::from(vec![b'x'; 3 * FREE]), 9 * FREE, None, room(&slots, client(1)));
        let (bytes, slot) = large().await.unwrap();
        assert!(bytes.len() == 3 * FREE && slot.is_some());
        assert!(matches!(large().await, Err(BodyFault::Busy)), "its share is used up");
        drop(slot);
        assert!(large().await.is_ok());
        let above =
            read_in_turn(Body::from(vec![b'x'; 9 * FREE + 1]), 9 * FREE, None, room(&slots, client(2)));
        assert!(matches!(above.await, Err(BodyFault::TooLarge { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_large_is_heard_out_for_a_while_and_kept_by_nobody() {
        let slots = Slots::new(4, 4);
        let heard = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&heard);
        let pieces = stream::repeat_with(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 10]))
        });
        let refused = read_in_turn(Body::from_stream(pieces.take(9)), 15, None, room(&slots, client(1)));
        assert!(matches!(refused.await, Err(BodyFault::TooLarge { limit: 15 })));
        assert_eq!(heard.load(Ordering::Relaxed), 9, "its sender would hear of a broken connection");
        let begun = tokio::time::Instant::now();
        let refused = read_in_turn(unfinished(16), 15, None, room(&slots, client(1)));
        assert!(matches!(refused.await, Err(BodyFault::TooLarge { limit: 15 })));
        assert_eq!(begun.elapsed(), HEARD_OUT);
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_a_part_holds_no_room_for_long() {
        let slots = Slots::new(4, 4);
        let begun = tokio::time::Instant::now();
        let held = read_in_turn(unfinished(2 * FREE), 4 * FREE, None, room(&slots, client(1)));
        assert!(matches!(held.await, Err(BodyFault::TooSlow { .. })));
        assert_eq!(begun.elapsed(), SOON);
        // The first bytes keep nobody waiting, so they have more time.
        let begun = tokio::time::Instant::now();
        let small = read_in_turn(unfinished(1), 4 * FREE, None, room(&slots, client(1)));
        assert!(matches!(small.await, Err(BodyFault::TooSlow { .. })));
        assert_eq!(begun.elapsed(), Duration::from_mins(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(never, 4, SOON).await, Err(BodyFault::TooSlow { within: SOON }));
    }
}
