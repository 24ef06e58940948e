//! A job's log as Server-Sent Events.

use super::cursor::{BadCursor, Cursor};
use super::follow::{Ended, Follower, Told};
use super::input::{Numbered, Parameters, invalid_query};
use super::problem::Refusal;
use super::seen;
use crate::api::LogEvent;
use crate::app::App;
use crate::auth::principal::Caller;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, HeaderName};
use jobs::JobId;
use serde::Deserialize;
use std::time::Duration;
use store::JobRow;
use tokio::sync::mpsc;

/// A comment this often keeps proxies from closing a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that wait for a slow client.
const EVENTS_AHEAD: usize = 8;
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

/// Events as they come, with something now and then so that nobody takes the connection for dead.
pub(crate) fn answer(
    events: impl stream::Stream<Item = Result<Event, axum::Error>> + Send + 'static,
) -> Response {
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    ([UNBUFFERED], Sse::new(events).keep_alive(keep_alive)).into_response()
}

fn server_sent(told: mpsc::Receiver<Told>) -> impl stream::Stream<Item = Result<Event, axum::Error>> {
    stream::unfold(told, async |mut told| {
        let (event, cursor) = told.recv().await?;
        let sent = Event::default().event(name(&event)).id(cursor).json_data(&event);
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
