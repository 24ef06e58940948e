//! Uploaded files: what is known of them, and which jobs name them.

use super::SqliteStore;
use super::database::Durability;
use super::statements::statements;
use super::values::{micros, timestamp};
use crate::error::StoreError;
use crate::model::{FILE_CHARGE, FileRow, NewFile};
use jiff::Timestamp;
use jobs::{FileSpec, JobId};
use sqlx::SqliteConnection;
use std::collections::BTreeSet;

/// Files that are forgotten in one transaction: everybody else waits for its end.
const MAX_FORGOTTEN_AT_ONCE: u32 = 200;

statements! {
    INSERT = "INSERT INTO files (id, name, size, sha256, modified_at, uploaded_at) VALUES (?, ?, ?, ?, ?, ?)";
    BY_ID = "SELECT id, name, size, sha256, modified_at, uploaded_at FROM files WHERE id = ?";
    OF_JOB = "SELECT id, name, size, sha256, modified_at, uploaded_at FROM files \
              JOIN job_files ON job_files.file = files.id WHERE job_files.job = ? AND files.id = ?";
    SIZE = "SELECT COALESCE(SUM(MAX(size, ?)), 0) FROM files";
    KEEP = "INSERT INTO job_files (job, file) SELECT ?1, id FROM files WHERE id = ?2";
    UNUSED = "SELECT id FROM files WHERE uploaded_at < ?1 AND NOT EXISTS ( \
                  SELECT 1 FROM job_files JOIN jobs ON jobs.id = job_files.job \
                  WHERE job_files.file = files.id \
                  AND (jobs.state NOT IN ('completed', 'failed', 'canceled') OR jobs.finished_at >= ?1) \
              ) ORDER BY uploaded_at LIMIT ?2";
    FORGET = "DELETE FROM files WHERE id = ?";
}

/// A file as it comes out of the database.
type Columns = (String, String, i64, String, i64, i64);

pub(super) async fn add(store: &SqliteStore, new: NewFile) -> Result<FileRow, StoreError> {
    let now = store.clock.now();
    let mut write = store.database.write(Durability::PowerLoss).await?;
    sqlx::query(INSERT)
        .bind(&new.id)
        .bind(&new.name)
        .bind(i64::try_from(new.size).unwrap_or(i64::MAX))
        .bind(&new.sha256)
        .bind(micros(new.modified_at))
        .bind(micros(now))
        .execute(&mut *write)
        .await?;
    let columns = sqlx::query_as(BY_ID).bind(&new.id).fetch_one(&mut *write).await?;
    write.commit().await?;
    read(columns)
}

pub(super) async fn by_id(store: &SqliteStore, id: &str) -> Result<Option<FileRow>, StoreError> {
    let columns = sqlx::query_as(BY_ID).bind(id).fetch_optional(store.database.readers()).await?;
    columns.map(read).transpose()
}

pub(super) async fn of_job(store: &SqliteStore, job: JobId, id: &str) -> Result<Option<FileRow>, StoreError> {
    let of_job = sqlx::query_as(OF_JOB).bind(job.0).bind(id);
    of_job.fetch_optional(store.database.readers()).await?.map(read).transpose()
}

pub(super) async fn size(store: &SqliteStore) -> Result<u64, StoreError> {
    let size: i64 =
        sqlx::query_scalar(SIZE).bind(FILE_CHARGE.cast_signed()).fetch_one(store.database.readers()).await?;
    Ok(size.unsigned_abs())
}

/// Notes which uploads a new job names. From then on they stay as long as it needs them.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    job: JobId,
    files: &[FileSpec],
) -> Result<(), StoreError> {
    let uploads: BTreeSet<&String> = files.iter().filter_map(|file| file.upload.as_ref()).collect();
    for id in uploads {
        let kept = sqlx::query(KEEP).bind(job.0).bind(id).execute(&mut *connection).await?;
        if kept.rows_affected() == 0 {
            return Err(StoreError::UnknownFile(id.clone()));
        }
    }
    Ok(())
}

pub(super) async fn forget(store: &SqliteStore, cutoff: Timestamp) -> Result<Vec<String>, StoreError> {
    // The usual answer is "none": it costs the writers nothing.
    if unused(&mut *store.database.readers().acquire().await?, cutoff).await?.is_empty() {
        return Ok(Vec::new());
    }
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let forgotten = unused(&mut write, cutoff).await?;
    for id in &forgotten {
        sqlx::query(FORGET).bind(id).execute(&mut *write).await?;
    }
    write.commit().await?;
    Ok(forgotten)
}

async fn unused(connection: &mut SqliteConnection, cutoff: Timestamp) -> Result<Vec<String>, StoreError> {
    let unused = sqlx::query_scalar(UNUSED).bind(micros(cutoff)).bind(MAX_FORGOTTEN_AT_ONCE);
    Ok(unused.fetch_all(connection).await?)
}

fn read((id, name, size, sha256, modified_at, uploaded_at): Columns) -> Result<FileRow, StoreError> {
    let row = || format!("file {id}");
    Ok(FileRow {
        modified_at: timestamp(modified_at, row)?,
        uploaded_at: timestamp(uploaded_at, row)?,
        size: size.unsigned_abs(),
        id,
        name,
        sha256,
    })
}
