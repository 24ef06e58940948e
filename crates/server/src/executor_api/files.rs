//! Workspace files. None can be uploaded yet, so there is none to download.

use super::Failure;
use crate::app::App;
use crate::auth::job::{Scope, authenticate};
use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode};

/// The queue whose jobs may read files.
const QUEUE: &str = "batches";

/// Answers GET, and without a body HEAD.
pub(super) async fn download(
    State(app): State<App>,
    Path((_bucket, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<(), Failure> {
    authenticate(&app, &headers, Scope::Queue(QUEUE)).await?;
    let has_both_parts = key.split_once('/').is_some_and(|(spec, file)| !spec.is_empty() && !file.is_empty());
    if !has_both_parts {
        return Err(Failure::text(StatusCode::BAD_REQUEST, "the path must be batch-changes/{spec}/{file}"));
    }
    Err(Failure::text(StatusCode::NOT_FOUND, "workspace file does not exist"))
}
