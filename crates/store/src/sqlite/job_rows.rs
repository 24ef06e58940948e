//! Reading whole jobs.

use super::SqliteStore;
use super::life::{Life, life_columns};
use super::statements::statements;
use super::values::{from_json, job_name};
use crate::error::StoreError;
use crate::model::{JobFilter, JobRow};
use jobs::{JobId, JobSpec};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

/// Jobs in one listing at most, whatever was asked for.
const MAX_LISTED: u32 = 500;

statements! {
    LOAD = concat!("SELECT ", life_columns!(), ", commit_id, spec FROM jobs WHERE id = ?");
    LIST = concat!(
        "SELECT ", life_columns!(), ", commit_id, spec FROM jobs \
         WHERE (?1 IS NULL OR queue = ?1) AND id < ?2 ORDER BY id DESC LIMIT ?3"
    );
    /// A statement of its own, so that few jobs of a state are found among many of others.
    LIST_IN_STATE = concat!(
        "SELECT ", life_columns!(), ", commit_id, spec FROM jobs \
         WHERE (?1 IS NULL OR queue = ?1) AND id < ?2 AND state = ?4 ORDER BY id DESC LIMIT ?3"
    );
}

pub(super) async fn job(store: &SqliteStore, id: JobId) -> Result<JobRow, StoreError> {
    load(&mut *store.database.readers().acquire().await?, id).await
}

/// Loads one within a transaction.
pub(super) async fn load(connection: &mut SqliteConnection, id: JobId) -> Result<JobRow, StoreError> {
    let row = sqlx::query(LOAD).bind(id.0).fetch_optional(connection).await?;
    read(&row.ok_or(StoreError::UnknownJob(id))?)
}

pub(super) async fn jobs(store: &SqliteStore, filter: JobFilter) -> Result<Vec<JobRow>, StoreError> {
    let mut list = sqlx::query(if filter.state.is_some() { LIST_IN_STATE } else { LIST })
        .bind(filter.queue)
        .bind(filter.before.map_or(i64::MAX, |id| id.0))
        .bind(filter.limit.min(MAX_LISTED));
    if let Some(state) = filter.state {
        list = list.bind(state.name());
    }
    let rows = list.fetch_all(store.database.readers()).await?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<JobRow, StoreError> {
    let life = Life::read(row)?;
    let name = || job_name(life.id);
    let spec: String = row.try_get("spec")?;
    let spec: JobSpec = from_json(&spec, "specification", name)?;
    let end = life.end_json.as_deref().map(|json| from_json(json, "end reason", name)).transpose()?;
    Ok(JobRow {
        id: life.id,
        spec,
        commit: row.try_get("commit_id")?,
        record: life.record,
        end,
        message: life.message,
        queued_at: life.queued_at,
        started_at: life.started_at,
        finished_at: life.finished_at,
        last_heartbeat_at: life.last_heartbeat_at,
    })
}
