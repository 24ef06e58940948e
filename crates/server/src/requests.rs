//! Each request is counted, and told in one line at debug level. Paths hold names and numbers only; queries, headers and
//! bodies may hold secrets and are left out. What is counted goes by patterns of paths: there are only so many.
//!
//! Each answer says what browsers may do with it, unless it does so itself: nothing.

use crate::app::App;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue};
use std::time::Instant;

/// What stands for all paths that nothing is served at.
const NO_ROUTE: &str = "none";
/// What browsers are told. Answers may hold what only their caller may see, so none is kept anywhere.
const CAREFUL: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
];
/// Whoever came by TLS comes so for a year.
const STRICT: &str = "max-age=31536000";

pub(crate) async fn watch(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    app.metrics.request(route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str), status, took);
    tracing::debug!(%method, path, status, milliseconds = took.as_millis() as u64, "request");
    be_careful(response.headers_mut(), app.tls.is_some());
    response
}

fn be_careful(headers: &mut HeaderMap, tls: bool) {
    let strict = tls.then_some((STRICT_TRANSPORT_SECURITY, STRICT));
    for (name, value) in CAREFUL.into_iter().chain(strict) {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}
