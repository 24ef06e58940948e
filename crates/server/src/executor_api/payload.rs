//! Request bodies.

use super::Failure;
use crate::app::App;
use crate::body;
use crate::peer::Peer;
use crate::slots::Slot;
use axum::body::Body;
use http::StatusCode;
use serde::de::DeserializeOwned;

/// Reads a JSON body of up to `limit` bytes, which are few. Unknown keys are ignored; content types don't matter.
pub(super) async fn read<T: DeserializeOwned>(app: &App, body: Body, limit: usize) -> Result<T, Failure> {
    parse(&body::read(body, limit, app.limits.body_read).await?)
}

/// The same where they may be many, with the slot for them: to be held for as long as what was read is in memory. That may be
/// one that is `held` already.
pub(super) async fn read_large<T: DeserializeOwned>(
    app: &App,
    from: Peer,
    body: Body,
    limit: usize,
    held: Option<Slot>,
) -> Result<(T, Option<Slot>), Failure> {
    let (bytes, slot) = app.read_body(from, body, limit, held).await?;
    Ok((parse(&bytes)?, slot))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|fault| {
        Failure::text(StatusCode::BAD_REQUEST, &format!("Failed to unmarshal payload: {fault}"))
    })
}
