//! People who sign in to the pages: who there is, and what they may.

use super::input::{Named, Parameters, json};
use super::paging::{Part, place};
use super::problem::Refusal;
use super::tokens::MAX_BODY;
use crate::acts::{Act, Action};
use crate::api::{CreateUser, Page, SetPassword, UserView};
use crate::app::App;
use crate::auth::passwords;
use crate::auth::principal::Caller;
use crate::peer::Peer;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::StatusCode;
use jobs::Principal;
use secrecy::SecretString;
use store::{NewPerson, PersonRow};

/// `GET /users`
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    Parameters(part): Parameters<Part>,
) -> Result<Json<Page<UserView>>, Refusal> {
    let of = Some(&caller.namespace).filter(|_| !caller.is_everywhere());
    part.of(app.store.people(of).await?, |row| place(&row.namespace, &row.name), view).map(Json)
}

/// `POST /users`
pub(super) async fn create(
    caller: Caller,
    State(app): State<App>,
    body: Body,
) -> Result<(StatusCode, Json<UserView>), Refusal> {
    let CreateUser { name, password, role, namespace } = json(&app, body, MAX_BODY, "invalid_user").await?;
    let namespace = namespace.unwrap_or_else(|| caller.namespace.clone());
    if !caller.may_grant(role, &namespace) {
        let detail = format!(
            "a {role} of {namespace} would have more rights than {:?}, a {} of {}: ask somebody who has them",
            caller.name, caller.role, caller.namespace
        );
        return Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", "You may not do this", detail));
    }
    jobs::name::check_user_name(&name).map_err(|fault| invalid(fault.to_string()))?;
    let password = hashed(&app, caller.peer(), password).await?;
    let new = NewPerson { name, password, role, namespace, created_by: caller.name.clone() };
    let store = app.store.clone();
    let noted = |row: &PersonRow| Some(act(Action::CreateUser, row));
    let row = app.act(&caller, async move { store.add_person(new).await }, noted).await?;
    Ok((StatusCode::CREATED, Json(view(row))))
}

/// `DELETE /users/{name}`: their sessions end with it.
pub(super) async fn remove(
    caller: Caller,
    State(app): State<App>,
    Named(name): Named,
) -> Result<StatusCode, Refusal> {
    find(&app, &caller, &name).await?;
    let (store, named) = (app.store.clone(), name.clone());
    let removed = app.act(&caller, async move { store.remove_person(&named).await }, |row| {
        row.as_ref().map(|row| act(Action::RemoveUser, row))
    });
    removed.await?.map(|_| StatusCode::NO_CONTENT).ok_or_else(|| unknown(&name))
}

/// `PUT /users/{name}/password`: their sessions end with it.
pub(super) async fn set_password(
    caller: Caller,
    State(app): State<App>,
    Named(name): Named,
    body: Body,
) -> Result<Json<UserView>, Refusal> {
    let SetPassword { password } = json(&app, body, MAX_BODY, "invalid_user").await?;
    let row = find(&app, &caller, &name).await?;
    if !caller.may_grant(row.role, &row.namespace) {
        let detail = format!("{name:?} has more rights than you: ask somebody who has them");
        return Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", "You may not do this", detail));
    }
    let row = change_password(&app, &caller, name, password).await?;
    Ok(Json(view(row)))
}

/// Sets a password. That the caller may was looked at.
pub(crate) async fn change_password(
    app: &App,
    caller: &Caller,
    name: String,
    password: String,
) -> Result<PersonRow, Refusal> {
    let hash = hashed(app, caller.peer(), password).await?;
    let (store, named) = (app.store.clone(), name.clone());
    let set = app.act(caller, async move { store.set_password(&named, &hash).await }, |row| {
        row.as_ref().map(|row| act(Action::SetPassword, row))
    });
    set.await?.ok_or_else(|| unknown(&name))
}

async fn hashed(app: &App, from: Peer, password: String) -> Result<String, Refusal> {
    let password = SecretString::from(password);
    passwords::check(&password).map_err(|fault| invalid(fault.to_string()))?;
    Ok(app.passwords.hash(from, password).await?)
}

/// Somebody whom the caller may know of.
async fn find(app: &App, caller: &Principal, name: &str) -> Result<PersonRow, Refusal> {
    let found = app.store.person(name).await?.map(|(row, _)| row);
    found.filter(|row| caller.sees(&row.namespace)).ok_or_else(|| unknown(name))
}

fn invalid(detail: String) -> Refusal {
    let title = "The user can't be as they were asked for";
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_user", title, detail)
}

fn unknown(name: &str) -> Refusal {
    let detail = format!("there is no user {name:?}: `executor user list` tells who there is");
    Refusal::new(StatusCode::NOT_FOUND, "unknown_user", "There is no such user", detail)
}

fn act(action: Action, row: &PersonRow) -> Act {
    let PersonRow { name, role, namespace, .. } = row;
    Act::of(namespace.clone(), action, format!("user {name}"), format!("role {role}"))
}

fn view(row: PersonRow) -> UserView {
    let PersonRow { id: _, name, role, namespace, created_by, created_at, password_at, last_used_at } = row;
    UserView { name, role, namespace, created_by, created_at, password_set_at: password_at, last_used_at }
}
