//! Who did what.

use super::SqlStore;
use super::database::Durability;
use super::statements::statements;
use super::values::{micros, namespace, timestamp};
use crate::error::StoreError;
use crate::identity::{ActFilter, ActRow, NewAct};
use crate::sql::MAX_LISTED;
use jiff::Timestamp;
use jobs::Namespace;

/// Bytes that are kept of what something was done to, and of what else there is to tell.
const MAX_SUBJECT: usize = 300;
const MAX_DETAIL: usize = 1_000;
/// Acts that are forgotten in one transaction: everybody else waits for its end.
const MAX_FORGOTTEN_AT_ONCE: i64 = 1_000;

macro_rules! list {
    ($of:literal) => {
        concat!(
            "SELECT id, at, actor, actor_of, action, subject, namespace, origin, detail FROM audit \
             WHERE id < $1 AND (CAST($2 AS TEXT) IS NULL OR action = $2)",
            $of,
            " ORDER BY id DESC LIMIT $3"
        )
    };
}

statements! {
    INSERT = "INSERT INTO audit (at, actor, actor_of, action, subject, namespace, origin, detail) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    LIST = list!("");
    /// Its index has no global ones.
    LIST_OF = list!(" AND namespace = $4 AND namespace <> ''");
    LIST_GLOBAL = list!(" AND namespace = $4");
    /// Numbers may have gaps, so these are never fewer than it takes.
    FORGET = "DELETE FROM audit WHERE id IN \
              (SELECT id FROM audit WHERE at < $1 OR id <= (SELECT MAX(id) FROM audit) - $2 ORDER BY id LIMIT $3)";
}

/// An act as it comes out of the database.
type Columns = (i64, i64, String, String, String, String, String, String, String);

pub(super) async fn note(store: &SqlStore, act: NewAct) -> Result<(), StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    write
        .query(INSERT)
        .bind(micros(store.clock.now()))
        .bind(&act.actor)
        .bind(act.actor_of.key())
        .bind(&act.action)
        .bind(beginning(&act.subject, MAX_SUBJECT))
        .bind(act.namespace.key())
        .bind(&act.origin)
        .bind(beginning(&act.detail, MAX_DETAIL))
        .execute()
        .await?;
    store.commit(write).await
}

pub(super) async fn list(store: &SqlStore, filter: ActFilter) -> Result<Vec<ActRow>, StoreError> {
    let of = filter.namespace.as_ref().map(Namespace::key);
    let mut lookup = store.database.lookup().await?;
    let mut list = lookup
        .query(match of.as_deref() {
            None => LIST,
            Some("") => LIST_GLOBAL,
            Some(_) => LIST_OF,
        })
        .bind(filter.before.unwrap_or(i64::MAX))
        .bind(filter.action)
        .bind(i64::from(filter.limit.min(MAX_LISTED)));
    if let Some(of) = of {
        list = list.bind(of);
    }
    list.all::<Columns>().await?.into_iter().map(read).collect()
}

pub(super) async fn forget(store: &SqlStore, cutoff: Timestamp, most: u64) -> Result<u64, StoreError> {
    let mut write = store.database.write(Durability::Crash).await?;
    let forget = write.query(FORGET).bind(micros(cutoff)).bind(i64::try_from(most).unwrap_or(i64::MAX));
    let forgotten = forget.bind(MAX_FORGOTTEN_AT_ONCE).execute().await?;
    store.commit(write).await?;
    Ok(forgotten)
}

fn beginning(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn read(columns: Columns) -> Result<ActRow, StoreError> {
    let (id, at, actor, actor_of, action, subject, of, origin, detail) = columns;
    let row = || format!("act {id}");
    let (actor_of, of) = (namespace(&actor_of, row)?, namespace(&of, row)?);
    let act = NewAct { actor, actor_of, action, subject, namespace: of, origin, detail };
    Ok(ActRow { id, at: timestamp(at, row)?, act })
}
