//! Secrets: set, listed and removed by whoever may, and never shown.

use super::input::{Named, Parameters, invalid_query, large_json};
use super::paging::Paging;
use super::problem::Refusal;
use super::views;
use crate::acts::{Act, Action};
use crate::api::{Page, SecretAccessView, SecretView, SetSecret};
use crate::app::App;
use crate::auth::principal::{Caller, Namespace, Role};
use crate::disk_floor::Growing;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::StatusCode;
use jobs::JobSpec;
use jobs::secrets::{self, Scope};
use serde::Deserialize;
use store::{AccessFilter, NewSecret, SecretCursor, SecretFilter, SecretRow};

/// Bytes of what tells of a secret at most: escaped as JSON its value takes up to six times its bytes.
const MAX_BODY: usize = 512 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    scope: Option<Scope>,
    namespace: Option<Namespace>,
    key: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `GET /secrets`: those of the caller's namespace, and the global ones that jobs there get.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Parameters(filter): Parameters<Filter>,
) -> Result<Json<Page<SecretView>>, Refusal> {
    let paging = Paging::of(filter.limit)?;
    let namespace = listed(&caller, filter.namespace)?;
    let after = filter.cursor.map(|cursor| read_cursor(&cursor)).transpose()?;
    let filter =
        SecretFilter { namespace, scope: filter.scope, key: filter.key, after, limit: paging.look_for() };
    let rows = app.store.secrets(filter).await?;
    Ok(Json(paging.page(rows, cursor, views::secret)))
}

/// `GET /secrets/{id}`
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Named(id): Named,
) -> Result<Json<SecretView>, Refusal> {
    Ok(Json(views::secret(find(&app, &caller, &id).await?)))
}

/// `POST /secrets`: one with its key must not be there.
pub(super) async fn add(
    State(app): State<App>,
    caller: Caller,
    body: Body,
) -> Result<(StatusCode, Json<SecretView>), Refusal> {
    let new = checked(&app, &caller, body).await?;
    let store = app.store.clone();
    let made = async move { store.add_secret(new).await };
    let row = app.act(&caller, made, |row| Some(act(Action::SetSecret, row, "new"))).await?;
    Ok((StatusCode::CREATED, Json(views::secret(row))))
}

/// `PUT /secrets`: in place of the one that may be there.
pub(super) async fn set(
    State(app): State<App>,
    caller: Caller,
    body: Body,
) -> Result<(StatusCode, Json<SecretView>), Refusal> {
    let new = checked(&app, &caller, body).await?;
    let store = app.store.clone();
    let put = async move { store.put_secret(new).await };
    let noted = |(row, is_new): &(SecretRow, bool)| {
        Some(act(Action::SetSecret, row, if *is_new { "new" } else { "in place of the one before" }))
    };
    let (row, is_new) = app.act(&caller, put, noted).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(views::secret(row))))
}

/// `DELETE /secrets/{id}`
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Named(id): Named,
) -> Result<StatusCode, Refusal> {
    let row = find(&app, &caller, &id).await?;
    may_write(&caller, &row.namespace)?;
    // Under its id it is still told who was handed it.
    let (store, noted, known_as) = (app.store.clone(), row.clone(), format!("id {id}"));
    let removed = async move { store.remove_secret(&id).await };
    let was_there = app
        .act(&caller, removed, move |there| there.then(|| act(Action::RemoveSecret, &noted, &known_as)))
        .await?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(unknown(&row.id)) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessPage {
    limit: Option<u32>,
    cursor: Option<i64>,
}

/// `GET /secrets/{id}/access`: who got it. Of a global secret others than those who look after everything see what jobs of
/// their own got. What is known outlives the secret.
pub(super) async fn accesses(
    State(app): State<App>,
    caller: Caller,
    Named(id): Named,
    Parameters(asked): Parameters<AccessPage>,
) -> Result<Json<Page<SecretAccessView>>, Refusal> {
    let paging = Paging::of(asked.limit)?;
    let owner = (!caller.is_everywhere()).then(|| caller.namespace.clone());
    let filter = AccessFilter {
        secret: Some(id.clone()),
        owner,
        before: asked.cursor,
        limit: paging.look_for(),
        ..AccessFilter::default()
    };
    let rows = app.store.secret_accesses(filter).await?;
    if rows.is_empty() {
        find(&app, &caller, &id).await?;
    }
    Ok(Json(paging.page(rows, |last| last.id.to_string(), views::secret_access)))
}

fn act(action: Action, row: &SecretRow, detail: &str) -> Act {
    let SecretRow { id, key, scope, namespace, .. } = row;
    let act = Act::of(namespace.clone(), action, format!("{key} for {scope}"), detail);
    Act { reference: Some(id.clone()), ..act }
}

/// Refuses a job that asks for a secret it would not find.
pub(super) async fn look_up(app: &App, spec: &JobSpec, namespace: &Namespace) -> Result<(), Refusal> {
    // An execution may do without.
    if spec.execution.is_some() {
        return Ok(());
    }
    let asked: Vec<String> = spec.asked_secrets().into_iter().map(str::to_owned).collect();
    let (false, Ok(scope)) = (asked.is_empty(), spec.queue.parse::<Scope>()) else { return Ok(()) };
    let known = app.store.known_secrets(scope, namespace, &asked).await?;
    let missing: Vec<_> = asked.into_iter().filter(|key| !known.contains(key)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "no secret {} is kept for {scope} jobs of {namespace}: set it with `executor secret set`, or leave it out",
        missing.join(", ")
    );
    Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_secret", "There is no such secret", detail))
}

/// Whose secrets are listed beside the global ones; `None`: everybody's.
fn listed(caller: &Caller, asked: Option<Namespace>) -> Result<Option<Namespace>, Refusal> {
    match asked {
        Some(namespace) if is_seen(caller, &namespace) => Ok(Some(namespace)),
        Some(namespace) => Err(not_yours(caller, &namespace)),
        None if caller.is_everywhere() => Ok(None),
        None => Ok(Some(caller.namespace.clone())),
    }
}

/// Everybody's jobs get global secrets, so everybody may know of them.
fn is_seen(caller: &Caller, namespace: &Namespace) -> bool {
    *namespace == Namespace::Global || caller.sees(namespace)
}

/// What is to be kept, if the caller may keep it.
async fn checked(app: &App, caller: &Caller, body: Body) -> Result<NewSecret, Refusal> {
    let (told, _turn) = large_json(app, caller, body, (MAX_BODY, "invalid_secret")).await?;
    let SetSecret { scope, namespace, key, value } = told;
    let namespace = namespace.unwrap_or_else(|| scope.of_job(&caller.namespace));
    may_write(caller, &namespace)?;
    secrets::check(scope, &namespace, &key, &value).map_err(|fault| {
        let title = "The secret can't be kept as it is";
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_secret", title, fault.to_string())
    })?;
    // Also one in place of another: each is an act that is noted. What makes room, removing one, goes on.
    app.disk_floor.check(Growing::Database)?;
    Ok(NewSecret { scope, namespace, key, value: value.into(), creator: caller.name.clone() })
}

/// Everybody writes in their own namespace, and the installation's admins everywhere.
fn may_write(caller: &Caller, namespace: &Namespace) -> Result<(), Refusal> {
    let is_theirs = caller.namespace == *namespace && *namespace != Namespace::Global;
    if is_theirs || (caller.is_everywhere() && caller.role == Role::Admin) {
        return Ok(());
    }
    if *namespace != Namespace::Global {
        return Err(not_yours(caller, namespace));
    }
    let detail = format!(
        "global secrets take the role admin in the namespace global, and the token {:?} has the role {} in {}: use one \
         that may, or name a namespace",
        caller.name, caller.role, caller.namespace
    );
    Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", "The token may not do this", detail))
}

fn not_yours(caller: &Caller, namespace: &Namespace) -> Refusal {
    let detail = format!(
        "the token {:?} is of {}, and not of {namespace}: use one that is",
        caller.name, caller.namespace
    );
    Refusal::new(StatusCode::FORBIDDEN, "forbidden", "The token may not do this", detail)
}

/// A secret that the caller may know of: its own ones, and the global ones.
async fn find(app: &App, caller: &Caller, id: &str) -> Result<SecretRow, Refusal> {
    let found = app.store.secret(id).await?;
    found.filter(|row| is_seen(caller, &row.namespace)).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Refusal {
    let detail = format!("there is no secret {id:?}: `executor secret list` tells which there are");
    Refusal::new(StatusCode::NOT_FOUND, "unknown_secret", "There is no such secret", detail)
}

/// A place in the list: no key and no scope has a dot.
fn cursor(row: &SecretRow) -> String {
    format!("{}.{}.{}", row.key, row.scope, row.namespace)
}

fn read_cursor(text: &str) -> Result<SecretCursor, Refusal> {
    let mut parts = text.splitn(3, '.');
    let mut next = || parts.next().unwrap_or_default();
    let (key, scope, namespace) = (next().to_owned(), next().parse(), next().parse());
    match (scope, namespace) {
        (Ok(scope), Ok(namespace)) => Ok(SecretCursor { key, scope, namespace }),
        _ => Err(invalid_query(
            "the cursor is not one that this server gave: pass nextCursor of the last page, or nothing",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Proof;
    use jobs::Principal;
    use std::net::IpAddr;

    fn caller(role: Role, namespace: &str) -> Caller {
        let principal = Principal { name: "x".to_owned(), role, namespace: namespace.parse().unwrap() };
        Caller { principal, proof: Proof::Root, from: IpAddr::from([127, 0, 0, 1]) }
    }

    #[test]
    fn a_namespace_sees_its_own_secrets_and_global_ones() {
        let [global, ann, bob] =
            ["global", "user:ann", "user:bob"].map(|name| name.parse::<Namespace>().unwrap());
        for role in Role::ALL {
            let of_ann = caller(role, "user:ann");
            assert_eq!(listed(&of_ann, None).unwrap(), Some(ann.clone()));
            assert_eq!(listed(&of_ann, Some(global.clone())).unwrap(), Some(global.clone()));
            assert!(listed(&of_ann, Some(bob.clone())).is_err() && !is_seen(&of_ann, &bob), "{role}");
            let of_all = listed(&caller(role, "global"), None).unwrap();
            assert_eq!(of_all, (role < Role::Operator).then_some(Namespace::Global), "{role}");
        }
    }

    #[test]
    fn everybody_writes_in_their_own_namespace_and_the_admins_of_all_everywhere() {
        let [global, ann] = ["global", "user:ann"].map(|name| name.parse::<Namespace>().unwrap());
        for role in Role::ALL {
            let is_admin = role == Role::Admin;
            for (whose, to_global, to_ann) in [
                ("global", is_admin, is_admin),
                ("user:ann", false, true),
                ("user:bob", false, false),
                ("org:ann", false, false),
            ] {
                let caller = caller(role, whose);
                let may = [may_write(&caller, &global).is_ok(), may_write(&caller, &ann).is_ok()];
                assert_eq!(may, [to_global, to_ann], "{role} of {whose}");
            }
        }
    }

    #[test]
    fn a_place_in_the_list_is_text_and_back() {
        let read = |text: &str| read_cursor(text).ok();
        let place = read("KEY_1.batches.user:a.b").unwrap();
        assert_eq!(
            (place.key.as_str(), place.scope, place.namespace.to_string().as_str()),
            ("KEY_1", Scope::Batches, "user:a.b")
        );
        for bad in ["", "KEY", "KEY.batches", "KEY.other.global", "KEY.batches.ann"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
