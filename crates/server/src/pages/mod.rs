//! The pages: what people see of the control plane in a browser.
//!
//! They are a client of the public API within this process: a page asks [`crate::public_api`] with the caller that its session
//! proves, so what somebody sees and may do there is what their token would. What comes back is data that jobs had a hand
//! in: [`plain`] takes out of every string of it what could change how other text looks, and maud escapes all of it.
//!
//! Every page works without JavaScript, forms and redirects included; the modules in `assets` only keep it up to date.

mod account;
mod assets;
mod audit;
mod executors;
mod fault;
mod frame;
mod headers;
mod job;
mod jobs;
mod log;
mod origin;
mod parts;
mod plain;
mod queues;
mod repositories;
mod results;
mod routes;
mod secrets;
mod session;
mod sign_in;
mod timeline;
mod tokens;
mod users;
mod visit;

pub(crate) use plain::is_unseen;

use crate::app::App;
use crate::public_api;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use http::header::ACCEPT;
use http::{HeaderMap, Uri};

/// What every page shares.
#[derive(Clone)]
struct Pages {
    app: App,
    /// The public API behind the guards of its routes.
    api: Router,
}

/// A route of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRoute {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
}

/// Every page that takes a session, in the order of the table.
pub fn page_routes() -> Vec<PageRoute> {
    let routes = routes::all().into_iter();
    routes.map(|route| PageRoute { method: route.method, path: route.path }).collect()
}

/// No route has this path: a browser is told so by a page, a program by a problem.
pub(crate) async fn no_such_path(headers: HeaderMap, uri: Uri) -> Response {
    let accepted = headers.get(ACCEPT).and_then(|accepted| accepted.to_str().ok());
    let is_for_programs = ["/api/", "/.executors/"].iter().any(|below| uri.path().starts_with(below));
    let refusal = public_api::no_such_path(&uri);
    if is_for_programs || !accepted.is_some_and(|accepted| accepted.contains("text/html")) {
        return refusal.into_response();
    }
    headers::with(frame::alone(&refusal.into()))
}

/// The pages, and what they are made of.
pub(crate) fn router(app: &App) -> Router<App> {
    let pages = Pages { app: app.clone(), api: public_api::guarded(app).with_state(app.clone()) };
    let mut router = Router::new();
    for route in routes::all() {
        router = router.route(route.path, route.served());
    }
    router
        .route_layer(middleware::from_fn_with_state(pages.clone(), session::require))
        .route("/", get(async || Redirect::to("/jobs")))
        .route("/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/assets/{digest}/{name}", get(assets::serve))
        .route("/favicon.ico", get(assets::icon))
        .layer(middleware::from_fn(headers::add))
        .with_state(pages)
}
