//! Log entries and their texts.

use super::input::{Attempt, Numbered, Parameters};
use super::problem::Refusal;
use super::{seen, views};
use crate::app::App;
use crate::auth::principal::Caller;
use crate::peer::Peer;
use crate::slots::Slot;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use jobs::JobId;
use serde::Deserialize;
use store::{LogEntryRow, StoreError};

/// Bytes of text read at a time.
const CHUNK: usize = 256 << 10;
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
    let _turn = seen::turn(&app, &caller).await?;
    // Should it not be to be had, that is told while it still can be.
    let from = Peer::of(caller.from);
    let mut list = List { app, from, id, epoch: attempt.unwrap_or(latest), told: 0, is_over: false };
    let first = list.next().await?;
    let rest = stream::try_unfold(list, |mut list| async move {
        // Each has a turn of its own: who takes none keeps nobody waiting.
        let _turn = list.turn().await;
        Ok::<_, StoreError>(list.next().await?.map(|piece| (piece, list)))
    });
    let pieces = stream::iter(first.map(Ok)).chain(rest);
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response())
}

/// A list of entries that is written a piece at a time, as it is taken: with their commands many are megabytes.
struct List {
    app: App,
    from: Peer,
    id: JobId,
    epoch: u32,
    /// The number of the last entry that was written.
    told: i64,
    is_over: bool,
}

impl List {
    /// The turn for another piece, however long that takes: the answer was begun.
    async fn turn(&self) -> Slot {
        loop {
            if let Some(turn) = self.app.reads.take(self.from, self.app.limits.read_queue).await {
                return turn;
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if self.is_over {
            return Ok(None);
        }
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
                    return Ok(Some(piece.into()));
                }
            }
            if is_last {
                self.is_over = true;
                piece.extend_from_slice(if self.told == 0 { b"[]" } else { b"]" });
                return Ok(Some(piece.into()));
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

/// `GET /jobs/{id}/logs/{entry}/text`: from an offset to where the text ends now.
pub(super) async fn text(
    caller: Caller,
    State(app): State<App>,
    Numbered((id, number)): Numbered<(JobId, i64)>,
    Parameters(Part { attempt, offset }): Parameters<Part>,
) -> Result<Response, Refusal> {
    seen::job(&app, &caller, id).await?;
    let entry = app.store.log_entry(id, attempt, number).await?;
    // Should its text not be to be had, that is told while it still can be.
    let first = app.store.read_log(id, entry.epoch, number, offset, CHUNK).await?;
    // Whatever a job printed is text and nothing else, whatever a browser makes of its looks.
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, text_body(app, id, &entry, offset, first)).into_response())
}

fn text_body(app: App, id: JobId, entry: &LogEntryRow, offset: u64, first: Vec<u8>) -> Body {
    let (epoch, number, end) = (entry.epoch, entry.entry, entry.length);
    Body::from_stream(stream::try_unfold((offset, Some(first)), move |(offset, first)| {
        let store = app.store.clone();
        async move {
            if offset >= end {
                return Ok(None);
            }
            let text = match first {
                Some(first) => first,
                None => store.read_log(id, epoch, number, offset, CHUNK).await?,
            };
            let next = offset + text.len() as u64;
            Ok::<_, StoreError>((next > offset).then(|| (Bytes::from(text), (next, None))))
        }
    }))
}
