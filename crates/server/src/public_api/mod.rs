//! The public API under `/api/v1`, for people and their programs.

mod artifacts;
mod asked;
mod audit;
mod batch;
pub(crate) mod cursor;
mod download;
mod executors;
mod explain;
mod files;
pub(crate) mod follow;
mod health;
mod input;
mod jobs;
pub(crate) mod logs;
mod metrics;
mod paging;
mod planned;
mod problem;
mod queues;
mod registrations;
mod repositories;
mod results;
mod routes;
mod search;
mod secrets;
pub(crate) mod seen;
pub(crate) mod sent;
pub(crate) mod stream;
mod tokens;
mod uploads;
pub(crate) mod users;
mod views;

pub(crate) use health::Readiness;
pub(crate) use problem::{Refusal, SOON};
pub(crate) use views::is_active;

use crate::api::{RouteView, VersionView};
use crate::app::App;
use crate::auth;
use crate::openapi::without_query;
use axum::extract::State;
use axum::routing::{get, head};
use axum::{Json, Router, middleware};
use http::{Method, StatusCode, Uri};
use wire::paths::SCIP_PROBE;

/// Every route behind its guard, for who put the [`auth::principal::Caller`] into the request.
pub(crate) fn guarded(app: &App) -> Router<App> {
    let mut router = Router::new();
    let without_query = without_query();
    for (path, handler) in routes::all().into_iter().map(|route| route.guarded(app, &without_query)) {
        router = router.route(path, handler);
    }
    router
}

/// The routes that need a token, and those that need none.
pub(crate) fn router(app: &App) -> Router<App> {
    guarded(app)
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::api::require))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        // What old programs ask before they upload an index in the newer format.
        .route(SCIP_PROBE, head(async || StatusCode::OK))
}

/// Every route of the public API, and what each asks of its caller.
pub fn route_views() -> Vec<RouteView> {
    routes::all().iter().map(RouteView::from).collect()
}

/// No route has this path.
pub(crate) fn no_such_path(uri: &Uri) -> Refusal {
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

/// What this API is, made once.
async fn openapi(State(app): State<App>) -> Json<serde_json::Value> {
    static DOCUMENT: std::sync::OnceLock<serde_json::Value> = std::sync::OnceLock::new();
    Json(DOCUMENT.get_or_init(|| crate::openapi(&app.version)).clone())
}
