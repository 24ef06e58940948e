//! A job's log as Server-Sent Events.

use super::cursor::{BadCursor, Cursor};
use super::follow::{Ended, Follower, Told};
use super::input::{Numbered, Parameters, invalid_query};
use super::problem::Refusal;
use super::seen;
use crate::answers::pieces;
use crate::api::LogEvent;
use crate::app::App;
use crate::auth::principal::Caller;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use futures_util::{StreamExt, TryStreamExt};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use jobs::JobId;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::JobRow;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A comment this often keeps proxies from closing a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that wait for a slow client.
const EVENTS_AHEAD: usize = 2;
/// A comment.
const NOTHING: Bytes = Bytes::from_static(b":\n\n");
/// Where a browser tells the last event it got.
const LAST_EVENT_ID: &str = "Last-Event-ID";
/// Tells nginx and its like to pass events on as they come.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    cursor: Option<String>,
}

/// `GET /jobs/{id}/logs/stream`
pub(super) async fn open(
    caller: Caller,
    State(app): State<App>,
    Numbered(id): Numbered<JobId>,
    Parameters(From { cursor }): Parameters<From>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let job = seen::job(&app, &caller, id).await?;
    let cursor = resume(&headers, cursor)?;
    check_readable(&app, &job, &cursor).await?;
    Ok(answer(server_sent(follow(&app, &caller, id, cursor))))
}

/// Where to begin: what a reconnecting browser tells is newer than what the page was opened with.
pub(crate) fn resume(headers: &HeaderMap, cursor: Option<String>) -> Result<Cursor, Refusal> {
    let resumed = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let cursor = resumed.or(cursor).filter(|cursor| !cursor.is_empty());
    cursor
        .map_or_else(|| Ok(Cursor::default()), |text| text.parse())
        .map_err(|fault: BadCursor| invalid_query(fault.to_string()))
}

/// Refuses what the follower would break off at, while that can be told in words: text that is kept and not to be had here.
async fn check_readable(app: &App, job: &JobRow, cursor: &Cursor) -> Result<(), Refusal> {
    let attempt = if cursor.attempt == 0 { job.record.epoch } else { cursor.attempt };
    let entries = app.store.log_outline(job.id, attempt, cursor.done(), u32::MAX).await?;
    let next = entries.iter().find_map(|row| {
        let sent = cursor.offset(row.entry).filter(|sent| row.length > *sent)?;
        Some((row, sent))
    });
    if let Some((row, sent)) = next {
        app.store.read_log(job.id, row.epoch, row.entry, sent, 1).await?;
    }
    Ok(())
}

/// What there is to tell of a job from `cursor` on, as it comes. That the caller may know of it was looked at.
pub(crate) fn follow(app: &App, caller: &Caller, id: JobId, cursor: Cursor) -> mpsc::Receiver<Told> {
    let (events, told) = mpsc::channel(EVENTS_AHEAD);
    let follower = Follower::new(app.clone(), id, cursor, events, caller);
    app.tasks.spawn(async move {
        if let Err(Ended::Failed(refusal)) = follower.run().await {
            // Logged where it failed. The stream breaks off without an end, so the client resumes.
            tracing::debug!(job = %id, ?refusal, "a log stream broke off");
        }
    });
    told
}

/// An event as it is sent, or why it can't be.
pub(crate) type Written = Result<Bytes, serde_json::Error>;

/// Events as they come, with something now and then so that nobody takes the connection for dead.
pub(crate) fn answer(events: impl Stream<Item = Written> + Send + 'static) -> Response {
    let events =
        stream::unfold(Box::pin(events), async |mut events| match timeout(KEEP_ALIVE, events.next()).await {
            Ok(event) => Some((event?, events)),
            Err(_) => Some((Ok(NOTHING), events)),
        });
    let pieces = events.map_ok(|event| stream::iter(pieces(event).map(Written::Ok))).try_flatten();
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache"), UNBUFFERED];
    (headers, Body::from_stream(pieces)).into_response()
}

/// An event as it is sent. JSON as we write it has no line ends.
pub(crate) fn written(name: &str, cursor: &str, data: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = format!("event: {name}\nid: {cursor}\ndata: ").into_bytes();
    serde_json::to_writer(&mut text, data)?;
    text.extend_from_slice(b"\n\n");
    Ok(text)
}

fn server_sent(told: mpsc::Receiver<Told>) -> impl Stream<Item = Written> {
    stream::unfold(told, async |mut told| {
        let Told { event, cursor, room } = told.recv().await?;
        let sent = written(name(&event), &cursor, &event).map(|text| room.keep(text));
        Some((sent, told))
    })
}

/// The `event` field, the same as `type` in the data.
const fn name(event: &LogEvent) -> &'static str {
    match event {
        LogEvent::State(_) => "state",
        LogEvent::Entry(_) => "entry",
        LogEvent::Text { .. } => "text",
        LogEvent::End(_) => "end",
    }
}
