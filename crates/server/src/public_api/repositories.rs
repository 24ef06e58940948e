//! Adding, listing and removing repositories.

use super::input::{Named, Parameters, json};
use super::paging::{Part, place};
use super::problem::Refusal;
use super::{seen, views};
use crate::acts::{Act, Action};
use crate::api::{AddRepository, Page, RepositoryView};
use crate::app::App;
use crate::auth::principal::Caller;
use crate::git::{GitFault, Source};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::StatusCode;
use jobs::Namespace;
use serde::Deserialize;

/// Bytes of what tells about a repository at most.
const MAX_BODY: usize = 64 << 10;

/// `GET /repositories`
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    Parameters(part): Parameters<Part>,
) -> Result<Json<Page<RepositoryView>>, Refusal> {
    let mut rows = app.store.repositories().await?;
    rows.retain(|row| caller.sees(&row.namespace));
    part.of(rows, |row| place(&row.namespace, &row.name), views::repository).map(Json)
}

/// `POST /repositories`: mirrors the source first, so a repository that is listed can be used. If the
/// client hangs up meanwhile, nothing is added.
pub(super) async fn add(
    caller: Caller,
    State(app): State<App>,
    body: Body,
) -> Result<(StatusCode, Json<RepositoryView>), Refusal> {
    let AddRepository { name, namespace, source } = json(&app, body, MAX_BODY, "invalid_repository").await?;
    let invalid = |detail: String| {
        let title = "The repository can't be added as it is";
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_repository", title, detail)
    };
    jobs::name::check_repository(&name).map_err(|fault| invalid(fault.to_string()))?;
    let source = Source::parse(&source).map_err(|fault| invalid(fault.to_string()))?;
    let namespace = seen::namespace(&caller, namespace)?;
    if source.takes_our_rights() && !caller.is_everywhere() {
        return Err(invalid(
            "the server would read this source with rights of its own, which only an operator of the global namespace may \
             have it do: give an https or http URL, or ask such an operator to add it for you"
                .to_owned(),
        ));
    }
    // A source that is named for the first time and can't be read is most likely named wrongly.
    let fetched =
        app.repositories.fetch_new(&namespace, &name, &source).await.map_err(|fault| match fault {
            GitFault::Unreachable { .. } => {
                Refusal::from(fault).with_status(StatusCode::UNPROCESSABLE_ENTITY)
            }
            fault => fault.into(),
        })?;
    let running = app.clone();
    let kept = async move { running.repositories.keep(fetched, namespace, name, &source).await };
    let row = app
        .act(&caller, kept, |row| {
            let source = format!("from {}", row.source);
            Some(Act::of(row.namespace.clone(), Action::AddRepository, &row.name, source))
        })
        .await?;
    Ok((StatusCode::CREATED, Json(views::repository(row))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Of {
    namespace: Option<Namespace>,
}

/// `DELETE /repositories/{name}`
pub(super) async fn remove(
    caller: Caller,
    State(app): State<App>,
    Named(name): Named,
    Parameters(Of { namespace }): Parameters<Of>,
) -> Result<StatusCode, Refusal> {
    let namespace = seen::namespace(&caller, namespace)?;
    let (running, named, of) = (app.clone(), name.clone(), namespace.clone());
    let removed = async move { running.repositories.remove(&of, &named).await };
    let subject = name.clone();
    let removed = app.act(&caller, removed, |removed| {
        removed.then(|| Act::of(namespace, Action::RemoveRepository, subject, ""))
    });
    if removed.await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let detail = format!("there is no repository {name:?}: `executor repo list` tells which there are");
    Err(Refusal::new(StatusCode::NOT_FOUND, "unknown_repository", "There is no such repository", detail))
}
