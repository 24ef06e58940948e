//! Uploaded files: what is known of them, and which jobs name them.

use super::SqlStore;
use super::database::Durability;
use super::loose;
use super::session::{Session, Sql};
use super::statements::statements;
use super::values::{micros, namespace, timestamp};
use crate::error::StoreError;
use crate::model::{FILE_CHARGE, FileRow, NewFile};
use jiff::Timestamp;
use jobs::{FileSpec, JobId, Namespace};
use std::collections::BTreeSet;

/// Files that are forgotten in one transaction: everybody else waits for its end.
const MAX_FORGOTTEN_AT_ONCE: i64 = 200;

/// That no job needs a file that is there for longer than since the first argument.
macro_rules! unused {
    () => {
        "uploaded_at < $1 AND NOT EXISTS ( \
             SELECT 1 FROM job_files JOIN jobs ON jobs.id = job_files.job WHERE job_files.file = files.id \
             AND (jobs.state NOT IN ('completed', 'failed', 'canceled') OR jobs.finished_at >= $1))"
    };
}
macro_rules! keep {
    () => {
        "INSERT INTO job_files (job, file) SELECT $1, id FROM files WHERE id = $2"
    };
}

statements! {
    INSERT = "INSERT INTO files (id, name, size, sha256, modified_at, uploaded_at, namespace, object) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    BY_ID = "SELECT id, name, size, sha256, modified_at, uploaded_at, namespace, object FROM files WHERE id = $1";
    OF_JOB = "SELECT id, name, size, sha256, modified_at, uploaded_at, namespace, object FROM files \
              JOIN job_files ON job_files.file = files.id WHERE job_files.job = $1 AND files.id = $2";
    SIZE in sqlite = "SELECT COALESCE(SUM(MAX(size, $1)), 0) FROM files",
         in postgres = "SELECT COALESCE(SUM(GREATEST(size, $1)), 0)::bigint FROM files";
    SIZE_OF in sqlite = "SELECT COALESCE(SUM(MAX(size, $1)), 0) FROM files WHERE namespace = $2",
            in postgres = "SELECT COALESCE(SUM(GREATEST(size, $1)), 0)::bigint FROM files WHERE namespace = $2";
    /// From here on nobody forgets it before the transaction is over.
    KEEP in sqlite = keep!(), in postgres = concat!(keep!(), " FOR KEY SHARE");
    LOOK = concat!("SELECT id FROM files WHERE ", unused!(), " ORDER BY uploaded_at LIMIT $2");
    /// What somebody is just submitting with a job is stepped over.
    UNUSED in sqlite = concat!("SELECT id FROM files WHERE ", unused!(), " ORDER BY uploaded_at LIMIT $2"),
           in postgres =
               concat!("SELECT id FROM files WHERE ", unused!(), " ORDER BY uploaded_at LIMIT $2 FOR UPDATE SKIP LOCKED");
    /// Looked at once more: it may have been submitted with a job before it was locked.
    FORGET = concat!("DELETE FROM files WHERE id = $2 AND ", unused!(), " RETURNING object");
}

/// A file as it comes out of the database.
type Columns = (String, String, i64, String, i64, i64, String, Option<String>);

pub(super) async fn add(store: &SqlStore, new: NewFile) -> Result<FileRow, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let added = insert(store, &mut write, &new).await;
    read(store.settle(write, added).await?)
}

async fn insert(store: &SqlStore, write: &mut Session, new: &NewFile) -> Result<Columns, StoreError> {
    if let Some(key) = &new.object
        && !loose::claim(write, key).await?
    {
        // It was swept, for it took too long.
        return Err(StoreError::Outdated);
    }
    write
        .query(INSERT)
        .bind(&new.id)
        .bind(&new.name)
        .bind(i64::try_from(new.size).unwrap_or(i64::MAX))
        .bind(&new.sha256)
        .bind(micros(new.modified_at))
        .bind(micros(store.clock.now()))
        .bind(new.namespace.key())
        .bind(&new.object)
        .execute()
        .await?;
    write.query(BY_ID).bind(&new.id).one().await
}

pub(super) async fn by_id(store: &SqlStore, id: &str) -> Result<Option<FileRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    lookup.query(BY_ID).bind(id).optional().await?.map(read).transpose()
}

pub(super) async fn of_job(store: &SqlStore, job: JobId, id: &str) -> Result<Option<FileRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    lookup.query(OF_JOB).bind(job.0).bind(id).optional().await?.map(read).transpose()
}

pub(super) async fn size(store: &SqlStore) -> Result<u64, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let (size,): (i64,) = lookup.query(SIZE).bind(FILE_CHARGE.cast_signed()).one().await?;
    Ok(size.unsigned_abs())
}

pub(super) async fn size_of(store: &SqlStore, of: &Namespace) -> Result<u64, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let sum = lookup.query(SIZE_OF).bind(FILE_CHARGE.cast_signed()).bind(of.key());
    let (size,): (i64,) = sum.one().await?;
    Ok(size.unsigned_abs())
}

/// Notes which uploads a new job names. From then on they stay as long as it needs them.
pub(super) async fn keep(session: &mut Session, job: JobId, files: &[FileSpec]) -> Result<(), StoreError> {
    let uploads: BTreeSet<&String> = files.iter().filter_map(|file| file.upload.as_ref()).collect();
    for id in uploads {
        if session.query(KEEP).bind(job.0).bind(id).execute().await? == 0 {
            return Err(StoreError::UnknownFile(id.clone()));
        }
    }
    Ok(())
}

pub(super) async fn forget(store: &SqlStore, cutoff: Timestamp) -> Result<Vec<String>, StoreError> {
    // The usual answer is "none": it costs the writers nothing.
    if unused(&mut store.database.lookup().await?, LOOK, cutoff).await?.is_empty() {
        return Ok(Vec::new());
    }
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let mut forgotten = Vec::new();
    for id in unused(&mut write, UNUSED, cutoff).await? {
        let forget = write.query(FORGET).bind(micros(cutoff)).bind(&id);
        let Some((object,)) = forget.optional::<(Option<String>,)>().await? else { continue };
        if let Some(key) = object {
            loose::note(&mut write, &key, store.clock.now()).await?;
        }
        forgotten.push(id);
    }
    store.commit(write).await?;
    Ok(forgotten)
}

async fn unused(session: &mut Session, sql: Sql, cutoff: Timestamp) -> Result<Vec<String>, StoreError> {
    let unused = session.query(sql).bind(micros(cutoff)).bind(MAX_FORGOTTEN_AT_ONCE);
    Ok(unused.all::<(String,)>().await?.into_iter().map(|(id,)| id).collect())
}

fn read(
    (id, name, size, sha256, modified_at, uploaded_at, of, object): Columns,
) -> Result<FileRow, StoreError> {
    let row = || format!("file {id}");
    Ok(FileRow {
        modified_at: timestamp(modified_at, row)?,
        uploaded_at: timestamp(uploaded_at, row)?,
        namespace: namespace(&of, row)?,
        size: size.unsigned_abs(),
        id,
        name,
        sha256,
        object,
    })
}
