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

/// The columns of a job that [`read`] needs.
macro_rules! job_columns {
    () => {
        concat!(life_columns!(), ", queue, repository, rev, commit_id")
    };
}

statements! {
    LOAD = concat!("SELECT ", job_columns!(), " FROM jobs WHERE id = ?");
    SPEC = "SELECT spec FROM job_specs WHERE job = ?";
    LIST = concat!(
        "SELECT ", job_columns!(), " FROM jobs \
         WHERE (?1 IS NULL OR queue = ?1) AND id < ?2 ORDER BY id DESC LIMIT ?3"
    );
    /// A statement of its own, so that few jobs of a state are found among many of others.
    LIST_IN_STATE = concat!(
        "SELECT ", job_columns!(), " FROM jobs \
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

pub(super) async fn spec(store: &SqliteStore, id: JobId) -> Result<JobSpec, StoreError> {
    load_spec(&mut *store.database.readers().acquire().await?, id).await
}

/// Loads what was asked for within a transaction.
pub(super) async fn load_spec(connection: &mut SqliteConnection, id: JobId) -> Result<JobSpec, StoreError> {
    let json: Option<String> = sqlx::query_scalar(SPEC).bind(id.0).fetch_optional(connection).await?;
    from_json(&json.ok_or(StoreError::UnknownJob(id))?, "specification", || job_name(id))
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
    let unless_empty = |text: String| Some(text).filter(|text| !text.is_empty());
    let end = life.end_json.as_deref().map(|json| from_json(json, "end reason", name)).transpose()?;
    Ok(JobRow {
        id: life.id,
        queue: row.try_get("queue")?,
        repo: unless_empty(row.try_get("repository")?),
        rev: unless_empty(row.try_get("rev")?),
        commit: row.try_get("commit_id")?,
        record: life.record,
        end,
        message: life.message,
        queued_at: life.queued_at,
        started_at: life.started_at,
        finished_at: life.finished_at,
        retry_at: life.retry_at,
        last_heartbeat_at: life.last_heartbeat_at,
    })
}
