//! Executors: with the shared secret, the one before it while it is being replaced, or an identity of their own.

use super::attempts::Limited;
use super::{authorization, secret};
use crate::app::App;
use crate::executor_api::Failure;
use crate::metrics::{self, Prover};
use crate::peer::Peer;
use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use store::IdentityRow;
use wire::additions::IDENTITY_PREFIX;
use wire::headers::{BadAuthorization, Credentials};

const MISSING: &str =
    "no token value in the HTTP Authorization request header (recommended) or basic auth (deprecated)";
const MALFORMED: &str =
    "HTTP Authorization request header value must be of the following form: 'token-executor \"TOKEN\"'";
const UNKNOWN_SCHEME: &str =
    "unrecognized HTTP Authorization request header scheme (supported values: \"token-executor\")";
/// There is no shared secret to compare with.
const NOT_CONFIGURED: &str = "Executors are not configured on this instance";
/// An identity that is not, or no longer, known.
const UNKNOWN_IDENTITY: &str = "this executor's identity is not known here: it is another control plane's, or was not \
     used for so long that it was forgotten; set EXECUTOR_REGISTRATION_TOKEN to one that is good and start the agent again";

/// Who makes a call in an executor's own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Executor {
    /// Somebody with the shared secret, which tells none from another.
    Shared,
    /// The executor of this name, and no other.
    Named(String),
}

/// What was shown proves nobody's word.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unproved {
    /// It is no secret that is known.
    Wrong,
    /// It was an executor's, or looks like it: what to tell it.
    Refused(String),
}

/// Decides whose `shown` is.
pub(crate) async fn prove(app: &App, peer: Peer, shown: &str) -> Result<Result<Executor, Unproved>, Failure> {
    let attempt = app.attempts.begin(peer, shown).await.map_err(|limited| {
        app.metrics.unproved(Prover::Executor, metrics::Unproved::Limited);
        too_many(&limited)
    })?;
    let proved = if shown.starts_with(IDENTITY_PREFIX) {
        let (attempt, found) = attempt
            .looked_up(app.store.identity(shown).await)
            .map_err(|fault| Failure::store("identities.Get", &fault))?;
        // Who was revoked guesses nothing.
        attempt.end(found.is_some());
        of_identity(found)
    } else {
        let proved = of_secret(app, peer, shown);
        attempt.end(proved.is_ok());
        proved
    };
    if proved.is_err() {
        app.metrics.unproved(Prover::Executor, metrics::Unproved::Wrong);
    }
    Ok(proved)
}

fn of_secret(app: &App, peer: Peer, shown: &str) -> Result<Executor, Unproved> {
    let site = app.site.current();
    // Both are compared, so that it takes as long whichever it is.
    let known = site.access_token.as_ref().is_some_and(|expected| secret::same(expected, shown));
    let old = site.previous_access_token.as_ref().is_some_and(|expected| secret::same(expected, shown));
    if old && !known {
        app.metrics.old_secret_shown();
        app.old_secret.was_shown(peer);
    }
    if known || old { Ok(Executor::Shared) } else { Err(Unproved::Wrong) }
}

fn of_identity(found: Option<IdentityRow>) -> Result<Executor, Unproved> {
    match found {
        Some(IdentityRow { name, revoked_at: None, .. }) => Ok(Executor::Named(name)),
        Some(IdentityRow { name, revoked_at: Some(at), .. }) => Err(Unproved::Refused(format!(
            "the identity of executor {name} was revoked at {at}: stop this agent, or remove its state directory and set \
             EXECUTOR_REGISTRATION_TOKEN to one that is good"
        ))),
        None => Err(Unproved::Refused(UNKNOWN_IDENTITY.to_owned())),
    }
}

/// The refusal of an address that has to wait.
pub(super) fn too_many(limited: &Limited) -> Failure {
    Failure::text(StatusCode::TOO_MANY_REQUESTS, &limited.to_string()).retry_after(limited.retry_after())
}

impl Executor {
    /// Refuses whoever acts under a name that is not theirs: of an executor with an identity any other, and of all others
    /// one that has an identity.
    pub(crate) async fn check_name(&self, app: &App, name: &str) -> Result<(), Failure> {
        match self {
            Self::Named(own) if own == name => Ok(()),
            Self::Named(own) => Err(not_yours(&format!("this identity is executor {own}'s, not {name:?}'s"))),
            Self::Shared => {
                let found = app.store.identity_of(name).await;
                match found.map_err(|fault| Failure::store("identities.Get", &fault))? {
                    None => Ok(()),
                    Some(_) => Err(not_yours(&format!(
                        "executor {name:?} has an identity of its own: the shared secret does not stand for it"
                    ))),
                }
            }
        }
    }

    /// Refuses whose identity was revoked since it was proved, as may be while a call waits.
    pub(crate) async fn check_still(&self, app: &App) -> Result<(), Failure> {
        let Self::Named(name) = self else { return Ok(()) };
        let found = app.store.identity_of(name).await;
        let found = found.map_err(|fault| Failure::store("identities.Get", &fault))?;
        of_identity(found).map(drop).map_err(refusal)
    }
}

fn not_yours(why: &str) -> Failure {
    Failure::text(StatusCode::FORBIDDEN, why)
}

fn refusal(unproved: Unproved) -> Failure {
    match unproved {
        Unproved::Wrong => Failure::empty(StatusCode::UNAUTHORIZED),
        Unproved::Refused(why) => Failure::text(StatusCode::UNAUTHORIZED, &why),
    }
}

impl FromRequestParts<App> for Executor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let credentials = Credentials::parse(authorization(&parts.headers));
        let is_identity =
            matches!(credentials, Ok(Credentials::Shared(shown)) if shown.starts_with(IDENTITY_PREFIX));
        let site = app.site.current();
        if site.access_token.is_none() && site.previous_access_token.is_none() && !is_identity {
            return Err(Failure::text(StatusCode::INTERNAL_SERVER_ERROR, NOT_CONFIGURED));
        }
        let refuse = |text: &str| Err(Failure::text(StatusCode::UNAUTHORIZED, text));
        match credentials {
            Ok(Credentials::Shared(shown)) => {
                let Some(&peer) = parts.extensions.get::<Peer>() else { return refuse(MISSING) };
                prove(app, peer, shown).await?.map_err(refusal)
            }
            Ok(Credentials::Job(_)) | Err(BadAuthorization::UnknownScheme) => refuse(UNKNOWN_SCHEME),
            Err(BadAuthorization::Missing) => refuse(MISSING),
            Err(BadAuthorization::Malformed) => refuse(MALFORMED),
        }
    }
}
