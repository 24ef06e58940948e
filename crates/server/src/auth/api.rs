//! The API token, which proves that the caller may use the public API.

use super::{authorization, secret};
use crate::app::App;
use crate::public_api::Refusal;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE};
use wire::headers::Credentials;

/// Lets a request through when it carries the API token.
pub(crate) async fn require(State(app): State<App>, request: Request, next: Next) -> Response {
    match Credentials::parse(authorization(request.headers())) {
        Ok(Credentials::Job(token)) if secret::same(&app.api_token, token) => next.run(request).await,
        Ok(_) => refuse("the API token is not the one in the file api-token of the server's data directory"),
        Err(_) => refuse(
            "send the header 'Authorization: Bearer TOKEN' with the token in the file api-token of the server's \
             data directory",
        ),
    }
}

fn refuse(detail: &str) -> Response {
    let refusal =
        Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "The API token is missing or wrong", detail);
    let mut response = refusal.into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
