//! Who may call: executors with the shared secret, jobs with their token, people with the API token.

pub(crate) mod api;
pub(crate) mod job;
pub(crate) mod secret;
pub(crate) mod shared;

use http::HeaderMap;

/// The value of the `Authorization` header. One that is not text is as good as none.
fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(http::header::AUTHORIZATION)?.to_str().ok()
}
