//! Reading whole jobs.

use super::SqlStore;
use super::database::Write;
use super::life::{Life, life_columns};
use super::session::{Row, Session};
use super::statements::statements;
use super::values::{from_json, job_name, timestamp, to_json};
use super::versions;
use crate::error::StoreError;
use crate::model::{Hold, JobFilter, JobRow, StoredSpec};
use crate::sql::MAX_LISTED;
use jobs::{JobId, JobSpec, State};
use wire::paths::QUEUES;

/// The columns of a job that [`Loaded::read`] needs.
macro_rules! job_columns {
    () => {
        job_columns!("message")
    };
    ($message:literal) => {
        concat!(life_columns!($message), ", repository, rev, commit_id, priority, held, due_at, namespace")
    };
}

/// The same for lists: of a message one character more than they have tells whether there is more.
macro_rules! listed_columns {
    () => {
        job_columns!("substr(message, 1, 513) AS message")
    };
}

/// Characters of a message that lists have: hundreds of whole ones are tens of megabytes.
const LISTED_MESSAGE: usize = 512;

pub(super) use job_columns;

/// Jobs of one namespace, of a queue and in a state, or (`NULL`) of all.
macro_rules! list_in {
    ($namespace:literal) => {
        concat!(
            "SELECT ",
            listed_columns!(),
            " FROM jobs WHERE ",
            $namespace,
            " AND (CAST($2 AS TEXT) IS NULL OR queue = $2) AND (CAST($3 AS TEXT) IS NULL OR state = $3) AND id < $4 \
             ORDER BY id DESC LIMIT $5"
        )
    };
}

statements! {
    LOAD = concat!("SELECT ", job_columns!(), " FROM jobs WHERE id = $1");
    /// Nobody else changes them before this transaction is over: SQLite has one writer anyway.
    LOAD_ALL in sqlite = concat!("SELECT ", job_columns!(), " FROM jobs WHERE id IN (SELECT value FROM json_each($1))"),
             in postgres = concat!(
                 "SELECT ", job_columns!(), " FROM jobs \
                  WHERE id IN (SELECT value::bigint FROM json_array_elements_text($1::json)) ORDER BY id FOR UPDATE"
             );
    SPEC = "SELECT spec FROM job_specs WHERE job = $1";
    LIST = concat!("SELECT ", listed_columns!(), " FROM jobs WHERE id < $1 ORDER BY id DESC LIMIT $2");
    LIST_OF = concat!(
        "SELECT ", listed_columns!(), " FROM jobs WHERE queue = $1 AND state = $2 AND id < $3 ORDER BY id DESC LIMIT $4"
    );
    LIST_GLOBAL = list_in!("namespace = $1");
    /// Its index has no global ones.
    LIST_OWN = list_in!("namespace = $1 AND namespace <> ''");
}

pub(super) async fn job(store: &SqlStore, id: JobId) -> Result<JobRow, StoreError> {
    load(&mut store.database.lookup().await?, id).await
}

async fn load(session: &mut Session, id: JobId) -> Result<JobRow, StoreError> {
    let row = session.query(LOAD).bind(id.0).row().await?;
    Loaded::read(&row.ok_or(StoreError::UnknownJob(id))?)?.row()
}

/// Loads jobs within the transaction that is to change them, in no order.
pub(super) async fn load_all(
    write: &mut Write<'_>,
    ids: &[JobId],
) -> Result<Vec<Result<Loaded, StoreError>>, StoreError> {
    let rows = write.query(LOAD_ALL).bind(to_json(ids)?).rows().await?;
    Ok(rows.iter().map(Loaded::read).collect())
}

/// The same for one.
pub(super) async fn load_to_change(write: &mut Write<'_>, id: JobId) -> Result<Loaded, StoreError> {
    load_all(write, &[id]).await?.pop().unwrap_or(Err(StoreError::UnknownJob(id)))
}

pub(super) async fn spec(store: &SqlStore, id: JobId) -> Result<JobSpec, StoreError> {
    versions::read_spec(id, &spec_json(store, id).await?)
}

/// What is read of it, whoever wrote it.
pub(super) async fn stored_spec(store: &SqlStore, id: JobId) -> Result<StoredSpec, StoreError> {
    versions::read_stored_spec(id, &spec_json(store, id).await?)
}

async fn spec_json(store: &SqlStore, id: JobId) -> Result<String, StoreError> {
    let found = store.database.lookup().await?.query(SPEC).bind(id.0).optional().await?;
    found.map(|(json,)| json).ok_or(StoreError::UnknownJob(id))
}

pub(super) async fn jobs(store: &SqlStore, filter: JobFilter) -> Result<Vec<JobRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let (before, limit) = (filter.before.map_or(i64::MAX, |id| id.0), filter.limit.min(MAX_LISTED));
    let state = filter.state.map(State::name);
    if let Some(owner) = filter.owner {
        let list = lookup.query(if owner.is_empty() { LIST_GLOBAL } else { LIST_OWN });
        let list = list.bind(owner).bind(filter.queue).bind(state).bind(before).bind(i64::from(limit));
        return list.rows().await?.iter().map(read).collect();
    }
    if filter.queue.is_none() && filter.state.is_none() {
        let list = lookup.query(LIST).bind(before).bind(i64::from(limit));
        return list.rows().await?.iter().map(read).collect();
    }
    // Each from its end, so that few jobs of one kind are found among many of others.
    let queues = filter.queue.as_deref().map_or_else(|| QUEUES.to_vec(), |queue| vec![queue]);
    let states = filter.state.map_or_else(|| State::ALL.to_vec(), |state| vec![state]);
    let mut jobs = Vec::new();
    for queue in queues {
        for state in &states {
            let list =
                lookup.query(LIST_OF).bind(queue).bind(state.name()).bind(before).bind(i64::from(limit));
            for row in list.rows().await? {
                jobs.push(read(&row)?);
            }
        }
    }
    jobs.sort_unstable_by_key(|job| std::cmp::Reverse(job.id));
    jobs.truncate(limit as usize);
    Ok(jobs)
}

/// A job as lists have it.
fn read(row: &Row) -> Result<JobRow, StoreError> {
    let mut job = Loaded::read(row)?.row()?;
    if let Some(message) = &mut job.message
        && let Some((end, _)) = message.char_indices().nth(LISTED_MESSAGE)
    {
        message.truncate(end);
        message.push('…');
    }
    Ok(job)
}

/// A job: what changes about it, and what never does.
pub(super) struct Loaded {
    pub(super) life: Life,
    pub(super) fixed: Fixed,
}

/// What never changes about a job, and of what holds it back what was so when it was loaded.
#[derive(Clone)]
pub(super) struct Fixed {
    owner: String,
    repo: Option<String>,
    rev: Option<String>,
    commit: String,
    priority: i32,
    hold: Option<Hold>,
}

impl Loaded {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let unless_empty = |text: String| Some(text).filter(|text| !text.is_empty());
        let fixed = Fixed {
            owner: row.get("namespace")?,
            repo: unless_empty(row.get("repository")?),
            rev: unless_empty(row.get("rev")?),
            commit: row.get("commit_id")?,
            priority: i32::try_from(row.get::<i64>("priority")?).unwrap_or_default(),
            hold: hold(row)?,
        };
        Ok(Self { life: Life::read(row)?, fixed })
    }

    fn row(self) -> Result<JobRow, StoreError> {
        self.fixed.row_of(self.life)
    }
}

impl Fixed {
    /// The whole job.
    pub(super) fn row_of(self, life: Life) -> Result<JobRow, StoreError> {
        let name = || job_name(life.id);
        let end = life.end_json.as_deref().map(|json| from_json(json, "end reason", name)).transpose()?;
        // Whoever does not wait is not held back.
        let hold = self.hold.filter(|_| life.record.state == State::Queued);
        Ok(JobRow {
            id: life.id,
            queue: life.queue().to_owned(),
            owner: self.owner,
            repo: self.repo,
            rev: self.rev,
            commit: self.commit,
            record: life.record,
            end,
            message: life.message,
            queued_at: life.queued_at,
            started_at: life.started_at,
            finished_at: life.finished_at,
            retry_at: life.retry_at,
            last_heartbeat_at: life.last_heartbeat_at,
            priority: self.priority,
            retries: life.retries,
            hold,
        })
    }
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
