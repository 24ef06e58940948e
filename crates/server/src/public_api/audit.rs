//! Who did what.

use super::input::{Parameters, invalid_query};
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

/// Acts on a page unless said otherwise.
const PAGE: u32 = 50;
/// Acts on a page at most.
const MAX_PAGE: u32 = 500;

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
    let limit = filter.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(invalid_query(format!("limit is {limit}, but must be between 1 and {MAX_PAGE}")));
    }
    if let Some(action) = &filter.action
        && !Action::ALL.iter().any(|known| known.name() == action)
    {
        let known: Vec<_> = Action::ALL.into_iter().map(Action::name).collect();
        return Err(invalid_query(format!("action is {action:?}, but must be one of {}", known.join(", "))));
    }
    let namespace = seen::listed(&caller, filter.namespace)?;
    // One more than asked for tells whether there is another page.
    let filter = ActFilter { namespace, action: filter.action, before: filter.cursor, limit: limit + 1 };
    let mut rows = app.store.acts(filter).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next_cursor = rows.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Json(Page { items: rows.into_iter().map(view).collect(), next_cursor }))
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
