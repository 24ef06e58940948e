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
use sha2::{Digest, Sha256};

statements! {
    /// The schema's defaults are those of `Record::new()`.
    INSERT = "INSERT INTO jobs (queue, repository, rev, commit_id, queued_at, lane, rank, priority, held, due_at, key, \
              key_limit) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id";
    /// Up to a limit, which is the second argument.
    QUEUED in sqlite = "SELECT MIN(queued, $2) FROM queue_lengths WHERE queue = $1",
           in postgres = "SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE queue = $1 AND state = 'queued' LIMIT $2) \
                          AS counted";
    INSERT_SPEC = "INSERT INTO job_specs (job, spec) VALUES ($1, $2)";
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
    if jobs.iter().all(|job| job.idempotency_key.is_none()) {
        return try_all(store, jobs).await;
    }
    match try_all(store, jobs.clone()).await {
        // Another call made the same submission meanwhile: now it is found.
        Err(StoreError::SubmittedTwice(_)) => try_all(store, jobs).await,
        submitted => submitted,
    }
}

async fn try_all(store: &SqlStore, jobs: Vec<NewJob>) -> Result<Vec<JobId>, StoreError> {
    let now = store.clock.now();
    let mut made = Vec::new();
    let mut ids = Vec::with_capacity(jobs.len());
    let mut write = store.database.write(Durability::PowerLoss).await?;
    for job in jobs {
        match repeated(&mut write, &job).await? {
            Some(id) => ids.push(id),
            None => ids.push(add(store, &mut write, job, now, &mut made).await?),
        }
    }
    let news = write.commit().await?;
    for lane in made {
        store.lanes.add(lane);
    }
    for news in news {
        store.announce(news);
    }
    Ok(ids)
}

async fn add(
    store: &SqlStore,
    write: &mut Write<'_>,
    job: NewJob,
    now: Timestamp,
    lanes: &mut Vec<LaneRow>,
) -> Result<JobId, StoreError> {
    let digest = digest(&job)?;
    let NewJob { mut spec, commit, owner, idempotency_key } = job;
    store.room.check(store, write, &spec.queue).await?;
    let job_secrets = std::mem::take(&mut spec.secrets);
    let lane = lane_rows::intern(store, write, &spec.queue, &owner, &spec.needs).await?;
    let rank = rank(now, spec.priority);
    let key = spec.concurrency.as_ref().map(|of| (keys::of(&owner, &of.key), i64::from(of.limit)));
    let held = held(write, &spec, key.as_ref(), now).await?;
    let insert = write
        .query(INSERT)
        .bind(&spec.queue)
        .bind(spec.repo.as_deref().unwrap_or_default())
        .bind(spec.rev.as_deref().unwrap_or_default())
        .bind(commit)
        .bind(micros(now))
        .bind(lane.id)
        .bind(rank)
        .bind(i64::from(spec.priority))
        .bind(held)
        .bind(spec.not_before.map(micros))
        .bind(key.as_ref().map(|(key, _)| key.as_str()))
        .bind(key.as_ref().map(|(_, limit)| *limit));
    let (id,) = insert.one().await?;
    let id = JobId(id);
    write.query(INSERT_SPEC).bind(id.0).bind(to_json(&spec)?).execute().await?;
    secrets::keep(write, id, &job_secrets).await?;
    files::keep(write, id, &spec.files).await?;
    if let Some(key) = idempotency_key {
        let insert = write.query(INSERT_SUBMISSION).bind(owner).bind(&key).bind(id.0).bind(digest);
        if insert.execute().await? == 0 {
            return Err(StoreError::SubmittedTwice(key));
        }
    }
    if held.is_none() {
        write.tell(News::Queued { queue: spec.queue, lane: lane.id, rank });
    }
    write.tell(News::Job(id));
    lanes.push(lane);
    Ok(id)
}

/// How many jobs a queue has, up to `limit`.
pub(super) async fn queued(session: &mut Session, queue: &str, limit: u64) -> Result<u64, StoreError> {
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
async fn repeated(session: &mut Session, job: &NewJob) -> Result<Option<JobId>, StoreError> {
    let Some(key) = &job.idempotency_key else { return Ok(None) };
    let found: Option<(i64, Vec<u8>)> =
        session.query(FIND_SUBMISSION).bind(&job.owner).bind(key).optional().await?;
    match found {
        None => Ok(None),
        Some((id, other)) if other == digest(job)? => Ok(Some(JobId(id))),
        Some((id, _)) => Err(StoreError::KeyReused { key: key.clone(), job: JobId(id) }),
    }
}

/// What tells whether the same was asked for. Not by the values of secrets: a digest could be tried out.
fn digest(job: &NewJob) -> Result<Vec<u8>, StoreError> {
    let mut spec = job.spec.clone();
    spec.secrets.values_mut().for_each(String::clear);
    Ok(Sha256::digest(to_json(&spec)?).to_vec())
}
