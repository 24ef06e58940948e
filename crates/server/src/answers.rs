//! Room for answers while they are sent.
//!
//! What was made for somebody who does not read it stays in memory until they do, or until their connection ends minutes later.
//! So what is not small has room of its own for as long as its bytes are in memory, wherever those are by then: in the body,
//! or with the connection, which takes a body's last bytes before they are sent.

use crate::auth::principal::Caller;
use crate::bodies::FREE;
use crate::body::Along;
use crate::peer::Peer;
use crate::slots::{InTurn, Turn};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Bytes that a connection is given at a time.
const PIECE: usize = FREE;
/// How long a place in the queue for room is kept.
const A_WHILE: Duration = Duration::from_mins(1);

/// The room that there is: a slot for every [`FREE`] bytes.
pub(crate) struct Answers(InTurn);

/// Who an answer is for.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    from: Peer,
    /// With whom its address shares room, where it is not all that address's.
    namespace: Option<String>,
}

impl Reader {
    /// Somebody at an address, and of a namespace that shares with others.
    pub(crate) const fn sharing(from: Peer, namespace: Option<String>) -> Self {
        Self { from, namespace }
    }

    /// From where they read.
    pub(crate) const fn peer(&self) -> Peer {
        self.from
    }
}

impl From<&Caller> for Reader {
    fn from(caller: &Caller) -> Self {
        Self { from: caller.peer(), namespace: Some(caller.namespace.key()) }
    }
}

/// Room for an answer, or for a piece of one.
pub(crate) struct Room {
    _slots: Option<Turn>,
}

impl Answers {
    /// Room for so many bytes together, and for those to one address.
    pub(crate) fn new(bytes: usize, per_client: usize) -> Self {
        Self(InTurn::new(bytes / FREE, per_client / FREE))
    }

    /// The answer with its room, if it needs any; as it was where there is none. What is streamed takes room by itself.
    pub(crate) async fn hold(&self, reader: &Reader, response: Response) -> Result<Response, Response> {
        let Some(length) = response.body().size_hint().exact().filter(|length| *length > FREE as u64) else {
            return Ok(response);
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(room) = self.room(reader, length) else { return Err(response) };
        let (parts, body) = response.into_parts();
        Ok(Response::from_parts(parts, in_pieces(room.keep(whole(body).await))))
    }

    /// Room for so many bytes, if there is some now. Few bytes need none.
    pub(crate) fn room(&self, reader: &Reader, bytes: usize) -> Option<Room> {
        let Reader { from, namespace } = reader;
        match slots(bytes) {
            0 => Some(Room::of_little()),
            several => self.0.try_take_several((*from, namespace.as_deref()), several).map(Room::of),
        }
    }

    /// The same however long it takes: the answer was begun.
    pub(crate) async fn room_in_time(&self, reader: &Reader, bytes: usize) -> Room {
        let Reader { from, namespace } = reader;
        loop {
            if let Some(room) = self.room(reader, bytes) {
                return room;
            }
            let taken = self.0.take_several((*from, namespace.as_deref()), slots(bytes), A_WHILE).await;
            if let Some(room) = taken.map(Room::of) {
                return room;
            }
        }
    }
}

/// All of a body whose length is known: it is in memory as it is.
async fn whole(body: Body) -> Bytes {
    body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

const fn slots(bytes: usize) -> usize {
    if bytes <= FREE { 0 } else { bytes.div_ceil(FREE) }
}

impl Room {
    const fn of(slots: Turn) -> Self {
        Self { _slots: Some(slots) }
    }

    /// That of what is small.
    pub(crate) const fn of_little() -> Self {
        Self { _slots: None }
    }

    /// The bytes, which keep their room until nobody has any of them.
    pub(crate) fn keep(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Kept { bytes, _room: self })
    }
}

/// A body of which never more is in memory than there is room for, for as long as any of it is to come.
pub(crate) fn in_room(body: Body, room: Room) -> Body {
    Body::new(Along::new(body, room))
}

struct Kept<B> {
    bytes: B,
    _room: Room,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Kept<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// A body that is given to its connection a piece at a time: there they may be copied.
pub(crate) fn in_pieces(bytes: Bytes) -> Body {
    Body::new(Pieces(bytes).map_err(|never| match never {}))
}

/// The same, where they are part of a longer body.
pub(crate) fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || next_piece(&mut bytes))
}

fn next_piece(bytes: &mut Bytes) -> Option<Bytes> {
    let length = bytes.len().min(PIECE);
    (length > 0).then(|| bytes.split_to(length))
}

struct Pieces(Bytes);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(next_piece(&mut self.0).map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(last: u8, namespace: &str) -> Reader {
        Reader { from: Peer::of([10, 0, 0, last].into()), namespace: Some(namespace.to_owned()) }
    }

    #[tokio::test]
    async fn bytes_have_their_room_until_the_last_of_them_are_gone() {
        let answers = Answers::new(8 * FREE, 4 * FREE);
        let one = reader(1, "org:a");
        let room = answers.room(&one, 3 * FREE + 1).expect("there is room");
        let mut body = in_pieces(room.keep(vec![b'x'; 3 * FREE + 1]));
        assert_eq!(HttpBody::size_hint(&body).exact(), Some(3 * FREE as u64 + 1));
        let mut last = Bytes::new();
        let mut length = 0;
        while let Some(piece) = body.frame().await {
            last = piece.unwrap().into_data().unwrap();
            length += last.len();
            assert!(last.len() <= PIECE);
        }
        assert_eq!(length, 3 * FREE + 1);
        drop(body);
        assert!(answers.room(&one, 2 * FREE).is_none(), "the connection has the last piece");
        assert!(answers.room(&one, FREE).is_some(), "small ones need none");
        drop(last);
        assert!(answers.room(&one, 4 * FREE).is_some());
    }

    #[tokio::test]
    async fn neither_an_address_nor_a_namespace_has_all_room() {
        let answers = Answers::new(8 * FREE, 6 * FREE);
        let half = answers.room(&reader(1, "org:a"), 100 * FREE).expect("the half of it");
        assert!(answers.room(&reader(2, "org:a"), 2 * FREE).is_none());
        let two = answers.room(&reader(1, "org:b"), 2 * FREE).expect("the address has six");
        assert!(answers.room(&reader(1, "org:b"), 2 * FREE).is_none());
        assert!(answers.room(&reader(2, "org:b"), 2 * FREE).is_some());
        drop((half, two));
    }
}
