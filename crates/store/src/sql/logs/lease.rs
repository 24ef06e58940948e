//! Whether a writer may write.

use super::super::SqlStore;
use super::super::database::{Durability, Write};
use super::super::session::{Session, Sql};
use super::super::statements::statements;
use crate::error::StoreError;
use jobs::{JobId, Lease, Rejected};

statements! {
    HELD = "SELECT state = 'processing' AND epoch = $2 AND executor IS NOT DISTINCT FROM $3 FROM jobs WHERE id = $1";
    /// The same, and so it stays until the transaction is over.
    HELD_FOR_NOW in sqlite = "SELECT state = 'processing' AND epoch = $2 AND executor IS NOT DISTINCT FROM $3 \
                              FROM jobs WHERE id = $1",
                 in postgres = "SELECT state = 'processing' AND epoch = $2 AND executor IS NOT DISTINCT FROM $3 \
                                FROM jobs WHERE id = $1 FOR UPDATE";
    ENTRY_EXISTS = "SELECT EXISTS (SELECT 1 FROM log_entries WHERE job = $1 AND epoch = $2 AND entry = $3)";
}

/// Refuses everybody but the job's holder.
pub(super) async fn check_lease(session: &mut Session, id: JobId, lease: &Lease) -> Result<(), StoreError> {
    check(session, HELD, id, lease).await
}

/// The same, and nobody ends the holder's lease before this transaction is over.
pub(super) async fn write_as_holder<'s>(
    store: &'s SqlStore,
    id: JobId,
    lease: &Lease,
) -> Result<Write<'s>, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    match check_held_for_now(&mut write, id, lease).await {
        Ok(()) => Ok(write),
        // It has locked the row of a job that others may want.
        Err(fault) => {
            write.roll_back().await;
            Err(fault)
        }
    }
}

/// Refuses everybody but the job's holder, whose lease nobody ends before this transaction is over.
pub(in crate::sql) async fn check_held_for_now(
    session: &mut Session,
    id: JobId,
    lease: &Lease,
) -> Result<(), StoreError> {
    check(session, HELD_FOR_NOW, id, lease).await
}

async fn check(session: &mut Session, held: Sql, id: JobId, lease: &Lease) -> Result<(), StoreError> {
    let query = session.query(held).bind(id.0).bind(i64::from(lease.epoch)).bind(&lease.executor);
    match query.optional().await? {
        Some((true,)) => Ok(()),
        Some((false,)) => Err(Rejected::LeaseLost.into()),
        None => Err(StoreError::UnknownJob(id)),
    }
}

/// Refuses a number that no entry of the try has.
pub(super) async fn check_entry(
    session: &mut Session,
    id: JobId,
    epoch: u32,
    entry: i64,
) -> Result<(), StoreError> {
    let exists = session.query(ENTRY_EXISTS).bind(id.0).bind(i64::from(epoch)).bind(entry);
    let (exists,) = exists.one().await?;
    if exists { Ok(()) } else { Err(StoreError::UnknownLogEntry { job: id, entry }) }
}
