//! Request bodies.

use super::Failure;
use crate::app::App;
use crate::bodies::Bodies;
use crate::body;
use crate::peer::Peer;
use crate::slots::Turn;
use axum::body::Body;
use http::StatusCode;
use serde::de::DeserializeOwned;

/// Executors and their jobs call for no namespace.
const NOBODYS: &str = "";

/// Reads a JSON body of up to `limit` bytes, which are few. Unknown keys are ignored; content types don't matter.
pub(super) async fn read<T: DeserializeOwned>(app: &App, body: Body, limit: usize) -> Result<T, Failure> {
    parse(&body::read(body, limit, app.limits.body_read).await?)
}

/// The same where they may be many, with the turn that it took: to be held for as long as what was read is in memory.
pub(super) async fn read_large<T: DeserializeOwned>(
    room: &Bodies,
    from: Peer,
    body: Body,
    limit: usize,
) -> Result<(T, Option<Turn>), Failure> {
    let (bytes, turn) = room.read(from, NOBODYS, body, limit).await?;
    Ok((parse(&bytes)?, turn))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|fault| {
        Failure::text(StatusCode::BAD_REQUEST, &format!("Failed to unmarshal payload: {fault}"))
    })
}
