//! Whether a writer may write.

use super::super::statements::statements;
use crate::error::StoreError;
use jobs::{JobId, Lease, Rejected};
use sqlx::SqliteConnection;

statements! {
    HELD = "SELECT state = 'processing' AND epoch = ?2 AND executor IS ?3 FROM jobs WHERE id = ?1";
    ENTRY_EXISTS = "SELECT EXISTS (SELECT 1 FROM log_entries WHERE job = ? AND epoch = ? AND entry = ?)";
}

/// Refuses everybody but the job's holder.
pub(super) async fn check_lease(
    connection: &mut SqliteConnection,
    id: JobId,
    lease: &Lease,
) -> Result<(), StoreError> {
    let held: Option<bool> = sqlx::query_scalar(HELD)
        .bind(id.0)
        .bind(lease.epoch)
        .bind(&lease.executor)
        .fetch_optional(connection)
        .await?;
    if held.ok_or(StoreError::UnknownJob(id))? { Ok(()) } else { Err(Rejected::LeaseLost.into()) }
}

/// Refuses a number that no entry of the try has.
pub(super) async fn check_entry(
    connection: &mut SqliteConnection,
    id: JobId,
    epoch: u32,
    entry: i64,
) -> Result<(), StoreError> {
    let exists: bool =
        sqlx::query_scalar(ENTRY_EXISTS).bind(id.0).bind(epoch).bind(entry).fetch_one(connection).await?;
    if exists { Ok(()) } else { Err(StoreError::UnknownLogEntry { job: id, entry }) }
}
