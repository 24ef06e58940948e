//! One line per request, at debug level. Paths hold names and numbers only; queries, headers and
//! bodies may hold secrets and are left out.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use std::time::Instant;

pub(crate) async fn log(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    tracing::debug!(
        %method,
        path,
        status = response.status().as_u16(),
        milliseconds = begun.elapsed().as_millis() as u64,
        "request"
    );
    response
}
