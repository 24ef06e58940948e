//! The shared secret, which proves that the caller is one of our executors.

use super::{authorization, secret};
use crate::app::App;
use crate::executor_api::Failure;
use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use wire::headers::{BadAuthorization, Credentials};

const MISSING: &str =
    "no token value in the HTTP Authorization request header (recommended) or basic auth (deprecated)";
const MALFORMED: &str =
    "HTTP Authorization request header value must be of the following form: 'token-executor \"TOKEN\"'";
const UNKNOWN_SCHEME: &str =
    "unrecognized HTTP Authorization request header scheme (supported values: \"token-executor\")";
/// There is no shared secret to compare with.
const NOT_CONFIGURED: &str = "Executors are not configured on this instance";

/// The request carried the shared secret.
pub(crate) struct SharedAuth;

impl FromRequestParts<App> for SharedAuth {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let site = app.site.current();
        let Some(expected) = &site.access_token else {
            return Err(Failure::text(StatusCode::INTERNAL_SERVER_ERROR, NOT_CONFIGURED));
        };
        let refuse = |text: &str| Err(Failure::text(StatusCode::UNAUTHORIZED, text));
        match Credentials::parse(authorization(&parts.headers)) {
            Ok(Credentials::Shared(token)) if secret::same(expected, token) => Ok(Self),
            Ok(Credentials::Shared(_)) => Err(Failure::empty(StatusCode::UNAUTHORIZED)),
            Ok(Credentials::Job(_)) | Err(BadAuthorization::UnknownScheme) => refuse(UNKNOWN_SCHEME),
            Err(BadAuthorization::Missing) => refuse(MISSING),
            Err(BadAuthorization::Malformed) => refuse(MALFORMED),
        }
    }
}
