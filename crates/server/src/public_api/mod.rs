//! The public API under `/api/v1`, for people and their programs.

mod cursor;
mod executors;
mod explain;
mod files;
mod follow;
mod input;
mod jobs;
mod logs;
mod problem;
mod queues;
mod repositories;
mod stream;
mod views;

pub(crate) use problem::Refusal;

use crate::api::VersionView;
use crate::app::App;
use crate::auth;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router, middleware};
use http::{Method, StatusCode, Uri};

/// The routes that need the API token, and the one that needs none.
pub(crate) fn router(app: &App) -> Router<App> {
    Router::new()
        .route("/api/v1/jobs", post(jobs::submit).get(jobs::list))
        .route("/api/v1/jobs/{id}", get(jobs::show))
        .route("/api/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/api/v1/jobs/{id}/logs", get(logs::list))
        .route("/api/v1/jobs/{id}/logs/stream", get(stream::open))
        .route("/api/v1/jobs/{id}/logs/{entry}/text", get(logs::text))
        .route("/api/v1/repositories", get(repositories::list).post(repositories::add))
        .route("/api/v1/repositories/{*name}", delete(repositories::remove))
        .route("/api/v1/files", post(files::upload))
        .route("/api/v1/jobs/{id}/explain", get(explain::explain))
        .route("/api/v1/queues", get(queues::list))
        .route("/api/v1/queues/{name}", get(queues::show).patch(queues::change))
        .route("/api/v1/executors", get(executors::list))
        .route("/api/v1/executors/{name}", patch(executors::change))
        .route("/api/v1/version", get(version))
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::api::require))
        .route("/healthz", get(health))
}

/// No route has this path.
pub(crate) async fn no_such_path(uri: Uri) -> Refusal {
    let detail = format!("nothing is served at {}", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, "no_such_path", "There is no such path", detail)
}

/// The path is right, the method is not.
pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    let detail = format!("{method} is not possible at {}: the header Allow lists what is", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "no_such_method", "The method is not possible here", detail)
}

async fn version(State(app): State<App>) -> Json<VersionView> {
    Json(VersionView { version: app.version.clone() })
}

/// 200 while the server takes work, 503 from the moment it begins to stop.
async fn health(State(app): State<App>) -> Response {
    if app.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping").into_response();
    }
    "ok".into_response()
}
