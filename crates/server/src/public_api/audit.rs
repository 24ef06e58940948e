//! Who did what.
//!
//! Secrets are read with every job, so who read which is kept by itself, where it can push nothing else out
//! ([`store::Store::secret_accesses`]), and both are put into one list when somebody looks.

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
use std::fmt;
use std::str::FromStr;
use store::{AccessFilter, ActFilter, ActRow, NewAct, SecretAccessRow};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    action: Option<String>,
    reads: Option<bool>,
    namespace: Option<Namespace>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Where somebody is who reads page by page: only acts and reads with smaller numbers come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    acts: i64,
    reads: i64,
}

impl Place {
    const NEWEST: Self = Self { acts: i64::MAX, reads: i64::MAX };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.acts, self.reads)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (acts, reads) = text.split_once('.').ok_or(())?;
        Ok(Self { acts: acts.parse().map_err(|_| ())?, reads: reads.parse().map_err(|_| ())? })
    }
}

/// `GET /audit`: newest first.
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    Parameters(filter): Parameters<Filter>,
) -> Result<Json<Page<ActView>>, Refusal> {
    let paging = Paging::of(filter.limit)?;
    let action = filter.action.as_deref().map(known).transpose()?;
    let place = match filter.cursor.as_deref() {
        None => Place::NEWEST,
        Some(told) => told.parse().map_err(|()| {
            invalid_query(format!(
                "cursor is {told:?}, but must be what the page before told as its nextCursor"
            ))
        })?,
    };
    let namespace = seen::listed(&caller, filter.namespace)?;
    let acts = if action == Some(Action::ReadSecret) {
        Vec::new()
    } else {
        let (before, limit) = (Some(place.acts), paging.look_for());
        let action = action.map(|action| action.name().to_owned());
        app.store.acts(ActFilter { namespace: namespace.clone(), action, before, limit }).await?
    };
    let reads = match action {
        None | Some(Action::ReadSecret) if filter.reads.unwrap_or(true) => {
            let (before, limit) = (Some(place.reads), paging.look_for());
            app.store.secret_accesses(AccessFilter { before, limit, ..of(namespace) }).await?
        }
        _ => Vec::new(),
    };
    Ok(Json(together(paging, place, acts, reads)))
}

fn known(name: &str) -> Result<Action, Refusal> {
    Action::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| {
        let known: Vec<_> = Action::ALL.into_iter().map(Action::name).collect();
        invalid_query(format!("action is {name:?}, but must be one of {}", known.join(", ")))
    })
}

/// The reads that a namespace is told of: those of its own jobs, which may be of global secrets, and for the global one those
/// of its own secrets.
fn of(namespace: Option<Namespace>) -> AccessFilter {
    match namespace {
        None => AccessFilter::default(),
        Some(Namespace::Global) => {
            AccessFilter { namespace: Some(Namespace::Global), ..AccessFilter::default() }
        }
        Some(owner) => AccessFilter { owner: Some(owner), ..AccessFilter::default() },
    }
}

/// A page of both, each with its latest first. Both are in the order of their numbers, whatever their clocks said.
fn together(
    paging: Paging,
    mut place: Place,
    acts: Vec<ActRow>,
    reads: Vec<SecretAccessRow>,
) -> Page<ActView> {
    let (mut acts, mut reads) = (acts.into_iter().peekable(), reads.into_iter().peekable());
    let mut page = paging.begin();
    let mut more = true;
    while more {
        let is_read_next = match (acts.peek(), reads.peek()) {
            (Some(act), Some(read)) => read.at > act.at,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let (after, item) = if is_read_next && let Some(next) = reads.next() {
            (Place { reads: next.id, ..place }, read(next))
        } else if let Some(next) = acts.next() {
            (Place { acts: next.id, ..place }, view(next))
        } else {
            return page.page(None);
        };
        more = page.add(item);
        if more {
            place = after;
        }
    }
    page.page(Some(place.to_string()))
}

fn read(row: SecretAccessRow) -> ActView {
    let SecretAccessRow { id, secret, scope, namespace, key, job, attempt, owner, executor, at } = row;
    ActView {
        id,
        at,
        actor: executor,
        actor_namespace: owner,
        action: Action::ReadSecret.name().to_owned(),
        subject: format!("{key} for {scope}"),
        namespace,
        from: String::new(),
        detail: format!("for job {job}, try {attempt}"),
        reference: Some(secret),
    }
}

fn view(row: ActRow) -> ActView {
    let NewAct { actor, actor_of, action, subject, namespace, origin, detail, reference } = row.act;
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
        reference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_text() {
        for place in [Place::NEWEST, Place { acts: 7, reads: 0 }] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for bad in ["", "7", "7.", ".7", "7.x", "7.8.9"] {
            assert_eq!(bad.parse::<Place>(), Err(()), "{bad}");
        }
    }
}
