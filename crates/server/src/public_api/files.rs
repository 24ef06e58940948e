//! Uploading files that jobs bring along.

use super::input::Parameters;
use super::problem::Refusal;
use super::views;
use crate::api::FileView;
use crate::app::App;
use crate::auth::principal::Caller;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jobs::name::is_shown_as_it_is;
use jobs::{JobSpec, Namespace};
use serde::Deserialize;
use store::StoreError;

/// Bytes of a file's name at most.
const MAX_NAME: usize = 255;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct About {
    name: String,
    modified_at: Option<Timestamp>,
}

/// `POST /files`: the body is the file. If the client hangs up meanwhile, nothing is kept.
pub(super) async fn upload(
    caller: Caller,
    State(app): State<App>,
    Parameters(About { name, modified_at }): Parameters<About>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<FileView>), Refusal> {
    if name.len() > MAX_NAME || !is_shown_as_it_is(&name) {
        return Err(super::input::invalid_query(format!(
            "name must have 1 to {MAX_NAME} bytes, not be blank, and have no control, invisible or direction-changing character"
        )));
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let title = "The request body can't be taken";
        let detail = "a file is kept as it comes: send it without Content-Encoding";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoded_file", title, detail));
    }
    let arrived = app.files.receive(body, caller.peer(), &caller.namespace).await?;
    let modified_at = modified_at.unwrap_or_else(|| app.clock.now());
    let (running, namespace) = (app.clone(), caller.principal.namespace);
    let kept = async move { running.files.keep(arrived, name, modified_at, namespace).await };
    let row = app.see_through(kept).await??;
    tracing::info!(file = row.id, size = row.size, "a file was uploaded");
    Ok((StatusCode::CREATED, Json(views::file(row))))
}

/// Looks at what a job wants to bring along: it must be there, of the job's own namespace, and not be too much. What is known only
/// here is noted in the specification.
pub(super) async fn look_up(app: &App, namespace: &Namespace, spec: &mut JobSpec) -> Result<(), Refusal> {
    let mut size = 0;
    for file in &mut spec.files {
        let Some(id) = &file.upload else { continue };
        let found = app.store.file(id).await?.filter(|row| row.namespace == *namespace);
        let row = found.ok_or_else(|| StoreError::UnknownFile(id.clone()))?;
        file.modified_at.get_or_insert(row.modified_at);
        size += row.size;
    }
    let limit = app.limits.job_files;
    if size <= limit {
        return Ok(());
    }
    let detail = format!("the job's uploaded files take {size} bytes: at most {limit} are allowed together");
    let title = "The job can't be run as it is";
    Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_job", title, detail))
}
