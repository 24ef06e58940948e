//! Log entries and their texts.

use super::input::{Attempt, Numbered, Parameters};
use super::problem::Refusal;
use super::{seen, views};
use crate::api::LogEntryView;
use crate::app::App;
use crate::auth::principal::Caller;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use jobs::JobId;
use serde::Deserialize;
use store::{LogEntryRow, StoreError};

/// Bytes of text read at a time.
const CHUNK: usize = 256 << 10;

/// `GET /jobs/{id}/logs`: of the latest try, or of the one that is asked for.
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    Numbered(id): Numbered<JobId>,
    Parameters(Attempt { attempt }): Parameters<Attempt>,
) -> Result<Json<Vec<LogEntryView>>, Refusal> {
    seen::job(&app, &caller, id).await?;
    let rows = app.store.log_entries(id, attempt).await?;
    Ok(Json(rows.into_iter().map(views::log_entry).collect()))
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
