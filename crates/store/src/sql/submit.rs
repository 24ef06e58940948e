//! Putting jobs into the queue.

use super::SqlStore;
use super::database::{Durability, Write};
use super::lanes::LaneRow;
use super::news::News;
use super::session::Session;
use super::statements::statements;
use super::values::{micros, to_json};
use super::{files, keys, lane_rows, secrets};
use crate::error::StoreError;
use crate::model::NewJob;
use jiff::Timestamp;
use jobs::dispatch::rank;
use jobs::{JobId, JobSpec};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashSet};

macro_rules! insert {
    ($overriding:literal, $rows:literal, $lanes:literal) => {
        concat!(
            "INSERT INTO jobs (id, queue, repository, rev, commit_id, queued_at, lane, rank, priority, held, due_at, key, \
             key_limit)",
            $overriding,
            " SELECT id, queue, repository, rev, commit_id, queued_at, lane, rank, priority, held, due_at, key, key_limit \
             FROM (",
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
                value->>'due_at' AS due_at, value->>'key' AS key, value->>'key_limit' AS key_limit FROM json_each($1)",
               "SELECT value FROM json_each($2)"
           ),
           in postgres = insert!(
               " OVERRIDING SYSTEM VALUE",
               "SELECT * FROM json_to_recordset($1::json) AS rows (id BIGINT, queue TEXT, repository TEXT, rev TEXT, \
                commit_id TEXT, queued_at BIGINT, lane BIGINT, rank BIGINT, priority BIGINT, held TEXT, due_at BIGINT, \
                key TEXT, key_limit BIGINT)",
               "SELECT value::bigint FROM json_array_elements_text($2::json)"
           );
    INSERT_SPECS in sqlite = "INSERT INTO job_specs (job, spec) \
                              SELECT value->>'id', value->>'spec' FROM json_each($1)",
                 in postgres = "INSERT INTO job_specs (job, spec) \
                                SELECT id, spec FROM json_to_recordset($1::json) AS rows (id BIGINT, spec TEXT)";
    /// Up to a limit, which is the second argument.
    QUEUED in sqlite = "SELECT MIN(queued, $2) FROM queue_lengths WHERE queue = $1",
           in postgres = "SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE queue = $1 AND state = 'queued' LIMIT $2) \
                          AS counted";
    FIND_SUBMISSION = "SELECT job, digest FROM submissions WHERE owner = $1 AND key = $2";
    /// The same one that another server takes at this moment is waited for.
    INSERT_SUBMISSION = "INSERT INTO submissions (owner, key, job, digest) VALUES ($1, $2, $3, $4) \
                         ON CONFLICT (owner, key) DO NOTHING";
}

pub(super) async fn submit(store: &SqlStore, job: NewJob) -> Result<JobId, StoreError> {
    let mut ids = submit_all(store, vec![job]).await?;
    ids.pop().ok_or_else(|| StoreError::Database("no job was submitted".into()))
}

/// All of them, or none.
pub(super) async fn submit_all(store: &SqlStore, jobs: Vec<NewJob>) -> Result<Vec<JobId>, StoreError> {
    match try_all(store, &jobs).await {
        // Another call made the same submission meanwhile, which is found now, or forgot a lane, which is made again.
        Err(StoreError::SubmittedTwice(_) | StoreError::Outdated) => try_all(store, &jobs).await,
        submitted => submitted,
    }
}

async fn try_all(store: &SqlStore, jobs: &[NewJob]) -> Result<Vec<JobId>, StoreError> {
    if !store.database.knows_queue_lengths() {
        take_room(store, jobs).await?;
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
    if store.database.knows_queue_lengths() {
        check_room(store, write, jobs).await?;
    }
    let keys: BTreeSet<String> = jobs.iter().filter_map(key).map(|(key, _)| key).collect();
    keys::lock(write, &keys.iter().map(String::as_str).collect()).await?;
    let new: Vec<(i64,)> = write.query(IDS).bind(i64::try_from(jobs.len()).unwrap_or(i64::MAX)).all().await?;
    let (mut ids, mut lanes) = (Vec::with_capacity(jobs.len()), Vec::new());
    let mut rows = Vec::new();
    for (job, (id,)) in jobs.iter().zip(new) {
        if let Some(id) = repeated(write, job).await? {
            ids.push(id);
            continue;
        }
        // Those before it in this call count as well.
        if job.spec.concurrency.is_some() || job.idempotency_key.is_some() {
            insert(store, write, &mut rows).await?;
        }
        let (row, lane) = prepare(store, write, JobId(id), job, now).await?;
        ids.push(JobId(id));
        write.tell_queued(&row);
        rows.push(row);
        lanes.push(lane);
        if !job.spec.secrets.is_empty() || !job.spec.files.is_empty() || job.idempotency_key.is_some() {
            insert(store, write, &mut rows).await?;
            keep_beside(write, JobId(id), job).await?;
        }
    }
    insert(store, write, &mut rows).await?;
    Ok((ids, lanes))
}

/// Refuses more than the queues may hold, where the database knows how much that is.
async fn check_room(store: &SqlStore, write: &mut Write<'_>, jobs: &[NewJob]) -> Result<(), StoreError> {
    let limit = store.max_queued;
    for (queue, more) in new_ones(write, jobs).await? {
        if queued(write, queue, limit).await? + more > limit {
            return Err(StoreError::QueueFull { queue: queue.to_owned(), limit });
        }
    }
    Ok(())
}

/// The same where jobs have to be counted, before there is a transaction. Room that is not used in the end is seen when they
/// are counted again.
async fn take_room(store: &SqlStore, jobs: &[NewJob]) -> Result<(), StoreError> {
    let limit = store.max_queued;
    let more = if jobs.iter().all(|job| job.idempotency_key.is_none()) {
        by_queue(jobs.iter())
    } else {
        new_ones(&mut store.database.lookup().await?, jobs).await?
    };
    for (queue, more) in more {
        let count = async || queued(&mut store.database.lookup().await?, queue, limit).await;
        store.room.take(queue, limit, more, count).await?;
    }
    Ok(())
}

/// How many jobs of each queue were not submitted before: those take no room.
async fn new_ones<'j>(
    session: &mut Session,
    jobs: &'j [NewJob],
) -> Result<BTreeMap<&'j str, u64>, StoreError> {
    let mut new = Vec::new();
    for job in jobs {
        if repeated(session, job).await?.is_none() {
            new.push(job);
        }
    }
    Ok(by_queue(new.into_iter()))
}

fn by_queue<'j>(jobs: impl Iterator<Item = &'j NewJob>) -> BTreeMap<&'j str, u64> {
    let mut queues = BTreeMap::new();
    for job in jobs {
        *queues.entry(job.spec.queue.as_str()).or_default() += 1;
    }
    queues
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
    store: &SqlStore,
    write: &mut Write<'_>,
    id: JobId,
    job: &NewJob,
    now: Timestamp,
) -> Result<(Row, LaneRow), StoreError> {
    let NewJob { spec, commit, owner, .. } = job;
    let lane = lane_rows::intern(store, write, &spec.queue, owner, &spec.needs).await?;
    let key = key(job);
    let held = held(write, spec, key.as_ref(), now).await?;
    let (key, key_limit) = key.unzip();
    let row = Row {
        id: id.0,
        queue: spec.queue.clone(),
        repository: spec.repo.clone().unwrap_or_default(),
        rev: spec.rev.clone().unwrap_or_default(),
        commit_id: commit.clone(),
        queued_at: micros(now),
        lane: lane.id,
        rank: rank(now, spec.priority),
        priority: spec.priority,
        held,
        due_at: spec.not_before.map(micros),
        key,
        key_limit,
        spec: without_secrets(spec)?,
    };
    Ok((row, lane))
}

/// A job's key as it is stored, with its limit.
fn key(job: &NewJob) -> Option<(String, i64)> {
    job.spec.concurrency.as_ref().map(|of| (keys::of(&job.owner, &of.key), i64::from(of.limit)))
}

fn without_secrets(spec: &JobSpec) -> Result<String, StoreError> {
    if spec.secrets.is_empty() {
        return to_json(spec);
    }
    to_json(&JobSpec { secrets: BTreeMap::new(), ..spec.clone() })
}

/// What is kept of a job besides its row.
async fn keep_beside(write: &mut Write<'_>, id: JobId, job: &NewJob) -> Result<(), StoreError> {
    secrets::keep(write, id, &job.spec.secrets).await?;
    files::keep(write, id, &job.spec.files).await?;
    let Some(key) = &job.idempotency_key else { return Ok(()) };
    let insert =
        write.query(INSERT_SUBMISSION).bind(&job.owner).bind(key).bind(id.0).bind(digest(&job.spec)?);
    if insert.execute().await? == 0 {
        return Err(StoreError::SubmittedTwice(key.clone()));
    }
    Ok(())
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

/// How many jobs a queue has, up to `limit`.
async fn queued(session: &mut Session, queue: &str, limit: u64) -> Result<u64, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let counted: Option<(i64,)> = session.query(QUEUED).bind(queue).bind(limit).optional().await?;
    Ok(counted.map_or(0, |(queued,)| queued.unsigned_abs()))
}

/// What a new job waits for before it can be claimed.
async fn held(
    session: &mut Session,
    spec: &JobSpec,
    key: Option<&(String, i64)>,
    now: Timestamp,
) -> Result<Option<&'static str>, StoreError> {
    if spec.not_before.is_some_and(|due| due > now) {
        return Ok(Some("time"));
    }
    match key {
        Some((key, limit)) if !keys::has_room(session, key, *limit).await? => Ok(Some("key")),
        _ => Ok(None),
    }
}

/// The job that came of the same submission before, if there was one.
pub(super) async fn submitted(
    session: &mut Session,
    owner: &str,
    key: &str,
    spec: &JobSpec,
) -> Result<Option<JobId>, StoreError> {
    let found: Option<(i64, Vec<u8>)> =
        session.query(FIND_SUBMISSION).bind(owner).bind(key).optional().await?;
    match found {
        None => Ok(None),
        Some((id, other)) if other == digest(spec)? => Ok(Some(JobId(id))),
        Some((id, _)) => Err(StoreError::KeyReused { key: key.to_owned(), job: JobId(id) }),
    }
}

async fn repeated(session: &mut Session, job: &NewJob) -> Result<Option<JobId>, StoreError> {
    let Some(key) = &job.idempotency_key else { return Ok(None) };
    submitted(session, &job.owner, key, &job.spec).await
}

/// What tells whether the same was asked for. Not by the values of secrets: a digest could be tried out. Nor by when uploads
/// were changed, which is noted after they were looked up.
fn digest(spec: &JobSpec) -> Result<Vec<u8>, StoreError> {
    let mut spec = spec.clone();
    spec.secrets.values_mut().for_each(String::clear);
    for file in spec.files.iter_mut().filter(|file| file.upload.is_some()) {
        file.modified_at = None;
    }
    Ok(Sha256::digest(to_json(&spec)?).to_vec())
}
