//! Turns to make answers, and room for them until they were sent.

use super::problem::Refusal;
use crate::answers::{Reader, in_pieces};
use crate::app::App;
use crate::auth::principal::Caller;
use crate::bodies::FREE;
use crate::slots::Slot;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;

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

/// A turn to make a list, which may cost much.
async fn turn(app: &App, caller: &Caller) -> Result<Slot, Refusal> {
    let turn = app.reads.take(caller.peer(), app.limits.read_queue).await;
    turn.ok_or_else(|| {
        let detail = format!(
            "too many lists are asked for at one time, and no turn was free for {} s: ask for one after the other, or try again",
            app.limits.read_queue.as_secs()
        );
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_reads", "The server is busy", detail)
    })
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
    // What is streamed takes room for each piece by itself, if it needs any.
    let Some(length) = response.body().size_hint().exact().filter(|length| *length > FREE as u64) else {
        return response;
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    match app.answers.room(&Reader::from(&caller), length) {
        Some(room) => {
            let (parts, body) = response.into_parts();
            Response::from_parts(parts, in_pieces(room.keep(whole(body).await)))
        }
        None if only_reads => no_room().into_response(),
        // Something was done: nobody may take it for refused.
        None => response,
    }
}

/// All of a body whose length is known: it is in memory as it is.
async fn whole(body: Body) -> Bytes {
    body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

/// As much is being sent as may be.
pub(super) fn no_room() -> Refusal {
    let detail =
        "too many large answers are being sent at one time: read those that you asked for, then try again";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "The server is busy", detail)
}
