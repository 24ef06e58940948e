//! How long the lease of a call's jobs is, and telling it.
//!
//! An executor that keeps to the end of a lease is asked for no hurry: its job has ended by then, whatever happened to
//! the network. Of any other nobody knows, and the protocol has its jobs go to others after 25 s.

use crate::app::App;
use crate::auth::prefers;
use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use std::time::Duration;
use wire::additions::{HELD, LEASE_TERM, TERM_PREFERENCE, held, lease_term};

/// The term for the executor that sent these headers.
pub(super) fn of(app: &App, headers: &HeaderMap) -> Duration {
    app.leases.term(is_kept_to(headers))
}

/// Whether its executor keeps to the end of a lease, as ours do.
pub(super) fn is_kept_to(headers: &HeaderMap) -> bool {
    prefers(headers, TERM_PREFERENCE)
}

/// Tells the term.
pub(super) fn tell(response: &mut Response, term: Duration) {
    if let Ok(term) = HeaderValue::from_str(&lease_term(term)) {
        response.headers_mut().insert(LEASE_TERM, term);
    }
}

/// Tells for how long the request was held before its job was claimed, so that an answer that takes long makes nobody
/// believe in a longer lease.
pub(super) fn tell_held(response: &mut Response, time: Duration) {
    if let Ok(time) = HeaderValue::from_str(&held(time)) {
        response.headers_mut().insert(HELD, time);
    }
}
