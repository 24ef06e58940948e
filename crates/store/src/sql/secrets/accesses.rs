//! Who was given which secret.

use super::super::SqlStore;
use super::super::database::Durability;
use super::super::session::{Row, Session};
use super::super::statements::statements;
use super::super::values::{micros, small, timestamp};
use super::stored::namespace_of;
use crate::error::StoreError;
use crate::model::{AccessFilter, SecretAccessRow};
use crate::sql::MAX_LISTED;
use jiff::Timestamp;
use jobs::JobId;

/// Rows that one statement removes: everybody else waits for its end.
const MAX_FORGOTTEN_AT_ONCE: i64 = 1_000;

macro_rules! list {
    ($of:literal) => {
        concat!(
            "SELECT id, secret, scope, namespace, key, job, attempt, owner, executor, at FROM secret_accesses WHERE ",
            $of,
            "id < $1 AND (CAST($2 AS TEXT) IS NULL OR owner = $2) AND (CAST($3 AS TEXT) IS NULL OR namespace = $3) \
             ORDER BY id DESC LIMIT $4"
        )
    };
}

statements! {
    INSERT = "INSERT INTO secret_accesses (secret, scope, namespace, key, job, attempt, owner, executor, at) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    LIST = list!("");
    LIST_OF = list!("secret = $5 AND ");
    /// Each by an index of its own: few of one namespace are found among many of others.
    LIST_IN = list!("namespace = $3 AND ");
    LIST_OWNED = list!("owner = $2 AND ");
    FORGET_OLD = "DELETE FROM secret_accesses WHERE id IN \
                  (SELECT id FROM secret_accesses WHERE at < $1 ORDER BY at LIMIT $2) RETURNING owner";
    /// Numbers may have gaps: there may be fewer, and never more.
    AT_MOST = "SELECT COALESCE((SELECT MAX(id) FROM secret_accesses) - (SELECT MIN(id) FROM secret_accesses) + 1, 0)";
    COUNT = "SELECT owner, COUNT(*) FROM secret_accesses GROUP BY owner";
    FORGET_OF = "DELETE FROM secret_accesses WHERE id IN \
                 (SELECT id FROM secret_accesses WHERE owner = $2 ORDER BY id LIMIT $1) RETURNING owner";
}

/// An access to note.
pub(super) struct Access<'a> {
    pub(super) secret: &'a str,
    pub(super) scope: &'a str,
    pub(super) namespace: &'a str,
    pub(super) key: &'a str,
    pub(super) job: JobId,
    pub(super) attempt: u32,
    pub(super) owner: &'a str,
    pub(super) executor: &'a str,
}

pub(super) async fn note(
    session: &mut Session,
    access: &Access<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let insert = session.query(INSERT).bind(access.secret).bind(access.scope).bind(access.namespace);
    let insert = insert.bind(access.key).bind(access.job.0).bind(i64::from(access.attempt));
    insert.bind(access.owner).bind(access.executor).bind(micros(now)).execute().await?;
    Ok(())
}

pub(in crate::sql) async fn list(
    store: &SqlStore,
    filter: AccessFilter,
) -> Result<Vec<SecretAccessRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let list = match &filter {
        AccessFilter { secret: Some(_), .. } => LIST_OF,
        AccessFilter { namespace: Some(_), .. } => LIST_IN,
        AccessFilter { owner: Some(_), .. } => LIST_OWNED,
        _ => LIST,
    };
    let mut list = lookup
        .query(list)
        .bind(filter.before.unwrap_or(i64::MAX))
        .bind(filter.owner.map(|owner| owner.key()))
        .bind(filter.namespace.map(|of| of.key()))
        .bind(i64::from(filter.limit.min(MAX_LISTED)));
    if let Some(secret) = filter.secret {
        list = list.bind(secret);
    }
    list.rows().await?.iter().map(read).collect()
}

/// Removes those from before `cutoff`, and of more than `most` the oldest of whoever's jobs were given secrets most often: so
/// nobody can have forgotten what others were given.
pub(in crate::sql) async fn forget(
    store: &SqlStore,
    cutoff: Timestamp,
    most: u64,
) -> Result<u64, StoreError> {
    let too_many = too_many(store, most).await?;
    let mut write = store.database.write(Durability::Crash).await?;
    let mut gone = store.shares.accesses.forgetting(too_many.min(MAX_FORGOTTEN_AT_ONCE.unsigned_abs()));
    let old = write.query(FORGET_OLD).bind(micros(cutoff)).bind(MAX_FORGOTTEN_AT_ONCE);
    gone.note(old.all().await?);
    gone.take_of_most(&mut write, FORGET_OF).await?;
    store.commit(write).await?;
    Ok(store.shares.accesses.forgot(&gone))
}

/// How many there are beyond so many. The usual answer is "none", for which nothing is counted.
async fn too_many(store: &SqlStore, most: u64) -> Result<u64, StoreError> {
    let (at_most,): (i64,) = store.database.lookup().await?.query(AT_MOST).one().await?;
    if at_most.unsigned_abs() <= most {
        return Ok(0);
    }
    let count = async || store.database.lookup().await?.query(COUNT).all().await;
    Ok(store.shares.accesses.total(count).await?.saturating_sub(most))
}

fn read(row: &Row) -> Result<SecretAccessRow, StoreError> {
    let id: i64 = row.get("id")?;
    let name = || format!("access {id} to a secret");
    Ok(SecretAccessRow {
        id,
        secret: row.get("secret")?,
        scope: super::stored::scope_of(&row.get::<String>("scope")?, name)?,
        namespace: namespace_of(&row.get::<String>("namespace")?, name)?,
        key: row.get("key")?,
        job: JobId(row.get("job")?),
        attempt: small(row.get("attempt")?, "attempt", name)?,
        owner: namespace_of(&row.get::<String>("owner")?, name)?,
        executor: row.get("executor")?,
        at: timestamp(row.get("at")?, name)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::database::SqliteFile;
    use sqlx::{AssertSqlSafe, Row as _};

    #[tokio::test]
    async fn few_of_one_namespace_are_not_searched_for_among_all() {
        let (_dir, database) = SqliteFile::temporary().await;
        for (list, index) in [
            (LIST_OF, "secret_accesses_secret (secret=? AND id<?)"),
            (LIST_IN, "secret_accesses_of_namespace (namespace=? AND id<?)"),
            (LIST_OWNED, "secret_accesses_of_owner (owner=? AND id<?)"),
        ] {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", list.sqlite));
            let query = (1..=5).fold(sqlx::query(explain), |query, _| query.bind(0));
            let plan = query.fetch_all(&mut *database.raw().await).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            assert_eq!(plan, [format!("SEARCH secret_accesses USING INDEX {index}")]);
        }
    }
}
