//! Who holds which job.

use super::SqlStore;
use super::database::Durability;
use super::shared_time;
use super::statements::statements;
use super::token;
use super::values::{job_name, micros, small, span, to_json};
use crate::error::StoreError;
use crate::model::{HeartbeatAnswer, HeldJob};
use jobs::JobId;
use std::time::Duration;

/// A job that is held. Not by an executor whose identity was revoked: what that one still says of it counts for nothing.
macro_rules! by {
    ($condition:literal) => {
        concat!(
            "SELECT id, queue, repository, epoch, executor, namespace FROM jobs WHERE ",
            $condition,
            " AND state = 'processing' AND NOT EXISTS ( \
                 SELECT 1 FROM identities WHERE identities.name = jobs.executor AND identities.revoked_at IS NOT NULL)"
        )
    };
}

statements! {
    /// A lease never becomes shorter: whoever holds it may not hear of that. What the database's clock shows is told along
    /// with it, which costs nothing: see `shared_time`.
    RENEW in sqlite = "UPDATE jobs SET last_heartbeat_at = $1, lease = max(lease, $2) \
                       WHERE id IN (SELECT value FROM json_each($3)) \
                       AND state = 'processing' AND executor = $4 RETURNING id, cancel_requested, 0",
          in postgres = "WITH held AS (SELECT id FROM jobs \
                             WHERE id IN (SELECT value::bigint FROM json_array_elements_text($3::json)) \
                             AND state = 'processing' AND executor = $4 ORDER BY id FOR UPDATE) \
                         UPDATE jobs SET last_heartbeat_at = $1, lease = GREATEST(lease, $2) FROM held \
                         WHERE jobs.id = held.id RETURNING jobs.id, cancel_requested, \
                             (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    BY_TOKEN = by!("token_hash = $1");
    BY_HOLDER = by!("id = $1 AND executor = $2");
}

/// A job that is held, as it comes out of the database.
type Held = (i64, String, String, i64, String, String);

pub(super) async fn heartbeat(
    store: &SqlStore,
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
    let now = store.clock.now();
    let mut renewed: Vec<(i64, bool, i64)> = write
        .query(RENEW)
        .bind(micros(now))
        .bind(span(lease))
        .bind(to_json(&ids)?)
        .bind(executor)
        .all()
        .await?;
    let shown = renewed.iter().try_for_each(|(.., shown)| shared_time::check_shown(store, now, *shown));
    store.settle(write, shown).await?;
    renewed.sort_unstable();
    Ok(HeartbeatAnswer {
        known: renewed.iter().map(|(id, ..)| JobId(*id)).collect(),
        cancel: renewed.iter().filter(|(_, cancel, _)| *cancel).map(|(id, ..)| JobId(*id)).collect(),
    })
}

pub(super) async fn job_by_token(store: &SqlStore, token: &str) -> Result<Option<HeldJob>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    lookup.query(BY_TOKEN).bind(token::hash(token)).optional().await?.map(held).transpose()
}

pub(super) async fn job_by_holder(
    store: &SqlStore,
    id: JobId,
    executor: &str,
) -> Result<Option<HeldJob>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    lookup.query(BY_HOLDER).bind(id.0).bind(executor).optional().await?.map(held).transpose()
}

fn held((id, queue, repository, epoch, executor, owner): Held) -> Result<HeldJob, StoreError> {
    let id = JobId(id);
    Ok(HeldJob { id, queue, owner, repository, epoch: small(epoch, "epoch", || job_name(id))?, executor })
}
