//! Putting jobs into the queue.

use super::SqliteStore;
use super::database::Durability;
use super::statements::statements;
use super::values::{micros, to_json};
use super::{files, secrets};
use crate::error::StoreError;
use crate::model::{Change, NewJob};
use jobs::JobId;
use sqlx::SqliteConnection;

statements! {
    /// The schema's defaults are those of `Record::new()`.
    INSERT = "INSERT INTO jobs (queue, repository, rev, commit_id, queued_at) VALUES (?, ?, ?, ?, ?) \
              RETURNING id";
    QUEUED = "SELECT queued FROM queue_lengths WHERE queue = ?";
    INSERT_SPEC = "INSERT INTO job_specs (job, spec) VALUES (?, ?)";
}

pub(super) async fn submit(store: &SqliteStore, job: NewJob) -> Result<JobId, StoreError> {
    let NewJob { mut spec, commit } = job;
    let job_secrets = std::mem::take(&mut spec.secrets);
    let spec_json = to_json(&spec)?;
    let mut write = store.database.write(Durability::PowerLoss).await?;
    check_room(store, &mut write, &spec.queue).await?;
    let insert = sqlx::query_scalar(INSERT)
        .bind(&spec.queue)
        .bind(spec.repo.as_deref().unwrap_or_default())
        .bind(spec.rev.as_deref().unwrap_or_default())
        .bind(commit)
        .bind(micros(store.clock.now()));
    let id = JobId(insert.fetch_one(&mut *write).await?);
    sqlx::query(INSERT_SPEC).bind(id.0).bind(spec_json).execute(&mut *write).await?;
    secrets::keep(&mut write, id, &job_secrets).await?;
    files::keep(&mut write, id, &spec.files).await?;
    write.commit().await?;
    store.announce(Change::Queued(spec.queue));
    store.announce(Change::Job(id));
    Ok(id)
}

async fn check_room(
    store: &SqliteStore,
    connection: &mut SqliteConnection,
    queue: &str,
) -> Result<(), StoreError> {
    let queued: Option<i64> = sqlx::query_scalar(QUEUED).bind(queue).fetch_optional(connection).await?;
    if queued.is_some_and(|queued| queued.unsigned_abs() >= store.max_queued) {
        return Err(StoreError::QueueFull { queue: queue.to_owned(), limit: store.max_queued });
    }
    Ok(())
}
