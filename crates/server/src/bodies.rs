//! Room for the bodies of calls, where many send large ones at one time.
//!
//! Each kind of call has its own, so that who may send the one keeps nobody from the other. In each, bodies that are large have theirs
//! apart from those that are not: what waits for much would keep what wants little waiting behind it.

use crate::body::BodyFault;
use crate::config::Limits;
use crate::pace::Pace;
use crate::peer::Peer;
use crate::slots::{InTurn, Turn};
use axum::body::{Body, BodyDataStream, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::timeout_at;

/// Bytes of a body that are read without more ado, and those that one slot is for beyond that.
pub(crate) const FREE: usize = 64 << 10;
/// Bytes of a body that is not large.
const MEDIUM: usize = 256 << 10;

/// Room for bodies of one kind.
pub(crate) struct Bodies {
    /// One for every [`FREE`] bytes of those that are not large.
    medium: InTurn,
    /// One for each that is.
    large: InTurn,
    /// How long a body may wait for its turn.
    wait: Duration,
    /// How fast it is to come once it has that.
    pace: Pace,
}

impl Bodies {
    /// Room within `limits`, which is shared as `shared` says.
    pub(crate) fn new(limits: &Limits, shared: impl Fn(usize, usize) -> InTurn) -> Self {
        Self {
            medium: shared(limits.bodies / FREE, limits.bodies_per_client / FREE),
            large: shared(limits.large_calls, limits.large_calls_per_client),
            wait: limits.large_call_queue,
            pace: limits.call_pace(),
        }
    }

    /// A turn for what takes as much memory as a large body; none if there is none for long.
    pub(crate) async fn large(&self, from: Peer, of: &str) -> Option<Turn> {
        self.large.take(from, of, self.wait).await
    }

    /// Reads a whole body of up to `limit` bytes, which somebody at an address sends for a namespace. What is beyond the first bytes
    /// has a turn for all of it, which begins when they are here: to be held for as long as it is in memory.
    pub(crate) async fn read(
        &self,
        from: Peer,
        of: &str,
        body: Body,
        limit: usize,
    ) -> Result<(Bytes, Option<Turn>), BodyFault> {
        let hint = HttpBody::size_hint(&body);
        let limit_bytes = limit as u64;
        let told = usize::try_from(hint.upper().unwrap_or(limit_bytes).min(limit_bytes)).unwrap_or(limit);
        let mut body = body.into_data_stream();
        if hint.lower() > limit_bytes {
            return Err(BodyFault::TooLarge { limit });
        }
        self.collect((from, of), &mut body, (limit, told)).await
    }

    /// `told`: the bytes that it may come to.
    async fn collect(
        &self,
        (from, of): (Peer, &str),
        body: &mut BodyDataStream,
        (limit, told): (usize, usize),
    ) -> Result<(Bytes, Option<Turn>), BodyFault> {
        let Pace { whole, .. } = self.pace;
        let mut turn = None;
        // The first bytes keep nobody waiting.
        let mut arrival = Pace { idle: whole, ..self.pace }.begin();
        let mut came = BytesMut::new();
        loop {
            let next = timeout_at(arrival.late(), body.next()).await;
            let Some(piece) = next.map_err(|_| BodyFault::TooSlow { within: whole })? else { break };
            let piece = piece.map_err(|_| BodyFault::Broken)?;
            let length = came.len() + piece.len();
            if length > limit {
                return Err(BodyFault::TooLarge { limit });
            }
            if turn.is_none() && length > FREE {
                turn = Some(self.turn(from, of, told).await.ok_or(BodyFault::Busy)?);
                arrival = self.pace.begin();
            }
            arrival.add(piece.len() as u64);
            came.extend_from_slice(&piece);
        }
        Ok((came.freeze(), turn))
    }

    /// A turn for a body of so many bytes.
    async fn turn(&self, from: Peer, of: &str, bytes: usize) -> Option<Turn> {
        if bytes > MEDIUM {
            return self.large(from, of).await;
        }
        self.medium.take_several((from, Some(of)), bytes.div_ceil(FREE), self.wait).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use std::io;

    const SOON: Duration = Duration::from_secs(5);
    const LIMIT: usize = 2 * MEDIUM;

    fn client(last: u8) -> Peer {
        Peer::of([10, 0, 0, last].into())
    }

    /// Room for one large body, and for as many bytes of others as a large one has at least.
    fn room() -> Bodies {
        let limits = Limits {
            bodies: MEDIUM,
            bodies_per_client: MEDIUM - FREE,
            large_calls: 1,
            large_calls_per_client: 1,
            large_call_queue: SOON,
            large_idle: SOON,
            upload_rate: 1 << 10,
            body_read: Duration::from_mins(1),
            ..Limits::default()
        };
        Bodies::new(&limits, InTurn::among_addresses)
    }

    async fn read(room: &Bodies, last: u8, body: Body) -> Result<(usize, Option<Turn>), BodyFault> {
        let (bytes, turn) = room.read(client(last), "", body, LIMIT).await?;
        Ok((bytes.len(), turn))
    }

    fn whole(bytes: usize) -> Body {
        Body::from(vec![b'x'; bytes])
    }

    /// So many bytes that are there at once, and then nothing more.
    fn unfinished(bytes: usize) -> Body {
        let came = stream::iter([Ok::<_, io::Error>(Bytes::from(vec![b'x'; bytes]))]);
        Body::from_stream(came.chain(stream::pending()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_small_has_room_for_all_of_it_before_more_is_read() {
        let room = room();
        let (bytes, turn) = read(&room, 1, whole(FREE)).await.unwrap();
        assert!(bytes == FREE && turn.is_none());
        let (bytes, turn) = read(&room, 1, whole(3 * FREE)).await.unwrap();
        assert!(bytes == 3 * FREE && turn.is_some());
        assert!(
            matches!(read(&room, 1, whole(2 * FREE)).await, Err(BodyFault::Busy)),
            "its share is used up"
        );
        drop(turn);
        assert!(read(&room, 1, whole(3 * FREE)).await.is_ok());
        assert!(matches!(read(&room, 2, whole(LIMIT + 1)).await, Err(BodyFault::TooLarge { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_large_and_what_is_not_keep_each_other_from_nothing() {
        let room = room();
        let (_, large) = read(&room, 1, whole(LIMIT)).await.unwrap();
        let (_, medium) = read(&room, 1, whole(3 * FREE)).await.unwrap();
        assert!(large.is_some() && medium.is_some());
        assert!(matches!(read(&room, 2, whole(LIMIT)).await, Err(BodyFault::Busy)), "there is one");
        drop(large);
        assert!(read(&room, 2, whole(LIMIT)).await.is_ok());
        // One that does not say how large it will be may become so.
        let (_, _held) = read(&room, 2, whole(LIMIT)).await.unwrap();
        assert!(matches!(read(&room, 1, unfinished(FREE + 1)).await, Err(BodyFault::Busy)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_has_not_come_yet_has_no_turn() {
        let room = room();
        let begun = read(&room, 1, unfinished(FREE));
        let other = async {
            tokio::time::sleep(SOON).await;
            read(&room, 2, whole(LIMIT)).await.map(|(bytes, _)| bytes)
        };
        let (begun, other) = tokio::join!(begun, other);
        assert!(matches!(begun, Err(BodyFault::TooSlow { .. })));
        assert_eq!(other, Ok(LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn what_turns_out_too_large_is_read_no_further() {
        let room = room();
        assert!(matches!(
            read(&room, 1, unfinished(LIMIT + 1)).await,
            Err(BodyFault::TooLarge { limit: LIMIT })
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_a_part_holds_no_room_for_long() {
        let room = room();
        let begun = tokio::time::Instant::now();
        assert!(matches!(read(&room, 1, unfinished(2 * FREE)).await, Err(BodyFault::TooSlow { .. })));
        assert_eq!(begun.elapsed(), SOON);
        // The first bytes keep nobody waiting, so they have more time.
        let begun = tokio::time::Instant::now();
        assert!(matches!(read(&room, 1, unfinished(1)).await, Err(BodyFault::TooSlow { .. })));
        assert_eq!(begun.elapsed(), Duration::from_mins(1));
    }
}
