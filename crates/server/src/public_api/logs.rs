//! Log entries and their texts.

use super::input::{Attempt, Numbered, Parameters};
use super::problem::Refusal;
use super::{seen, sent, views};
use crate::answers::{Reader, Room};
use crate::api::LogEntryView;
use crate::app::App;
use crate::auth::principal::Caller;
use crate::executor_api::MAX_COMMAND;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use jobs::JobId;
use serde::Deserialize;
use store::{LogEntryRow, StoreError};

/// Bytes of text read at a time, and after which a piece of a list ends.
const CHUNK: usize = 256 << 10;
/// What a piece of a list is at most: it ends with a whole entry, whose command may be six times as long as JSON.
const MOST_PIECE: usize = CHUNK + 6 * MAX_COMMAND;
/// Entries that are looked up at a time.
const AT_ONCE: u32 = 500;

/// `GET /jobs/{id}/logs`: of the latest try, or of the one that is asked for.
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    Numbered(id): Numbered<JobId>,
    Parameters(Attempt { attempt }): Parameters<Attempt>,
) -> Result<Response, Refusal> {
    let latest = seen::job(&app, &caller, id).await?.record.epoch;
    // Should it not be to be had, that is told while it still can be.
    let reader = Reader::from(&caller);
    let mut list = List { app, reader, id, epoch: attempt.unwrap_or(latest), told: 0, is_over: false };
    let first = list.next().await?;
    let room = list.app.answers.room(&list.reader, first.len());
    let first = room.ok_or_else(sent::no_room)?.keep(first);
    let rest = stream::try_unfold(list, |mut list| async move {
        if list.is_over {
            return Ok(None);
        }
        // Each has a turn of its own, and room before it: who takes none keeps nobody waiting.
        let room = list.app.answers.room_in_time(&list.reader, MOST_PIECE).await;
        let _turn = sent::turn_in_time(&list.app, &list.reader).await;
        let piece = list.next().await?;
        Ok::<_, StoreError>(Some((room.keep(piece), list)))
    });
    let pieces = stream::iter([Ok(first)]).chain(rest);
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response())
}

/// Some entries of a try after one of them, without their commands.
pub(crate) async fn outline(
    app: &App,
    (id, epoch): (JobId, u32),
    after: i64,
    most: u32,
) -> Result<Vec<LogEntryView>, StoreError> {
    let rows = app.store.log_outline(id, epoch, after, most).await?;
    Ok(rows.into_iter().map(views::log_entry).collect())
}

/// A list of entries that is written a piece at a time, as it is taken: with their commands many are megabytes.
struct List {
    app: App,
    reader: Reader,
    id: JobId,
    epoch: u32,
    /// The number of the last entry that was written.
    told: i64,
    is_over: bool,
}

impl List {
    /// The next piece, while it is not over.
    async fn next(&mut self) -> Result<Vec<u8>, StoreError> {
        let store = &self.app.store;
        let mut piece = Vec::new();
        loop {
            let rows = store.log_outline(self.id, self.epoch, self.told, AT_ONCE).await?;
            let is_last = rows.len() < AT_ONCE as usize;
            for row in rows {
                let command = store.log_command(self.id, self.epoch, row.entry).await?;
                piece.push(if self.told == 0 { b'[' } else { b',' });
                self.told = row.entry;
                let view = views::log_entry(LogEntryRow { command, ..row });
                serde_json::to_writer(&mut piece, &view)
                    .map_err(|fault| StoreError::Database(fault.into()))?;
                if piece.len() >= CHUNK {
                    return Ok(piece);
                }
            }
            if is_last {
                self.is_over = true;
                piece.extend_from_slice(if self.told == 0 { b"[]" } else { b"]" });
                return Ok(piece);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    attempt: Option<u32>,
    #[serde(default)]
    offset: u64,
}

/// It is asked for by a page that is being sent, and waits for room as what was begun does.
#[derive(Clone, Copy)]
pub(crate) struct Begun;

/// `GET /jobs/{id}/logs/{entry}/text`: from an offset to where the text ends now.
pub(super) async fn text(
    begun: Option<Extension<Begun>>,
    caller: Caller,
    State(app): State<App>,
    Numbered((id, number)): Numbered<(JobId, i64)>,
    Parameters(Part { attempt, offset }): Parameters<Part>,
) -> Result<Response, Refusal> {
    seen::job(&app, &caller, id).await?;
    let entry = app.store.log_entry(id, attempt, number).await?;
    let text = Text { app, reader: Reader::from(&caller), id, entry, offset };
    let length = text.next_length();
    let room = match begun {
        Some(_) => text.app.answers.room_in_time(&text.reader, length).await,
        None => text.app.answers.room(&text.reader, length).ok_or_else(sent::no_room)?,
    };
    // Should its text not be to be had, that is told while it still can be.
    let (first, text) = text.next(room).await?;
    // Whatever a job printed is text and nothing else, whatever a browser makes of its looks.
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, text.body(first)).into_response())
}

/// The text of an entry that is read a piece at a time, as it is taken.
struct Text {
    app: App,
    reader: Reader,
    id: JobId,
    entry: LogEntryRow,
    offset: u64,
}

impl Text {
    /// Bytes of the next piece at most.
    fn next_length(&self) -> usize {
        let left = self.entry.length.saturating_sub(self.offset);
        usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK))
    }

    /// The next piece, which is empty when there is no more.
    async fn next(mut self, room: Room) -> Result<(Bytes, Self), StoreError> {
        let length = self.next_length();
        if length == 0 {
            return Ok((Bytes::new(), self));
        }
        let (epoch, number) = (self.entry.epoch, self.entry.entry);
        let text = self.app.store.read_log(self.id, epoch, number, self.offset, length).await?;
        self.offset += text.len() as u64;
        Ok((room.keep(text), self))
    }

    fn body(self, first: Bytes) -> Body {
        let rest = stream::try_unfold(self, |text| async move {
            let length = text.next_length();
            if length == 0 {
                return Ok(None);
            }
            let room = text.app.answers.room_in_time(&text.reader, length).await;
            let (piece, text) = text.next(room).await?;
            Ok::<_, StoreError>((!piece.is_empty()).then_some((piece, text)))
        });
        Body::from_stream(stream::iter([Ok(first)]).chain(rest))
    }
}
