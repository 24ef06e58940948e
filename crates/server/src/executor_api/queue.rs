//! The queue in a path.

use super::Failure;
use axum::extract::{FromRequestParts, Path};
use http::StatusCode;
use http::request::Parts;
use wire::paths::QUEUES;

/// A queue that the protocol knows. Another name is a path that does not exist.
pub(super) struct Queue(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Queue {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(queue)) if QUEUES.contains(&queue.as_str()) => Ok(Self(queue)),
            _ => Err(Failure::text(StatusCode::NOT_FOUND, "404 page not found")),
        }
    }
}
