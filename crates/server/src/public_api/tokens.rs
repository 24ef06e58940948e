//! Tokens of this API: who may do what.

use super::input::{Numbered, Parameters, json};
use super::paging::{Part, place};
use super::problem::Refusal;
use crate::acts::{Act, Action};
use crate::api::{CreateToken, CreatedToken, Page, TokenView, WhoamiView};
use crate::app::App;
use crate::auth::principal::Caller;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::StatusCode;
use jobs::Principal;
use store::{NewToken, TokenRow};

/// Bytes of what tells about a token at most.
pub(super) const MAX_BODY: usize = 16 << 10;

/// `GET /whoami`
pub(super) async fn whoami(caller: Caller) -> Json<WhoamiView> {
    let Principal { name, role, namespace } = caller.principal;
    Json(WhoamiView { name, role, namespace })
}

/// `GET /tokens`
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    Parameters(part): Parameters<Part>,
) -> Result<Json<Page<TokenView>>, Refusal> {
    let of = Some(&caller.namespace).filter(|_| !caller.is_everywhere());
    part.of(app.store.tokens(of).await?, |row| place(&row.namespace, &row.name), view).map(Json)
}

/// `POST /tokens`
pub(super) async fn create(
    caller: Caller,
    State(app): State<App>,
    body: Body,
) -> Result<(StatusCode, Json<CreatedToken>), Refusal> {
    let asked: CreateToken = json(&app, body, MAX_BODY, "invalid_token").await?;
    let new = check(&app, &caller, asked)?;
    let store = app.store.clone();
    let (row, token) = app
        .act(&caller, async move { store.create_token(new).await }, |(row, _)| {
            Some(act(Action::CreateToken, row))
        })
        .await?;
    Ok((StatusCode::CREATED, Json(CreatedToken { about: view(row), token })))
}

/// `DELETE /tokens/{id}`
pub(super) async fn revoke(
    caller: Caller,
    State(app): State<App>,
    Numbered(id): Numbered<i64>,
) -> Result<StatusCode, Refusal> {
    let all = app.store.tokens(None).await?;
    let seen = all.into_iter().any(|row| row.id == id && caller.sees(&row.namespace));
    if !seen {
        return Err(unknown("token", id));
    }
    let store = app.store.clone();
    let revoked = app.act(&caller, async move { store.revoke_token(id).await }, |row| {
        row.as_ref().map(|row| act(Action::RevokeToken, row))
    });
    revoked.await?.map(|_| StatusCode::NO_CONTENT).ok_or_else(|| unknown("token", id))
}

fn check(app: &App, caller: &Principal, asked: CreateToken) -> Result<NewToken, Refusal> {
    let CreateToken { name, role, namespace, expires_at } = asked;
    let namespace = namespace.unwrap_or_else(|| caller.namespace.clone());
    if !caller.may_grant(role, &namespace) {
        let detail = format!(
            "a token of {namespace} with the role {role} would have more rights than the token {:?}, a {} of {}: ask \
             somebody who has them",
            caller.name, caller.role, caller.namespace
        );
        return Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", "The token may not do this", detail));
    }
    jobs::name::check_token_name(&name).map_err(|fault| invalid(fault.to_string()))?;
    if expires_at.is_some_and(|at| at <= app.clock.now()) {
        return Err(invalid("expiresAt is over already: name a time to come".to_owned()));
    }
    Ok(NewToken { name, role, namespace, created_by: caller.name.clone(), expires_at })
}

/// A token of any kind that can't be made as it was asked for.
pub(super) fn invalid(detail: String) -> Refusal {
    let title = "The token can't be made as it is";
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_token", title, detail)
}

/// One that is not there, or that the caller may not know of.
pub(super) fn unknown(what: &str, id: i64) -> Refusal {
    let detail = format!("there is no {what} {id}: it was revoked, or never was there");
    Refusal::new(StatusCode::NOT_FOUND, "unknown_token", "There is no such token", detail)
}

fn act(action: Action, row: &TokenRow) -> Act {
    let TokenRow { id, name, role, namespace, expires_at, .. } = row;
    let detail = match (action, expires_at) {
        (Action::CreateToken, Some(at)) => format!("role {role}, until {at}"),
        _ => format!("role {role}"),
    };
    Act::of(namespace.clone(), action, format!("token {id} {name}"), detail)
}

fn view(row: TokenRow) -> TokenView {
    let TokenRow { id, name, role, namespace, created_by, created_at, expires_at, last_used_at } = row;
    TokenView { id, name, role, namespace, created_by, created_at, expires_at, last_used_at }
}
