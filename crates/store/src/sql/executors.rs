//! Executors that were heard of.

use super::SqlStore;
use super::database::Durability;
use super::session::Session;
use super::statements::statements;
use super::values::{from_json, micros, timestamp, to_json};
use crate::error::StoreError;
use crate::model::ExecutorRow;
use jiff::Timestamp;
use jobs::Capacity;
use serde::{Deserialize, Serialize};
use wire::additions::TakesNone;
use wire::heartbeat::Telemetry;

/// Executors that are remembered at most. Each new one beyond takes the place of the one that was not
/// heard of for longest.
const MAX_EXECUTORS: i64 = 10_000;

statements! {
    UPSERT = "INSERT INTO executors (name, queues, telemetry, first_seen_at, last_seen_at) \
              VALUES ($1, $2, $3, $4, $4) ON CONFLICT (name) DO UPDATE \
              SET queues = excluded.queues, telemetry = excluded.telemetry, \
              last_seen_at = excluded.last_seen_at RETURNING executors.first_seen_at = executors.last_seen_at";
    COUNT = "SELECT COUNT(*) FROM executors";
    DISPLACE = "DELETE FROM executors WHERE name IN \
                (SELECT name FROM executors WHERE maintenance_at IS NULL ORDER BY last_seen_at, name LIMIT $1)";
    /// What an operator said of one stays until it is taken back: it may come again.
    FORGET = "DELETE FROM executors WHERE last_seen_at < $1 AND maintenance_at IS NULL";
    NOTE_CAPACITY = "UPDATE executors SET capacity = $1 WHERE name = $2";
    LIST = "SELECT name, queues, telemetry, first_seen_at, last_seen_at, capacity, maintenance_at FROM executors \
            ORDER BY last_seen_at DESC, name LIMIT $1";
    /// A queue's name as it is in the list: in quotes, and as JSON has it.
    SERVING in sqlite = "SELECT name, queues, telemetry, first_seen_at, last_seen_at, capacity, maintenance_at FROM executors \
                         WHERE instr(queues, $2) > 0 ORDER BY last_seen_at DESC, name LIMIT $1",
            in postgres = "SELECT name, queues, telemetry, first_seen_at, last_seen_at, capacity, maintenance_at FROM executors \
                           WHERE strpos(queues, $2) > 0 ORDER BY last_seen_at DESC, name LIMIT $1";
    GET = "SELECT name, queues, telemetry, first_seen_at, last_seen_at, capacity, maintenance_at FROM executors \
           WHERE name = $1";
}

/// What an executor says of itself with each heartbeat. The version before knows only the telemetry, and overwrites the rest.
#[derive(Serialize, Deserialize)]
struct Told {
    #[serde(flatten)]
    telemetry: Telemetry,
    /// As it is on the wire, where a later version may have more words.
    #[serde(default, rename = "takesNone", skip_serializing_if = "Option::is_none")]
    takes_none: Option<String>,
}

pub(super) async fn upsert(
    store: &SqlStore,
    name: &str,
    queues: &[String],
    telemetry: &Telemetry,
    takes_none: Option<TakesNone>,
) -> Result<(), StoreError> {
    let told = Told { telemetry: telemetry.clone(), takes_none: takes_none.map(|why| why.name().to_owned()) };
    let mut write = store.database.write(Durability::Crash).await?;
    let (is_new,): (bool,) = write
        .query(UPSERT)
        .bind(name)
        .bind(to_json(queues)?)
        .bind(to_json(&told)?)
        .bind(micros(store.clock.now()))
        .one()
        .await?;
    if is_new {
        make_room(&mut write).await?;
    }
    store.commit(write).await
}

async fn make_room(session: &mut Session) -> Result<(), StoreError> {
    let (count,): (i64,) = session.query(COUNT).one().await?;
    if count > MAX_EXECUTORS {
        session.query(DISPLACE).bind(count - MAX_EXECUTORS).execute().await?;
    }
    Ok(())
}

pub(super) async fn forget(store: &SqlStore, cutoff: Timestamp) -> Result<u64, StoreError> {
    let mut write = store.database.write(Durability::Crash).await?;
    let forgotten = write.query(FORGET).bind(micros(cutoff)).execute().await?;
    store.commit(write).await?;
    Ok(forgotten)
}

pub(super) async fn note_capacity(
    store: &SqlStore,
    executor: &str,
    capacity: &Capacity,
) -> Result<bool, StoreError> {
    let mut write = store.database.write(Durability::Crash).await?;
    let noted = write.query(NOTE_CAPACITY).bind(to_json(capacity)?).bind(executor).execute().await?;
    store.commit(write).await?;
    Ok(noted > 0)
}

/// An executor, as it comes out of the database.
type Found = (String, String, String, i64, i64, String, Option<i64>);

/// One that can't be read is nothing to the others.
pub(super) async fn list(store: &SqlStore) -> Result<Vec<ExecutorRow>, StoreError> {
    let rows: Vec<Found> = store.database.lookup().await?.query(LIST).bind(MAX_EXECUTORS).all().await?;
    Ok(rows.into_iter().filter_map(|row| read(row).ok()).collect())
}

pub(super) async fn serving(store: &SqlStore, queue: &str) -> Result<Vec<ExecutorRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let serving = lookup.query(SERVING).bind(MAX_EXECUTORS).bind(to_json(&queue)?);
    let rows: Vec<Found> = serving.all().await?;
    Ok(rows.into_iter().filter_map(|row| read(row).ok()).collect())
}

pub(super) async fn by_name(store: &SqlStore, name: &str) -> Result<ExecutorRow, StoreError> {
    let row: Option<Found> = store.database.lookup().await?.query(GET).bind(name).optional().await?;
    row.map(read).ok_or_else(|| StoreError::UnknownExecutor(name.to_owned()))?
}

fn read(
    (name, queues, telemetry, first_seen, last_seen, capacity, maintenance): Found,
) -> Result<ExecutorRow, StoreError> {
    let row = || format!("executor {name:?}");
    let Told { telemetry, takes_none } = from_json(&telemetry, "telemetry", row)?;
    Ok(ExecutorRow {
        queues: from_json(&queues, "list of queues", row)?,
        telemetry,
        takes_none: takes_none.as_deref().and_then(TakesNone::parse),
        first_seen_at: timestamp(first_seen, row)?,
        last_seen_at: timestamp(last_seen, row)?,
        capacity: from_json(&capacity, "capacity", row)?,
        maintenance_at: maintenance.map(|micros| timestamp(micros, row)).transpose()?,
        name,
    })
}
