//! Taking indexes that jobs upload, with the shared secret as documented, since jobs may be given that, or with a job's own token.

use super::Failure;
use crate::app::App;
use crate::auth::uploader::Uploader;
use crate::peer::Peer;
use crate::uploads::{self, Ask, Done, UploadFault};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use wire::upload::UploadAccepted;

/// `POST`: an index, the beginning of one, a part of it, or its end.
pub(super) async fn upload(
    by: Uploader,
    State(app): State<App>,
    Extension(from): Extension<Peer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let ask = Ask::read(query.as_deref().unwrap_or_default(), &headers).map_err(|fault| refuse(&fault))?;
    let running = app.clone();
    let done = app.see_through(async move { uploads::serve(&running, (by, from), ask, body).await }).await?;
    match done.map_err(|fault| refuse(&fault))? {
        Done::Accepted(id) => {
            tracing::info!(upload = id, "an index is uploaded");
            Ok((StatusCode::ACCEPTED, Json(UploadAccepted { id: id.to_string() })).into_response())
        }
        Done::Noted => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// `HEAD`: yes, indexes in the newer format are taken.
pub(super) async fn probe(_: Uploader) -> StatusCode {
    StatusCode::OK
}

pub(super) fn refuse(fault: &UploadFault) -> Failure {
    let status = fault.status();
    if status.is_server_error() {
        tracing::error!(error = fault as &dyn std::error::Error, "an index was not taken");
    }
    Failure::text(status, &format!("failed to enqueue payload: {fault}"))
}
