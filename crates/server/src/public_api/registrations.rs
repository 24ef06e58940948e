//! Executors with an identity of their own: what they register with, and who they are.

use super::input::{Named, Numbered, Parameters, json};
use super::paging::{Part, numbered};
use super::problem::Refusal;
use super::tokens::{MAX_BODY, invalid, unknown};
use crate::acts::{Act, Action};
use crate::api::{CreateRegistration, CreatedRegistration, IdentityView, Page, RegistrationView};
use crate::app::App;
use crate::auth::principal::Caller;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::StatusCode;
use jiff::SignedDuration;
use store::{IdentityRow, NewRegistration, RegistrationRow};

/// For how many executors one is good at most.
const MAX_USES: u32 = 10_000;
/// How long one is good unless said, and at most: it is a secret that lies in many places.
const GOOD_FOR: SignedDuration = SignedDuration::from_hours(24);
const MAX_GOOD_FOR: SignedDuration = SignedDuration::from_hours(24 * 366);

/// `GET /registration-tokens`
pub(super) async fn list(
    State(app): State<App>,
    Parameters(part): Parameters<Part>,
) -> Result<Json<Page<RegistrationView>>, Refusal> {
    part.of(app.store.registrations().await?, |row| numbered(row.id), view).map(Json)
}

/// `POST /registration-tokens`
pub(super) async fn create(
    caller: Caller,
    State(app): State<App>,
    body: Body,
) -> Result<(StatusCode, Json<CreatedRegistration>), Refusal> {
    let CreateRegistration { name, uses, expires_at } = json(&app, body, MAX_BODY, "invalid_token").await?;
    jobs::name::check_token_name(&name).map_err(|fault| invalid(fault.to_string()))?;
    if !(1..=MAX_USES).contains(&uses) {
        return Err(invalid(format!("uses is {uses}, but must be between 1 and {MAX_USES}")));
    }
    let now = app.clock.now();
    let later = |time: SignedDuration| now.saturating_add(time).unwrap_or(jiff::Timestamp::MAX);
    let expires_at = expires_at.unwrap_or_else(|| later(GOOD_FOR));
    if expires_at <= now || expires_at > later(MAX_GOOD_FOR) {
        return Err(invalid("expiresAt must be a time to come, and within a year".to_owned()));
    }
    let new = NewRegistration { name, max_uses: uses, created_by: caller.name.clone(), expires_at };
    let store = app.store.clone();
    let (row, token) = app
        .act(&caller, async move { store.create_registration(new).await }, |(row, _)| {
            let detail = format!("for {} executors, until {}", row.max_uses, row.expires_at);
            Some(Act::global(Action::CreateRegistration, subject(row), detail))
        })
        .await?;
    Ok((StatusCode::CREATED, Json(CreatedRegistration { about: view(row), token })))
}

/// `DELETE /registration-tokens/{id}`
pub(super) async fn revoke(
    caller: Caller,
    State(app): State<App>,
    Numbered(id): Numbered<i64>,
) -> Result<StatusCode, Refusal> {
    let store = app.store.clone();
    let revoked = app.act(&caller, async move { store.revoke_registration(id).await }, |row| {
        let row = row.as_ref()?;
        Some(Act::global(Action::RevokeRegistration, subject(row), format!("after {} uses", row.uses)))
    });
    revoked.await?.map(|_| StatusCode::NO_CONTENT).ok_or_else(|| unknown("registration token", id))
}

/// `GET /identities`
pub(super) async fn identities(
    State(app): State<App>,
    Parameters(part): Parameters<Part>,
) -> Result<Json<Page<IdentityView>>, Refusal> {
    part.of(app.store.identities().await?, |row| row.name.clone(), identity).map(Json)
}

/// `DELETE /identities/{name}`: from now on the executor's calls are refused, and its jobs given away when their leases
/// are over.
pub(super) async fn revoke_identity(
    caller: Caller,
    State(app): State<App>,
    Named(name): Named,
) -> Result<StatusCode, Refusal> {
    let (store, named) = (app.store.clone(), name.clone());
    let revoked = app.act(&caller, async move { store.revoke_identity(&named).await }, |row| {
        let row = row.as_ref()?;
        let detail = format!("registered with {}", row.registration);
        Some(Act::global(Action::RevokeExecutor, row.name.clone(), detail))
    });
    revoked.await?.map(|_| StatusCode::NO_CONTENT).ok_or_else(|| {
        let detail = format!(
            "no executor {name:?} has an identity that could be revoked: `executor agent identities` tells which have; \
             those with the shared secret have none"
        );
        Refusal::new(StatusCode::NOT_FOUND, "unknown_identity", "There is no such identity", detail)
    })
}

fn subject(row: &RegistrationRow) -> String {
    format!("registration token {} {}", row.id, row.name)
}

fn view(row: RegistrationRow) -> RegistrationView {
    let RegistrationRow { id, name, max_uses, uses, created_by, created_at, expires_at } = row;
    RegistrationView { id, name, max_uses, uses, created_by, created_at, expires_at }
}

fn identity(row: IdentityRow) -> IdentityView {
    let IdentityRow { name, registration, created_at, last_used_at, revoked_at } = row;
    IdentityView { name, registration, created_at, last_used_at, revoked_at }
}
