//! Request bodies.

use super::Failure;
use crate::app::App;
use crate::body;
use axum::body::Body;
use http::StatusCode;
use serde::de::DeserializeOwned;

/// Reads a JSON body of up to `limit` bytes. Unknown keys are ignored; content types don't matter.
pub(super) async fn read<T: DeserializeOwned>(app: &App, body: Body, limit: usize) -> Result<T, Failure> {
    let bytes = body::read(body, limit, app.limits.body_read).await?;
    serde_json::from_slice(&bytes).map_err(|fault| {
        Failure::text(StatusCode::BAD_REQUEST, &format!("Failed to unmarshal payload: {fault}"))
    })
}
