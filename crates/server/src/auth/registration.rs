//! Registration tokens, which let an executor get an identity of its own.

use super::attempts::Attempt;
use super::authorization;
use super::executor::too_many;
use crate::app::App;
use crate::executor_api::Failure;
use crate::peer::Peer;
use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use wire::additions::REGISTRATION_TOKEN_PREFIX;
use wire::headers::Credentials;

const MISSING: &str = "send the header 'Authorization: token-executor TOKEN' with a registration token: \
                       `executor agent invite create` makes one";

/// Somebody who shows what may be a registration token. Whether it is one the store knows.
pub(crate) struct Invited {
    pub(crate) shown: String,
    attempt: Attempt,
}

impl Invited {
    /// Notes whether it was one, where that was looked at.
    pub(crate) fn end(self, good: Option<bool>) {
        match good {
            Some(good) => self.attempt.end(good),
            None => self.attempt.end_undecided(),
        }
    }
}

impl FromRequestParts<App> for Invited {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let missing = || Failure::text(StatusCode::UNAUTHORIZED, MISSING);
        let &peer = parts.extensions.get::<Peer>().ok_or_else(missing)?;
        match Credentials::parse(authorization(&parts.headers)) {
            Ok(Credentials::Shared(shown)) if shown.starts_with(REGISTRATION_TOKEN_PREFIX) => {
                let attempt = app.attempts.begin(peer, shown).await;
                let attempt = attempt.map_err(|limited| too_many(&limited))?;
                Ok(Self { shown: shown.to_owned(), attempt })
            }
            _ => Err(missing()),
        }
    }
}
