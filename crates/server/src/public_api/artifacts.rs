//! Files that jobs left.

use super::download::Download;
use super::input::{Attempt, Numbered, Parameters};
use super::problem::Refusal;
use super::{seen, views};
use crate::api::ArtifactView;
use crate::app::App;
use crate::auth::principal::Caller;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use jobs::JobId;
use store::ArtifactRow;

/// `GET /jobs/{id}/artifacts`: of the latest try, or of the one that is asked for.
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    Numbered(id): Numbered<JobId>,
    Parameters(Attempt { attempt }): Parameters<Attempt>,
) -> Result<Json<Vec<ArtifactView>>, Refusal> {
    let rows = rows(&app, &caller, id, attempt).await?;
    Ok(Json(rows.into_iter().map(views::artifact).collect()))
}

/// `GET /jobs/{id}/artifacts/{name}`: the artifact's only file, or with the file's path after the name one of several.
pub(super) async fn content(
    caller: Caller,
    State(app): State<App>,
    Numbered((id, file)): Numbered<(JobId, String)>,
    Parameters(Attempt { attempt }): Parameters<Attempt>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let rows = rows(&app, &caller, id, attempt).await?;
    let (name, path) = file.split_once('/').map_or((file.as_str(), None), |(name, path)| (name, Some(path)));
    let of_it: Vec<ArtifactRow> = rows.into_iter().filter(|row| row.of.name == name).collect();
    let found = match path {
        Some(path) => of_it.iter().find(|row| row.of.path == path),
        None => of_it.first().filter(|_| of_it.len() == 1),
    };
    let row = found.ok_or_else(|| {
        let detail = if path.is_none() && of_it.len() > 1 {
            format!(
                "artifact {name:?} of job {id} has {} files: add the path of one, as the list has it",
                of_it.len()
            )
        } else {
            format!("job {id} has left no {file:?}: `executor job artifacts {id}` tells what it has")
        };
        Refusal::new(StatusCode::NOT_FOUND, "unknown_artifact", "There is no such artifact", detail)
    })?;
    let base = row.of.path.rsplit('/').next().unwrap_or_default().to_owned();
    let object = row.of.object.clone();
    Download { tag: object.sha256.clone(), objects: vec![object], name: base }
        .answer(&app, &caller, &headers)
        .await
}

async fn rows(
    app: &App,
    caller: &Caller,
    id: JobId,
    attempt: Option<u32>,
) -> Result<Vec<ArtifactRow>, Refusal> {
    let job = seen::job(app, caller, id).await?;
    Ok(app.store.artifacts(id, attempt.unwrap_or(job.record.epoch)).await?)
}
