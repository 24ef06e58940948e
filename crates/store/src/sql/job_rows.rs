//! Reading whole jobs.

use super::SqlStore;
use super::life::{Life, life_columns};
use super::session::{Row, Session};
use super::statements::statements;
use super::values::{from_json, job_name, timestamp};
use crate::error::StoreError;
use crate::model::{Hold, JobFilter, JobRow};
use jobs::{JobId, JobSpec};

/// Jobs in one listing at most, whatever was asked for.
const MAX_LISTED: u32 = 500;

/// The columns of a job that [`read`] needs.
macro_rules! job_columns {
    () => {
        concat!(life_columns!(), ", repository, rev, commit_id, priority, held, due_at")
    };
}

statements! {
    LOAD = concat!("SELECT ", job_columns!(), " FROM jobs WHERE id = $1");
    SPEC = "SELECT spec FROM job_specs WHERE job = $1";
    LIST = concat!(
        "SELECT ", job_columns!(), " FROM jobs \
         WHERE (CAST($1 AS TEXT) IS NULL OR queue = $1) AND id < $2 ORDER BY id DESC LIMIT $3"
    );
    /// A statement of its own, so that few jobs of a state are found among many of others.
    LIST_IN_STATE = concat!(
        "SELECT ", job_columns!(), " FROM jobs \
         WHERE (CAST($1 AS TEXT) IS NULL OR queue = $1) AND id < $2 AND state = $4 ORDER BY id DESC LIMIT $3"
    );
}

pub(super) async fn job(store: &SqlStore, id: JobId) -> Result<JobRow, StoreError> {
    load(&mut store.database.lookup().await?, id).await
}

/// Loads one within a transaction.
pub(super) async fn load(session: &mut Session, id: JobId) -> Result<JobRow, StoreError> {
    let row = session.query(LOAD).bind(id.0).row().await?;
    read(&row.ok_or(StoreError::UnknownJob(id))?)
}

pub(super) async fn spec(store: &SqlStore, id: JobId) -> Result<JobSpec, StoreError> {
    load_spec(&mut store.database.lookup().await?, id).await
}

/// Loads what was asked for within a transaction.
pub(super) async fn load_spec(session: &mut Session, id: JobId) -> Result<JobSpec, StoreError> {
    let found: Option<(String,)> = session.query(SPEC).bind(id.0).optional().await?;
    let (json,) = found.ok_or(StoreError::UnknownJob(id))?;
    from_json(&json, "specification", || job_name(id))
}

pub(super) async fn jobs(store: &SqlStore, filter: JobFilter) -> Result<Vec<JobRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let mut list = lookup
        .query(if filter.state.is_some() { LIST_IN_STATE } else { LIST })
        .bind(filter.queue)
        .bind(filter.before.map_or(i64::MAX, |id| id.0))
        .bind(i64::from(filter.limit.min(MAX_LISTED)));
    if let Some(state) = filter.state {
        list = list.bind(state.name());
    }
    list.rows().await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<JobRow, StoreError> {
    let life = Life::read(row)?;
    let name = || job_name(life.id);
    let unless_empty = |text: String| Some(text).filter(|text| !text.is_empty());
    let queue = life.queue().to_owned();
    let end = life.end_json.as_deref().map(|json| from_json(json, "end reason", name)).transpose()?;
    Ok(JobRow {
        id: life.id,
        queue,
        repo: unless_empty(row.get("repository")?),
        rev: unless_empty(row.get("rev")?),
        commit: row.get("commit_id")?,
        record: life.record,
        end,
        message: life.message,
        queued_at: life.queued_at,
        started_at: life.started_at,
        finished_at: life.finished_at,
        retry_at: life.retry_at,
        last_heartbeat_at: life.last_heartbeat_at,
        priority: i32::try_from(row.get::<i64>("priority")?).unwrap_or_default(),
        hold: hold(row)?,
    })
}

/// What a queued job waits for before anybody can be given it.
fn hold(row: &Row) -> Result<Option<Hold>, StoreError> {
    let held: Option<String> = row.get("held")?;
    let due_at: Option<i64> = row.get("due_at")?;
    Ok(match (held.as_deref(), due_at) {
        (Some("time"), Some(due_at)) => Some(Hold::Until(timestamp(due_at, || "job".to_owned())?)),
        (Some(_), _) => Some(Hold::Key),
        (None, _) => None,
    })
}
