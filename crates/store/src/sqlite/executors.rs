//! Executors that were heard of.

use super::SqliteStore;
use super::database::Durability;
use super::statements::statements;
use super::values::{from_json, micros, timestamp, to_json};
use crate::error::StoreError;
use crate::model::ExecutorRow;
use jiff::Timestamp;
use wire::heartbeat::Telemetry;

/// Executors in the listing at most: names that have not been heard of for long fall off its end.
const MAX_LISTED: i64 = 10_000;

statements! {
    UPSERT = "INSERT INTO executors (name, queues, telemetry, first_seen_at, last_seen_at) \
              VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (name) DO UPDATE \
              SET queues = excluded.queues, telemetry = excluded.telemetry, \
              last_seen_at = excluded.last_seen_at";
    FORGET = "DELETE FROM executors WHERE last_seen_at < ?";
    LIST = "SELECT name, queues, telemetry, first_seen_at, last_seen_at FROM executors \
            ORDER BY last_seen_at DESC, name LIMIT ?";
}

pub(super) async fn upsert(
    store: &SqliteStore,
    name: &str,
    queues: &[String],
    telemetry: &Telemetry,
) -> Result<(), StoreError> {
    let mut write = store.database.write(Durability::Crash).await?;
    sqlx::query(UPSERT)
        .bind(name)
        .bind(to_json(queues)?)
        .bind(to_json(telemetry)?)
        .bind(micros(store.clock.now()))
        .execute(&mut *write)
        .await?;
    write.commit().await
}

pub(super) async fn forget(store: &SqliteStore, cutoff: Timestamp) -> Result<u64, StoreError> {
    let mut write = store.database.write(Durability::Crash).await?;
    let forgotten = sqlx::query(FORGET).bind(micros(cutoff)).execute(&mut *write).await?.rows_affected();
    write.commit().await?;
    Ok(forgotten)
}

pub(super) async fn list(store: &SqliteStore) -> Result<Vec<ExecutorRow>, StoreError> {
    let rows: Vec<(String, String, String, i64, i64)> =
        sqlx::query_as(LIST).bind(MAX_LISTED).fetch_all(store.database.readers()).await?;
    rows.into_iter()
        .map(|(name, queues, telemetry, first_seen, last_seen)| {
            let row = || format!("executor {name:?}");
            Ok(ExecutorRow {
                queues: from_json(&queues, "list of queues", row)?,
                telemetry: from_json(&telemetry, "telemetry", row)?,
                first_seen_at: timestamp(first_seen, row)?,
                last_seen_at: timestamp(last_seen, row)?,
                name,
            })
        })
        .collect()
}
