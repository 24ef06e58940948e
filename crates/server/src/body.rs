//! Reading request bodies, with a limit on bytes and on time.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::time::Duration;

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("the request body is larger than {limit} bytes, which is the limit for this call")]
    TooLarge { limit: usize },
    #[error("the request body did not arrive within {} seconds", .within.as_secs())]
    TooSlow { within: Duration },
    #[error("the request body could not be read")]
    Broken,
}

impl BodyFault {
    pub(crate) const fn status(&self) -> http::StatusCode {
        match self {
            Self::TooLarge { .. } => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => http::StatusCode::REQUEST_TIMEOUT,
            Self::Broken => http::StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads a whole body of up to `limit` bytes.
pub(crate) async fn read(body: Body, limit: usize, within: Duration) -> Result<Bytes, BodyFault> {
    let collected = tokio::time::timeout(within, Limited::new(body, limit).collect()).await;
    match collected {
        Err(_) => Err(BodyFault::TooSlow { within }),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(fault)) if fault.is::<LengthLimitError>() => Err(BodyFault::TooLarge { limit }),
        Ok(Err(_)) => Err(BodyFault::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_body_at_the_limit_is_read_and_one_above_it_is_not() {
        assert_eq!(read(Body::from("1234"), 4, SOON).await, Ok(Bytes::from("1234")));
        assert_eq!(read(Body::from("12345"), 4, SOON).await, Err(BodyFault::TooLarge { limit: 4 }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(never, 4, SOON).await, Err(BodyFault::TooSlow { within: SOON }));
    }
}
