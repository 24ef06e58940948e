//! Tokens of the public API, which prove who calls.

use super::attempts::Limited;
use super::principal::{Caller, Principal, Proof, root};
use super::{authorization, secret};
use crate::app::App;
use crate::metrics::{Prover, Unproved};
use crate::peer::{Peer, Remote};
use crate::public_api::Refusal;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use wire::additions::API_TOKEN_PREFIX;
use wire::headers::Credentials;

/// Lets a request through when it carries a token that is good, and notes in it whose that is.
pub(crate) async fn require(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, Response> {
    let extensions = request.extensions();
    let (Some(&peer), Some(&Remote(from))) = (extensions.get::<Peer>(), extensions.get::<Remote>()) else {
        return Err(refuse("nobody knows where the request comes from"));
    };
    let (principal, proof) = prove(&app, request.headers(), peer).await?;
    request.extensions_mut().insert(Caller { principal, proof, from });
    Ok(next.run(request).await)
}

/// Who calls, and with which token.
pub(crate) type Proved = (Principal, Proof);

/// Who calls, or why nobody knows.
async fn prove(app: &App, headers: &HeaderMap, peer: Peer) -> Result<Proved, Response> {
    let Ok(Credentials::Job(shown)) = Credentials::parse(authorization(headers)) else {
        return Err(refuse(
            "send the header 'Authorization: Bearer TOKEN' with a token that `executor token create` made, or the one in \
             the file api-token of the server's data directory",
        ));
    };
    let attempt = app.attempts.begin(peer, shown).await.map_err(|limited| {
        app.metrics.unproved(Prover::Api, Unproved::Limited);
        too_many(&limited)
    })?;
    let (attempt, proved) =
        attempt.looked_up(whose(app, shown).await).map_err(IntoResponse::into_response)?;
    attempt.end(proved.is_some());
    if proved.is_none() {
        app.metrics.unproved(Prover::Api, Unproved::Wrong);
    }
    proved.ok_or_else(|| {
        refuse("the API token is unknown, expired or revoked: ask whoever made it, or use the one in the file api-token")
    })
}

/// Whose token `shown` is, if it is good. Count how often an address shows one that is not.
pub(crate) async fn whose(app: &App, shown: &str) -> Result<Option<Proved>, Refusal> {
    if secret::same(&app.api_token, shown) {
        return Ok(Some((root(), Proof::Root)));
    }
    if !shown.starts_with(API_TOKEN_PREFIX) {
        return Ok(None);
    }
    let found = app.store.token(shown).await?;
    Ok(found.map(|row| {
        let principal = Principal { name: row.name, role: row.role, namespace: row.namespace };
        (principal, Proof::Token(row.id))
    }))
}

fn refuse(detail: &str) -> Response {
    let refusal =
        Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "The API token is missing or wrong", detail);
    let mut response = refusal.into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn too_many(limited: &Limited) -> Response {
    let title = "Too many attempts with wrong tokens";
    let refusal =
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", title, limited.to_string());
    let mut response = refusal.into_response();
    response.headers_mut().insert(RETRY_AFTER, limited.retry_after());
    response
}
