//! Who did what.

use super::input::{Parameters, invalid_query};
use super::paging::Paging;
use super::problem::Refusal;
use super::seen;
use crate::acts::Action;
use crate::api::{ActView, Page};
use crate::app::App;
use crate::auth::principal::Caller;
use axum::Json;
use axum::extract::State;
use jobs::Namespace;
use serde::Deserialize;
use store::{ActFilter, ActRow, NewAct};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    action: Option<String>,
    namespace: Option<Namespace>,
    limit: Option<u32>,
    cursor: Option<i64>,
}

/// `GET /audit`: newest first.
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    Parameters(filter): Parameters<Filter>,
) -> Result<Json<Page<ActView>>, Refusal> {
    let paging = Paging::of(filter.limit)?;
    if let Some(action) = &filter.action
        && !Action::ALL.iter().any(|known| known.name() == action)
    {
        let known: Vec<_> = Action::ALL.into_iter().map(Action::name).collect();
        return Err(invalid_query(format!("action is {action:?}, but must be one of {}", known.join(", "))));
    }
    let namespace = seen::listed(&caller, filter.namespace)?;
    let filter =
        ActFilter { namespace, action: filter.action, before: filter.cursor, limit: paging.look_for() };
    let rows = app.store.acts(filter).await?;
    Ok(Json(paging.page(rows, |last| last.id.to_string(), view)))
}

fn view(row: ActRow) -> ActView {
    let NewAct { actor, actor_of, action, subject, namespace, origin, detail } = row.act;
    ActView {
        id: row.id,
        at: row.at,
        actor,
        actor_namespace: actor_of,
        action,
        subject,
        namespace,
        from: origin,
        detail,
    }
}
