//! Indexes that jobs uploaded.

use super::download::Download;
use super::input::{Numbered, Parameters};
use super::paging::Paging;
use super::problem::Refusal;
use super::{seen, views};
use crate::api::{Page, UploadView};
use crate::app::App;
use crate::auth::principal::Caller;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use jobs::{JobId, Namespace};
use serde::Deserialize;
use store::{StoreError, UploadFilter, UploadRow};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    namespace: Option<Namespace>,
    repository: Option<String>,
    job: Option<JobId>,
    limit: Option<u32>,
    cursor: Option<i64>,
}

/// `GET /uploads`
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    Parameters(filter): Parameters<Filter>,
) -> Result<Json<Page<UploadView>>, Refusal> {
    let paging = Paging::of(filter.limit)?;
    let namespace = seen::listed(&caller, filter.namespace)?;
    let Filter { repository, job, cursor: before, .. } = filter;
    let filter = UploadFilter { namespace, repository, job, before, limit: paging.look_for() };
    let rows = app.store.uploads(filter).await?;
    Ok(Json(paging.page(rows, |last| last.id.to_string(), views::upload)))
}

/// `GET /uploads/{id}`
pub(super) async fn show(
    caller: Caller,
    State(app): State<App>,
    Numbered(id): Numbered<i64>,
) -> Result<Json<UploadView>, Refusal> {
    Ok(Json(views::upload(find(&app, &caller, id).await?)))
}

/// `GET /uploads/{id}/content`: as it came, compressed with gzip.
pub(super) async fn content(
    caller: Caller,
    State(app): State<App>,
    Numbered(id): Numbered<i64>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let row = find(&app, &caller, id).await?;
    let parts = app.store.upload_parts(row.id).await?;
    let objects = parts.into_iter().map(|part| part.object).collect();
    let name = format!("index-{id}.{}.gz", views::index_kind(&row.of.content_type));
    Download { objects, name, tag: format!("upload-{id}") }.answer(&app, &caller, &headers).await
}

async fn find(app: &App, caller: &Caller, id: i64) -> Result<UploadRow, Refusal> {
    let row = app.store.upload(id).await?;
    let row = row.filter(|row| row.finished_at.is_some() && caller.sees(&row.of.namespace));
    row.ok_or_else(|| StoreError::UnknownUpload(id).into())
}

/// The refusal of an upload that is not there.
pub(super) fn unknown(told: &str) -> Refusal {
    let detail = format!("{told}: `executor upload list` tells which there are");
    Refusal::new(StatusCode::NOT_FOUND, "unknown_upload", "There is no such upload", detail)
}
