//! Putting jobs into the queue.

use super::SqlStore;
use super::database::{Durability, Write};
use super::lanes::LaneRow;
use super::news::News;
use super::session::Session;
use super::statements::statements;
use super::submissions::Known;
use super::values::{micros, to_json};
use super::{files, keys, new_lanes, queue_portions, room, secrets, versions};
use crate::error::StoreError;
use crate::model::NewJob;
use jiff::Timestamp;
use jobs::dispatch::rank;
use jobs::{JobId, JobSpec};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Bytes of what was asked for up to which a job is submitted together with others that come at the same time.
const MOST_BYTES_TOGETHER: usize = 64 << 10;

macro_rules! insert {
    ($overriding:literal, $rows:literal, $lanes:literal) => {
        concat!(
            "INSERT INTO jobs (id, queue, repository, rev, commit_id, queued_at, lane, rank, priority, held, due_at, key, \
             key_limit, namespace, retries)",
            $overriding,
            " SELECT id, queue, repository, rev, commit_id, queued_at, lane, rank, priority, held, due_at, key, key_limit, \
             namespace, retries FROM (",
            $rows,
            ") AS new WHERE (SELECT COUNT(*) FROM lanes WHERE id IN (",
            $lanes,
            ")) = $3 ORDER BY id"
        )
    };
}

statements! {
    /// Ids that nobody else is given, the first as the smallest. From here on no lane is forgotten before the transaction is
    /// over.
    IDS in sqlite = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
                     SELECT (SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'jobs') + i FROM n",
        in postgres = "WITH once AS MATERIALIZED (SELECT pg_get_serial_sequence('jobs', 'id')::regclass AS ids, \
                           pg_advisory_xact_lock_shared(1700, 3)) \
                       SELECT nextval(once.ids) FROM once, generate_series(1, $1)";
    /// The schema's defaults are those of `Record::new()`. Nothing is written where one of the lanes was forgotten.
    INSERT in sqlite = insert!(
               "",
               "SELECT value->>'id' AS id, value->>'queue' AS queue, value->>'repository' AS repository, \
                value->>'rev' AS rev, value->>'commit_id' AS commit_id, value->>'queued_at' AS queued_at, \
                value->>'lane' AS lane, value->>'rank' AS rank, value->>'priority' AS priority, value->>'held' AS held, \
                value->>'due_at' AS due_at, value->>'key' AS key, value->>'key_limit' AS key_limit, \
                value->>'namespace' AS namespace, value->>'retries' AS retries FROM json_each($1)",
               "SELECT value FROM json_each($2)"
           ),
           in postgres = insert!(
               " OVERRIDING SYSTEM VALUE",
               "SELECT * FROM json_to_recordset($1::json) AS rows (id BIGINT, queue TEXT, repository TEXT, rev TEXT, \
                commit_id TEXT, queued_at BIGINT, lane BIGINT, rank BIGINT, priority BIGINT, held TEXT, due_at BIGINT, \
                key TEXT, key_limit BIGINT, namespace TEXT, retries BIGINT)",
               "SELECT value::bigint FROM json_array_elements_text($2::json)"
           );
    INSERT_SPECS in sqlite = "INSERT INTO job_specs (job, spec) \
                              SELECT value->>'id', value->>'spec' FROM json_each($1)",
                 in postgres = "INSERT INTO job_specs (job, spec) \
                                SELECT id, spec FROM json_to_recordset($1::json) AS rows (id BIGINT, spec TEXT)";
}

pub(super) async fn submit(store: &SqlStore, job: NewJob) -> Result<JobId, StoreError> {
    // First, so that whoever is refused here takes no room from others, nor has those begin anew with whom it came.
    queue_portions::take(store, std::slice::from_ref(&job)).await?;
    if !is_simple(&job) {
        return alone(store, &job).await;
    }
    let submitted = store.submits.call(job, |jobs| each(store, jobs)).await;
    submitted.unwrap_or_else(|| Err(StoreError::stopped()))
}

/// Whether it takes no lock that others may hold for long, and no time to write.
fn is_simple(job: &NewJob) -> bool {
    job.spec.concurrency.is_none() && job.idempotency_key.is_none() && job.spec.size() <= MOST_BYTES_TOGETHER
}

/// All in one transaction, or else each in one of its own, so that what is wrong with one is nothing to the others.
async fn each(store: &SqlStore, jobs: Vec<NewJob>) -> Vec<Result<JobId, StoreError>> {
    if jobs.len() > 1
        && let Ok(ids) = in_portions(store, &jobs).await
    {
        return ids.into_iter().map(Ok).collect();
    }
    let mut submitted = Vec::with_capacity(jobs.len());
    for job in jobs {
        submitted.push(alone(store, &job).await);
    }
    submitted
}

async fn alone(store: &SqlStore, job: &NewJob) -> Result<JobId, StoreError> {
    let mut ids = in_portions(store, std::slice::from_ref(job)).await?;
    ids.pop().ok_or_else(|| StoreError::Database("no job was submitted".into()))
}

/// All of them, or none.
pub(super) async fn all(store: &SqlStore, jobs: &[NewJob]) -> Result<Vec<JobId>, StoreError> {
    queue_portions::take(store, jobs).await?;
    in_portions(store, jobs).await
}

/// The same of jobs that queues have room for in the portions of those whose they are.
async fn in_portions(store: &SqlStore, jobs: &[NewJob]) -> Result<Vec<JobId>, StoreError> {
    match try_all(store, jobs).await {
        // Another call made the same submission meanwhile, which is found now, or forgot a lane, which is made again.
        Err(StoreError::SubmittedTwice(_) | StoreError::Outdated) => try_all(store, jobs).await,
        submitted => submitted,
    }
}

async fn try_all(store: &SqlStore, jobs: &[NewJob]) -> Result<Vec<JobId>, StoreError> {
    if !store.database.knows_queue_lengths() {
        room::take(store, jobs).await?;
    }
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let added = add_all(store, &mut write, jobs).await;
    let (ids, lanes) = match added {
        Ok(added) => added,
        Err(fault) => return store.settle(write, Err(fault)).await,
    };
    let news = write.commit().await?;
    for lane in lanes {
        store.lanes.add(lane);
    }
    for news in news {
        store.announce(news);
    }
    Ok(ids)
}

/// Adds those that are not there already; returns the ids of all, and the lanes that they are in.
async fn add_all(
    store: &SqlStore,
    write: &mut Write<'_>,
    jobs: &[NewJob],
) -> Result<(Vec<JobId>, Vec<LaneRow>), StoreError> {
    let now = store.clock.now();
    let keys: BTreeSet<String> = jobs.iter().filter_map(key).map(|(key, _)| key).collect();
    keys::lock(write, &keys.iter().map(String::as_str).collect()).await?;
    let mut known = Known::of(write, jobs).await?;
    // Those that are there already need neither room nor a lane: they may have ended, and theirs be forgotten.
    let new = known.new_ones(jobs)?;
    if store.database.knows_queue_lengths() {
        room::check(store, write, &new).await?;
    }
    let lanes = new_lanes::of(store, write, &new).await?;
    let new_ids = write.query(IDS).bind(i64::try_from(new.len()).unwrap_or(i64::MAX));
    let mut new_ids = new_ids.all::<(i64,)>().await?.into_iter();
    let (mut ids, mut rows, mut with_more) = (Vec::with_capacity(jobs.len()), Vec::new(), Vec::new());
    for job in jobs {
        if let Some(id) = known.job_of(job)? {
            ids.push(id);
            continue;
        }
        let (id,) = new_ids.next().ok_or(StoreError::Outdated)?;
        // Those before it in this call count as well.
        if job.spec.concurrency.is_some() {
            insert(store, write, &mut rows).await?;
        }
        let lane = lanes.get(&new_lanes::name_of(job)?).ok_or(StoreError::Outdated)?;
        let row = prepare(write, JobId(id), job, lane.id, now).await?;
        ids.push(JobId(id));
        known.add(job, JobId(id))?;
        write.tell_queued(&row);
        rows.push(row);
        if !job.spec.secrets.is_empty() || !job.spec.files.is_empty() {
            with_more.push((JobId(id), &job.spec));
        }
    }
    insert(store, write, &mut rows).await?;
    known.keep(write).await?;
    for (id, spec) in with_more {
        secrets::keep(store, write, id, &spec.secrets).await?;
        files::keep(write, id, &spec.files).await?;
    }
    Ok((ids, lanes.into_values().collect()))
}

/// A job as the statements take it; its keys are the columns' names.
#[derive(Serialize)]
struct Row {
    id: i64,
    queue: String,
    repository: String,
    rev: String,
    commit_id: String,
    queued_at: i64,
    lane: i64,
    rank: i64,
    priority: i32,
    held: Option<&'static str>,
    due_at: Option<i64>,
    key: Option<String>,
    key_limit: Option<i64>,
    namespace: String,
    retries: u32,
    /// Its secrets are kept apart.
    spec: String,
}

async fn insert(store: &SqlStore, write: &mut Write<'_>, rows: &mut Vec<Row>) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let lanes: HashSet<i64> = rows.iter().map(|row| row.lane).collect();
    let json = to_json(rows)?;
    let insert = write.query(INSERT).bind(&json).bind(to_json(&lanes)?).bind(lanes.len() as i64);
    if insert.execute().await? == 0 {
        store.lanes.forget(&lanes);
        return Err(StoreError::Outdated);
    }
    write.query(INSERT_SPECS).bind(&json).execute().await?;
    rows.clear();
    Ok(())
}

async fn prepare(
    write: &mut Write<'_>,
    id: JobId,
    job: &NewJob,
    lane: i64,
    now: Timestamp,
) -> Result<Row, StoreError> {
    let NewJob { spec, commit, owner, .. } = job;
    let key = key(job);
    let held = held(write, spec, key.as_ref(), now).await?;
    let (key, key_limit) = key.unzip();
    Ok(Row {
        id: id.0,
        queue: spec.queue.clone(),
        repository: spec.repo.clone().unwrap_or_default(),
        rev: spec.rev.clone().unwrap_or_default(),
        commit_id: commit.clone(),
        queued_at: micros(now),
        lane,
        rank: rank(now, spec.priority),
        priority: spec.priority,
        held,
        due_at: spec.due(now).map(micros),
        key,
        key_limit,
        namespace: owner.clone(),
        retries: spec.retries,
        spec: versions::spec_to_store(&kept(spec, now))?,
    })
}

/// A job's key as it is stored, with its limit.
fn key(job: &NewJob) -> Option<(String, i64)> {
    job.spec.concurrency.as_ref().map(|of| (keys::of(&job.owner, &of.key), i64::from(of.limit)))
}

/// What is kept of what was asked for: no secrets, and the time that a delay came to, which servers of any version can read.
fn kept(spec: &JobSpec, now: Timestamp) -> Cow<'_, JobSpec> {
    if spec.secrets.is_empty() && spec.delay_seconds.is_none() {
        return Cow::Borrowed(spec);
    }
    let (secrets, not_before) = (BTreeMap::new(), spec.due(now));
    Cow::Owned(JobSpec { secrets, not_before, delay_seconds: None, ..spec.clone() })
}

impl Write<'_> {
    /// Has those told who wait for such a job.
    fn tell_queued(&mut self, row: &Row) {
        if row.held.is_none() {
            self.tell(News::Queued { queue: row.queue.clone(), lane: row.lane, rank: row.rank });
        }
        self.tell(News::Job(JobId(row.id)));
    }
}

/// What a new job waits for before it can be claimed.
async fn held(
    session: &mut Session,
    spec: &JobSpec,
    key: Option<&(String, i64)>,
    now: Timestamp,
) -> Result<Option<&'static str>, StoreError> {
    if spec.due(now).is_some_and(|due| due > now) {
        return Ok(Some("time"));
    }
    match key {
        Some((key, limit)) if !keys::has_room(session, key, *limit).await? => Ok(Some("key")),
        _ => Ok(None),
    }
}
