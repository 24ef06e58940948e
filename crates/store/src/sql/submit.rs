//! Putting jobs into the queue.

use super::SqlStore;
use super::database::Durability;
use super::session::Session;
use super::statements::statements;
use super::values::{micros, to_json};
use super::{files, secrets};
use crate::error::StoreError;
use crate::model::{Change, NewJob};
use jobs::JobId;

statements! {
    /// The schema's defaults are those of `Record::new()`.
    INSERT = "INSERT INTO jobs (queue, repository, rev, commit_id, queued_at) VALUES ($1, $2, $3, $4, $5) \
              RETURNING id";
    /// Up to a limit, which is the second argument. PostgreSQL keeps no count, which every submission would wait for:
    /// as long as fewer ids than that were given since the oldest job that waits, there is no need for one.
    QUEUED in sqlite = "SELECT MIN(queued, $2) FROM queue_lengths WHERE queue = $1",
           in postgres = "SELECT CASE WHEN (SELECT last_value FROM jobs_id_seq) - \
                              (SELECT MIN(id) FROM jobs WHERE queue = $1 AND state = 'queued') < $2 - 1 THEN 0 \
                          ELSE (SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE queue = $1 AND state = 'queued' \
                                LIMIT $2) AS counted) END";
    INSERT_SPEC = "INSERT INTO job_specs (job, spec) VALUES ($1, $2)";
}

pub(super) async fn submit(store: &SqlStore, job: NewJob) -> Result<JobId, StoreError> {
    let NewJob { mut spec, commit } = job;
    let job_secrets = std::mem::take(&mut spec.secrets);
    let spec_json = to_json(&spec)?;
    let mut write = store.database.write(Durability::PowerLoss).await?;
    check_room(store, &mut write, &spec.queue).await?;
    let insert = write
        .query(INSERT)
        .bind(&spec.queue)
        .bind(spec.repo.as_deref().unwrap_or_default())
        .bind(spec.rev.as_deref().unwrap_or_default())
        .bind(commit)
        .bind(micros(store.clock.now()));
    let (id,) = insert.one().await?;
    let id = JobId(id);
    write.query(INSERT_SPEC).bind(id.0).bind(spec_json).execute().await?;
    secrets::keep(&mut write, id, &job_secrets).await?;
    files::keep(&mut write, id, &spec.files).await?;
    write.commit().await?;
    store.announce(Change::Queued(spec.queue));
    store.announce(Change::Job(id));
    Ok(id)
}

async fn check_room(store: &SqlStore, session: &mut Session, queue: &str) -> Result<(), StoreError> {
    let limit = i64::try_from(store.max_queued).unwrap_or(i64::MAX);
    let queued: Option<(i64,)> = session.query(QUEUED).bind(queue).bind(limit).optional().await?;
    if queued.is_some_and(|(queued,)| queued >= limit) {
        return Err(StoreError::QueueFull { queue: queue.to_owned(), limit: store.max_queued });
    }
    Ok(())
}
