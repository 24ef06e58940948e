//! Jobs of which only so many may be given out at once.
//!
//! A job with a key either has one of the key's places, from its submission, or from when one becomes free, to its end;
//! or it is *held*, and claims don't see it. So claims need not know of keys. Who gives or takes a place has the key's
//! lock until its transaction is over; whose row is locked by somebody else at that moment is passed over, so that nobody
//! waits in a circle.

use super::database::Write;
use super::news::News;
use super::session::Session;
use super::statements::statements;
use crate::error::StoreError;

macro_rules! next {
    () => {
        "SELECT id, queue, lane, rank, key_limit FROM jobs WHERE key = $1 AND held = 'key' AND state = 'queued' \
         ORDER BY rank, id LIMIT 1"
    };
}
statements! {
    /// SQLite has one writer anyway.
    LOCK in sqlite = "SELECT 1 WHERE $1 IS NOT NULL",
         in postgres = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtextextended($1, 0))) AS locked";
    TAKEN = "SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE key = $1 AND held IS NULL \
             AND state IN ('queued', 'processing', 'errored') LIMIT $2) AS taken";
    NEXT in sqlite = next!(), in postgres = concat!(next!(), " FOR UPDATE SKIP LOCKED");
    LET_GO = "UPDATE jobs SET held = NULL WHERE id = $1";
}

/// What a key is stored as: everybody's own.
pub(super) fn of(owner: &str, key: &str) -> String {
    format!("{owner}\u{1f}{key}")
}

/// Whether a new job of `key` may have a place. The answer holds until the transaction is over.
pub(super) async fn has_room(session: &mut Session, key: &str, limit: i64) -> Result<bool, StoreError> {
    session.query(LOCK).bind(key).execute().await?;
    let (taken,): (i64,) = session.query(TAKEN).bind(key).bind(limit).one().await?;
    Ok(taken < limit)
}

/// Gives the places that are free to those that wait for them.
pub(super) async fn hand_on(write: &mut Write<'_>, key: &str) -> Result<(), StoreError> {
    write.query(LOCK).bind(key).execute().await?;
    loop {
        let next: Option<(i64, String, i64, i64, i64)> = write.query(NEXT).bind(key).optional().await?;
        let Some((id, queue, lane, rank, limit)) = next else { return Ok(()) };
        let (taken,): (i64,) = write.query(TAKEN).bind(key).bind(limit).one().await?;
        if taken >= limit {
            return Ok(());
        }
        write.query(LET_GO).bind(id).execute().await?;
        write.tell(News::Queued { queue, lane, rank });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::database::SqliteFile;

    /// However many wait for a place, they are not walked over to count those who have one.
    #[tokio::test]
    async fn neither_who_waits_nor_other_jobs_are_searched() {
        let (_dir, database) = SqliteFile::temporary().await;
        assert_eq!(database.plan(NEXT).await, ["SEARCH jobs USING INDEX jobs_wait_for_place (key=?)"]);
        assert!(
            database.plan(TAKEN).await.contains(&"SEARCH jobs USING INDEX jobs_placed (key=?)".to_owned())
        );
    }
}
