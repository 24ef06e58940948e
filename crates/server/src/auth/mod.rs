//! Who may call: executors with the shared secret, jobs with their token, people with the API token.

pub(crate) mod api;
pub(crate) mod job;
pub(crate) mod secret;
pub(crate) mod shared;

use http::HeaderMap;

/// The value of the `Authorization` header. One that is not text is as good as none, and so are several:
/// whoever looks at requests before us may have seen another one.
fn authorization(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(http::header::AUTHORIZATION).iter();
    let only = values.next().filter(|_| values.next().is_none());
    only?.to_str().ok()
}
