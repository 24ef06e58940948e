//! Who did what.

use super::SqlStore;
use super::database::Durability;
use super::session::Session;
use super::shares::Turn;
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
            "SELECT id, at, actor, actor_of, action, subject, namespace, origin, detail, reference FROM audit \
             WHERE id < $1 AND (CAST($2 AS TEXT) IS NULL OR action = $2)",
            $of,
            " ORDER BY id DESC LIMIT $3"
        )
    };
}

statements! {
    INSERT = "INSERT INTO audit (at, actor, actor_of, action, subject, namespace, origin, detail, reference) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    LIST = list!("");
    /// Its index has no global ones.
    LIST_OF = list!(" AND namespace = $4 AND namespace <> ''");
    LIST_GLOBAL = list!(" AND namespace = $4");
    /// Numbers may have gaps: there may be fewer, and never more.
    AT_MOST = "SELECT COALESCE((SELECT MAX(id) FROM audit) - (SELECT MIN(id) FROM audit) + 1, 0)";
    /// By who did it: whoever does things to what is another's has no more room for it than else.
    COUNT = "SELECT actor_of, COUNT(*) FROM audit GROUP BY actor_of";
    FORGET_OLD = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2) \
                  RETURNING actor_of";
    /// Their index has these and no others.
    FORGET_OFTEN = "DELETE FROM audit WHERE id IN (SELECT id FROM audit \
                    WHERE action IN ('executor.register', 'session.begin') ORDER BY id LIMIT $1) RETURNING actor_of";
    FORGET_OFTEN_OF = "DELETE FROM audit WHERE id IN (SELECT id FROM audit \
                       WHERE action IN ('executor.register', 'session.begin') AND actor_of = $2 ORDER BY id LIMIT $1) \
                       RETURNING actor_of";
    FORGET_OF = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE actor_of = $2 ORDER BY id LIMIT $1) \
                 RETURNING actor_of";
}

/// An act as it comes out of the database.
type Columns = (i64, i64, String, String, String, String, String, String, String, Option<String>);

pub(super) async fn note(store: &SqlStore, act: NewAct) -> Result<(), StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    insert(&mut write, store.clock.now(), &act).await?;
    store.commit(write).await?;
    store.shares.audit.add(&act.actor_of.key());
    Ok(())
}

/// Notes it in a transaction of the caller's.
pub(super) async fn insert(session: &mut Session, at: Timestamp, act: &NewAct) -> Result<(), StoreError> {
    session
        .query(INSERT)
        .bind(micros(at))
        .bind(&act.actor)
        .bind(act.actor_of.key())
        .bind(&act.action)
        .bind(beginning(&act.subject, MAX_SUBJECT))
        .bind(act.namespace.key())
        .bind(&act.origin)
        .bind(beginning(&act.detail, MAX_DETAIL))
        .bind(act.reference.as_deref())
        .execute()
        .await
        .map(drop)
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

/// Where there are too many, a namespace that has more than half of what is kept gives up the rest; then what anybody may do as
/// often as they like goes, and then what is of whoever has most: so nobody can have forgotten what others did.
pub(super) async fn forget(store: &SqlStore, cutoff: Timestamp, most: u64) -> Result<u64, StoreError> {
    let too_many = too_many(store, most).await?;
    let mut write = store.database.write(Durability::Crash).await?;
    let mut gone = store.shares.audit.forgetting(too_many.min(MAX_FORGOTTEN_AT_ONCE.unsigned_abs()));
    let old = write.query(FORGET_OLD).bind(micros(cutoff)).bind(MAX_FORGOTTEN_AT_ONCE);
    gone.note(old.all().await?);
    while let Some(turn) = gone.beyond(most / 2) {
        let often = gone.take(&mut write, FORGET_OFTEN_OF, &turn).await?;
        let rest = Turn { rows: turn.rows - often, ..turn };
        if gone.take(&mut write, FORGET_OF, &rest).await? < rest.rows {
            break;
        }
    }
    if gone.left() > 0 {
        let often = write.query(FORGET_OFTEN).bind(gone.left().cast_signed());
        gone.note(often.all().await?);
    }
    gone.take_of_most(&mut write, FORGET_OF).await?;
    store.commit(write).await?;
    Ok(store.shares.audit.forgot(&gone))
}

/// How many acts there are beyond so many. The usual answer is "none", for which nothing is counted.
async fn too_many(store: &SqlStore, most: u64) -> Result<u64, StoreError> {
    let (at_most,): (i64,) = store.database.lookup().await?.query(AT_MOST).one().await?;
    if at_most.unsigned_abs() <= most {
        return Ok(0);
    }
    let count = async || store.database.lookup().await?.query(COUNT).all().await;
    Ok(store.shares.audit.total(count).await?.saturating_sub(most))
}

fn beginning(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn read(columns: Columns) -> Result<ActRow, StoreError> {
    let (id, at, actor, actor_of, action, subject, of, origin, detail, reference) = columns;
    let row = || format!("act {id}");
    let (actor_of, of) = (namespace(&actor_of, row)?, namespace(&of, row)?);
    let act = NewAct { actor, actor_of, action, subject, namespace: of, origin, detail, reference };
    Ok(ActRow { id, at: timestamp(at, row)?, act })
}
