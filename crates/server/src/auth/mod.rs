//! Who may call: executors with the shared secret or an identity of their own, jobs with their token, people and their
//! programs with tokens of the public API. How people prove who they are to the pages: `pages/session.rs`.

pub(crate) mod api;
pub(crate) mod attempts;
pub(crate) mod executor;
pub(crate) mod first;
pub(crate) mod job;
pub(crate) mod old_secret;
pub(crate) mod passwords;
pub(crate) mod principal;
pub(crate) mod registration;
pub(crate) mod secret;
pub(crate) mod uploader;

use http::HeaderMap;
use wire::additions::{self, PREFER};

/// Whether a call has such a preference.
pub(crate) fn prefers(headers: &HeaderMap, preference: &str) -> bool {
    let mut all = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    all.any(|value| additions::prefers(value, preference))
}

/// The value of the `Authorization` header. One that is not text is as good as none, and so are several:
/// whoever looks at requests before us may have seen another one.
fn authorization(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(http::header::AUTHORIZATION).iter();
    let only = values.next().filter(|_| values.next().is_none());
    only?.to_str().ok()
}
