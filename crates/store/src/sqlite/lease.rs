//! Who holds which job.

use super::SqliteStore;
use super::database::Durability;
use super::statements::statements;
use super::token;
use super::values::{micros, span, to_json};
use crate::error::StoreError;
use crate::model::{HeartbeatAnswer, HeldJob};
use jobs::JobId;
use std::time::Duration;

statements! {
    /// A lease never becomes shorter: whoever holds it may not hear of that.
    RENEW = "UPDATE jobs SET last_heartbeat_at = ?, lease = max(lease, ?) WHERE id IN (SELECT value FROM json_each(?)) \
             AND state = 'processing' AND executor = ? RETURNING id, cancel_requested";
    BY_TOKEN = "SELECT id, queue, repository, epoch, executor FROM jobs \
                WHERE token_hash = ? AND state = 'processing'";
    BY_HOLDER = "SELECT id, queue, repository, epoch, executor FROM jobs \
                 WHERE id = ? AND state = 'processing' AND executor = ?";
}

/// A job that is held, as it comes out of the database.
type Held = (i64, String, String, u32, String);

pub(super) async fn heartbeat(
    store: &SqliteStore,
    executor: &str,
    ids: &[JobId],
    lease: Duration,
) -> Result<HeartbeatAnswer, StoreError> {
    if ids.is_empty() {
        return Ok(HeartbeatAnswer::default());
    }
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    // Lost with the power, it is as if the last heartbeat had not come: the next one is near.
    let mut write = store.database.write(Durability::Crash).await?;
    let mut renewed: Vec<(i64, bool)> = sqlx::query_as(RENEW)
        .bind(micros(store.clock.now()))
        .bind(span(lease))
        .bind(to_json(&ids)?)
        .bind(executor)
        .fetch_all(&mut *write)
        .await?;
    write.commit().await?;
    renewed.sort_unstable();
    Ok(HeartbeatAnswer {
        known: renewed.iter().map(|(id, _)| JobId(*id)).collect(),
        cancel: renewed.iter().filter(|(_, cancel)| *cancel).map(|(id, _)| JobId(*id)).collect(),
    })
}

pub(super) async fn job_by_token(store: &SqliteStore, token: &str) -> Result<Option<HeldJob>, StoreError> {
    let by_token = sqlx::query_as(BY_TOKEN).bind(token::hash(token));
    Ok(by_token.fetch_optional(store.database.readers()).await?.map(held))
}

pub(super) async fn job_by_holder(
    store: &SqliteStore,
    id: JobId,
    executor: &str,
) -> Result<Option<HeldJob>, StoreError> {
    let by_holder = sqlx::query_as(BY_HOLDER).bind(id.0).bind(executor);
    Ok(by_holder.fetch_optional(store.database.readers()).await?.map(held))
}

fn held((id, queue, repository, epoch, executor): Held) -> HeldJob {
    HeldJob { id: JobId(id), queue, repository, epoch, executor }
}
