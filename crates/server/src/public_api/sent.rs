//! Turns to make answers, and room for them until they were sent.

use super::problem::Refusal;
use crate::answers::Reader;
use crate::api::JobView;
use crate::app::App;
use crate::auth::principal::Caller;
use crate::slots::Slot;
use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_LENGTH;

/// Makes a list in its turn: whoever asks for many at one time keeps nobody else from theirs.
pub(super) async fn in_turn(
    State(app): State<App>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    match turn(&app, &caller).await {
        Ok(_turn) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// A turn to make a list, or to count, which may cost much.
pub(crate) async fn turn(app: &App, caller: &Caller) -> Result<Slot, Refusal> {
    let turn = app.reads.take(caller.peer(), app.limits.read_queue).await;
    turn.ok_or_else(|| {
        let detail = format!(
            "too many lists and logs are being read at one time, and no turn was free for {} s: ask for one after the other, or try \
             again",
            app.limits.read_queue.as_secs()
        );
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_reads", "The server is busy", detail)
    })
}

/// The same however long it takes: the answer was begun.
pub(crate) async fn turn_in_time(app: &App, reader: &Reader) -> Slot {
    loop {
        if let Some(turn) = app.reads.take(reader.peer(), app.limits.read_queue).await {
            return turn;
        }
    }
}

/// Gives an answer its room, at once or not at all: waiting for it would keep a turn from others, or be what is in memory.
pub(super) async fn in_room(
    State(app): State<App>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    let only_reads = request.method().is_safe();
    let response = next.run(request).await;
    match app.answers.hold(&Reader::from(&caller), response).await {
        Ok(response) => response,
        Err(_) if only_reads => no_room().into_response(),
        // Something was done: nobody may take it for refused.
        Err(response) => in_short(response),
    }
}

/// What is answered where something was done and there is no room for all that there is to tell of it.
#[derive(Clone)]
pub(super) struct InShort(pub(super) JobView);

fn in_short(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Some(InShort(job)) = parts.extensions.remove() else { return Response::from_parts(parts, body) };
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Json(job).into_response().into_body())
}

/// As much is being sent as may be.
pub(super) fn no_room() -> Refusal {
    let detail =
        "too many large answers are being sent at one time: read those that you asked for, then try again";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "The server is busy", detail)
}
