//! Noting where the texts of tries are that were made objects.

use super::super::SqlStore;
use super::super::database::{Durability, Write};
use super::super::loose;
use super::super::session::Session;
use super::super::statements::statements;
use super::super::values::to_json;
use super::make::Made;
use super::seal::Wanted;
use super::sealed::Pieces;
use super::{Texts, rows, sealed};
use crate::error::StoreError;
use jobs::JobId;

statements! {
    /// Nobody else seals a log of the job, writes to one or removes it before this transaction is over.
    LOCK in sqlite = "SELECT id FROM jobs WHERE id = $1",
         in postgres = "SELECT id FROM jobs WHERE id = $1 FOR UPDATE";
    PUT = "INSERT INTO sealed_logs (job, epoch, object, bytes, pieces) VALUES ($1, $2, $3, $4, $5) \
           ON CONFLICT (job, epoch) DO UPDATE \
           SET object = excluded.object, bytes = excluded.bytes, pieces = excluded.pieces";
}

/// An object, where it is one's: key, bytes of text, and where which is.
type Object<'o> = Option<(&'o str, u64, &'o Pieces)>;

/// Notes what was made; returns the tries whose texts are of no use any more.
pub(super) async fn settle(store: &SqlStore, mut made: Vec<Made>) -> Result<Vec<Wanted>, StoreError> {
    // Jobs are locked in the order of their numbers, here as everywhere.
    made.sort_unstable_by_key(|one| match one {
        Made::Object { of, .. } | Made::Nothing(of) => Some((of.job, of.epoch)),
        Made::NotBegun(_) => None,
    });
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let settled = settle_each(store, &mut write, made).await;
    store.settle(write, settled).await
}

async fn settle_each(
    store: &SqlStore,
    write: &mut Write<'_>,
    made: Vec<Made>,
) -> Result<Vec<Wanted>, StoreError> {
    let mut settled = Vec::with_capacity(made.len());
    for one in made {
        let (of, is_settled) = match one {
            Made::NotBegun(key) => {
                loose::claim(write, &key).await?;
                continue;
            }
            Made::Nothing(of) => {
                let is_settled = settle_one(store, write, &of, None).await?;
                (of, is_settled)
            }
            Made::Object { of, key, bytes, pieces } => {
                let is_settled = settle_one(store, write, &of, Some((&key, bytes, &pieces))).await?;
                (of, is_settled)
            }
        };
        settled.extend(is_settled.then_some(of));
    }
    Ok(settled)
}

async fn settle_one(
    store: &SqlStore,
    write: &mut Session,
    of: &Wanted,
    object: Object<'_>,
) -> Result<bool, StoreError> {
    let now = store.clock.now();
    if !lock_job(write, of.job).await? || is_outdated(store, write, of).await? {
        // The job was forgotten meanwhile, or another server was quicker.
        if let Some((key, ..)) = object {
            loose::note(write, key, now).await?;
        }
        return Ok(false);
    }
    if let Some((key, bytes, pieces)) = object {
        if !loose::claim(write, key).await? {
            // It was swept, for it took too long.
            return Err(StoreError::Outdated);
        }
        let put = write.query(PUT).bind(of.job.0).bind(i64::from(of.epoch)).bind(key);
        let put = put.bind(i64::try_from(bytes).unwrap_or(i64::MAX)).bind(to_json(pieces)?);
        put.execute().await?;
        if let Some(present) = &of.present {
            loose::note(write, present, now).await?;
        }
    }
    if store.logs.texts == Texts::Rows {
        rows::remove(write, of.job, of.epoch).await?;
    }
    Ok(true)
}

/// Locks a job that is there; says whether it is.
pub(in crate::sql) async fn lock_job(write: &mut Session, job: JobId) -> Result<bool, StoreError> {
    let locked: Option<(i64,)> = write.query(LOCK).bind(job.0).optional().await?;
    Ok(locked.is_some())
}

/// Whether there is something else now than what the object was made of.
async fn is_outdated(store: &SqlStore, write: &mut Session, of: &Wanted) -> Result<bool, StoreError> {
    if sealed::object(write, of.job, of.epoch).await? != of.present {
        return Ok(true);
    }
    Ok(store.logs.texts == Texts::Rows && rows::lengths(write, of.job, of.epoch).await? != of.lengths)
}
