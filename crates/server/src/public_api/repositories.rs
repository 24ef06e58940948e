//! Adding, listing and removing repositories.

use super::input::json;
use super::problem::Refusal;
use super::views;
use crate::api::{AddRepository, RepositoryView};
use crate::app::App;
use crate::git::{GitFault, Source};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::StatusCode;

/// Bytes of what tells about a repository at most.
const MAX_BODY: usize = 64 << 10;

/// `GET /repositories`
pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<RepositoryView>>, Refusal> {
    let rows = app.store.repositories().await?;
    Ok(Json(rows.into_iter().map(views::repository).collect()))
}

/// `POST /repositories`: mirrors the source first, so a repository that is listed can be used. If the
/// client hangs up meanwhile, nothing is added.
pub(super) async fn add(
    State(app): State<App>,
    body: Body,
) -> Result<(StatusCode, Json<RepositoryView>), Refusal> {
    let AddRepository { name, source } = json(&app, body, MAX_BODY, "invalid_repository").await?;
    let invalid = |detail: String| {
        let title = "The repository can't be added as it is";
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_repository", title, detail)
    };
    jobs::name::check_repository(&name).map_err(|fault| invalid(fault.to_string()))?;
    let source = Source::parse(&source).map_err(|fault| invalid(fault.to_string()))?;
    // A source that is named for the first time and can't be read is most likely named wrongly.
    let fetched = app.repositories.fetch_new(&name, &source).await.map_err(|fault| match fault {
        GitFault::Unreachable { .. } => Refusal::from(fault).with_status(StatusCode::UNPROCESSABLE_ENTITY),
        fault => fault.into(),
    })?;
    let running = app.clone();
    let kept = app.see_through(async move { running.repositories.keep(fetched, name, &source).await });
    let row = kept.await??;
    tracing::info!(repository = row.name, source = row.source, "a repository was added");
    Ok((StatusCode::CREATED, Json(views::repository(row))))
}

/// `DELETE /repositories/{name}`
pub(super) async fn remove(State(app): State<App>, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    let (running, named) = (app.clone(), name.clone());
    let removed = app.see_through(async move { running.repositories.remove(&named).await }).await??;
    if removed {
        tracing::info!(repository = name, "a repository was removed");
        return Ok(StatusCode::NO_CONTENT);
    }
    let detail = format!("there is no repository {name:?}: `executor repo list` tells which there are");
    Err(Refusal::new(StatusCode::NOT_FOUND, "unknown_repository", "There is no such repository", detail))
}
