//! Jobs that are not to be run before a time.

use super::SqlStore;
use super::database::Durability;
use super::keys;
use super::news::News;
use super::session::Session;
use super::statements::statements;
use super::values::micros;
use crate::error::StoreError;
use jiff::Timestamp;

/// Jobs that are let go in one transaction.
const MAX_AT_ONCE: i64 = 200;

macro_rules! due {
    ($jobs:literal) => {
        concat!(
            "SELECT id, queue, lane, rank, key, key_limit FROM ",
            $jobs,
            " \
         WHERE held = 'time' AND state = 'queued' AND due_at <= $1 ORDER BY due_at, id LIMIT $2"
        )
    };
}

statements! {
    /// Without statistics SQLite would rather read all that is queued.
    LOOK in sqlite = "SELECT id FROM jobs INDEXED BY jobs_due \
                      WHERE held = 'time' AND state = 'queued' AND due_at <= $1 LIMIT 1",
         in postgres = "SELECT id FROM jobs WHERE held = 'time' AND state = 'queued' AND due_at <= $1 LIMIT 1";
    DUE in sqlite = due!("jobs INDEXED BY jobs_due"), in postgres = concat!(due!("jobs"), " FOR UPDATE SKIP LOCKED");
    HOLD = "UPDATE jobs SET held = $1 WHERE id = $2";
}

/// A job whose time has come.
type Due = (i64, String, i64, i64, Option<String>, Option<i64>);

/// Lets go of those whose time has come; says how many.
pub(super) async fn release(store: &SqlStore) -> Result<u64, StoreError> {
    let now = store.clock.now();
    let mut released = 0;
    // The usual answer is "none": it costs the writers nothing.
    while any(&mut store.database.lookup().await?, now).await? {
        let mut write = store.database.write(Durability::PowerLoss).await?;
        let due: Vec<Due> = write.query(DUE).bind(micros(now)).bind(MAX_AT_ONCE).all().await?;
        // Another server has them in hand.
        if due.is_empty() {
            break;
        }
        released += due.len() as u64;
        keys::lock(&mut write, &due.iter().filter_map(|(.., key, _)| key.as_deref()).collect()).await?;
        for (id, queue, lane, rank, key, limit) in due {
            let held = match key.zip(limit) {
                Some((key, limit)) if !keys::has_room(&mut write, &key, limit).await? => Some("key"),
                _ => None,
            };
            write.query(HOLD).bind(held).bind(id).execute().await?;
            if held.is_none() {
                write.tell(News::Queued { queue, lane, rank });
            }
        }
        store.commit(write).await?;
    }
    Ok(released)
}

async fn any(session: &mut Session, now: Timestamp) -> Result<bool, StoreError> {
    Ok(session.query(LOOK).bind(micros(now)).optional::<(i64,)>().await?.is_some())
}
