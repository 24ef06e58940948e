//! Who did what.

use super::SqlStore;
use super::database::Durability;
use super::session::Session;
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
    /// Numbers may have gaps: there may be fewer, and never more.
    AT_MOST = "SELECT COALESCE((SELECT MAX(id) FROM audit) - (SELECT MIN(id) FROM audit) + 1, 0)";
    COUNT = "SELECT COUNT(*) FROM audit";
    FORGET_OLD = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)";
    /// Their index has these and no others.
    FORGET_OFTEN = "DELETE FROM audit WHERE id IN (SELECT id FROM audit \
                    WHERE action IN ('executor.register', 'session.begin') ORDER BY id LIMIT $1)";
    FORGET_OLDEST = "DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY id LIMIT $1)";
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

/// What anybody may do as often as they like goes first where there are too many, so that nobody can have the rest forgotten.
pub(super) async fn forget(store: &SqlStore, cutoff: Timestamp, most: u64) -> Result<u64, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let too_many = too_many(&mut lookup, most).await?;
    drop(lookup);
    let mut write = store.database.write(Durability::Crash).await?;
    let old = write.query(FORGET_OLD).bind(micros(cutoff)).bind(MAX_FORGOTTEN_AT_ONCE).execute().await?;
    let mut forgotten = old;
    for sql in [FORGET_OFTEN, FORGET_OLDEST] {
        let left = too_many.min(MAX_FORGOTTEN_AT_ONCE.unsigned_abs()).saturating_sub(forgotten);
        if left > 0 {
            forgotten += write.query(sql).bind(left.cast_signed()).execute().await?;
        }
    }
    store.commit(write).await?;
    Ok(forgotten)
}

/// How many acts there are beyond so many. The usual answer is "none", for which nothing is counted.
async fn too_many(session: &mut Session, most: u64) -> Result<u64, StoreError> {
    let (at_most,): (i64,) = session.query(AT_MOST).one().await?;
    if at_most.unsigned_abs() <= most {
        return Ok(0);
    }
    let (count,): (i64,) = session.query(COUNT).one().await?;
    Ok(count.unsigned_abs().saturating_sub(most))
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
