//! Indexes that jobs upload: what is known of them, and which objects their parts are.

use super::SqlStore;
use super::database::Durability;
use super::loose;
use super::portions::{self, Counts, count};
use super::session::{Row, Session, Sql};
use super::statements::statements;
use super::values::{micros, namespace, small, timestamp};
use crate::error::{Countable, StoreError};
use crate::model::{FILE_CHARGE, NewObject, NewUpload, UploadFilter, UploadPartRow, UploadRow};
use crate::sql::MAX_LISTED;
use jiff::Timestamp;
use jobs::{JobId, Namespace};
use std::collections::BTreeSet;

/// Uploads that are begun and not complete at most.
const MAX_BEGUN: i64 = 1_000;
/// Uploads by the token of one job: one for each of its tries, and some to spare.
const MAX_OF_JOB: i64 = 20;
/// Bytes that each part of an upload counts for at least.
const CHARGE: i64 = FILE_CHARGE.cast_signed();
/// Uploads of a kind that are forgotten in one transaction.
const MAX_FORGOTTEN_AT_ONCE: i64 = 20;

macro_rules! columns {
    () => {
        "id, namespace, repository, commit_id, root, indexer_name, indexer_version, associated_index, content_type, \
         uncompressed_size, parts, size, started_at, finished_at, by_job"
    };
}
/// The job by whose token it came is over: that is good for nothing any more.
macro_rules! is_left {
    () => {
        "by_job IS NOT NULL AND NOT EXISTS ( \
             SELECT 1 FROM jobs WHERE jobs.id = by_job AND jobs.state NOT IN ('completed', 'failed', 'canceled'))"
    };
}
/// All began before now ($1): that is asked for the sake of the index of those that are not complete, which are few. By the other one,
/// all that ever came of jobs would be read.
macro_rules! left {
    () => {
        concat!(
            "SELECT id FROM uploads WHERE finished_at IS NULL AND started_at <= $1 AND ",
            is_left!(),
            " LIMIT $2"
        )
    };
}

/// Of those that say that they came of one job.
macro_rules! of_job {
    ($uploads:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM ",
            $uploads,
            " WHERE finished_at IS NOT NULL AND id < $1 AND (CAST($2 AS TEXT) IS NULL OR namespace = $2) \
             AND (CAST($3 AS TEXT) IS NULL OR repository = $3) AND associated_index = $5 ORDER BY id DESC LIMIT $4"
        )
    };
}

statements! {
    BEGUN = count!(concat!("uploads WHERE finished_at IS NULL AND NOT (", is_left!(), ")"));
    OF_JOB = "SELECT COUNT(*) FROM uploads WHERE by_job = $1";
    INSERT = "INSERT INTO uploads (namespace, repository, commit_id, root, indexer_name, indexer_version, \
              associated_index, content_type, uncompressed_size, parts, size, started_at, finished_at, by_job) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id";
    /// Nobody else changes it before this transaction is over.
    TO_CHANGE in sqlite = "SELECT parts, size, finished_at IS NOT NULL FROM uploads WHERE id = $1",
              in postgres = "SELECT parts, size, finished_at IS NOT NULL FROM uploads WHERE id = $1 FOR UPDATE";
    PART = "SELECT object, size FROM upload_parts WHERE upload = $1 AND part = $2";
    PUT_PART = "INSERT INTO upload_parts (upload, part, object, size, sha256) VALUES ($1, $2, $3, $4, $5) \
                ON CONFLICT (upload, part) DO UPDATE \
                SET object = excluded.object, size = excluded.size, sha256 = excluded.sha256";
    GROW = "UPDATE uploads SET size = size + $2 WHERE id = $1";
    FINISH = "UPDATE uploads SET finished_at = $2 WHERE id = $1";
    BY_ID = concat!("SELECT ", columns!(), " FROM uploads WHERE id = $1");
    PARTS = "SELECT part, object, size, sha256 FROM upload_parts WHERE upload = $1 ORDER BY part";
    LIST = concat!("SELECT ", columns!(), " FROM uploads WHERE finished_at IS NOT NULL AND id < $1 \
                    AND (CAST($2 AS TEXT) IS NULL OR namespace = $2) AND (CAST($3 AS TEXT) IS NULL OR repository = $3) ORDER BY id DESC LIMIT $4");
    LIST_OF_JOB in sqlite = of_job!("uploads INDEXED BY uploads_of_job"), in postgres = of_job!("uploads");
    SIZE in sqlite = "SELECT COALESCE(SUM(MAX(size, parts * $1)), 0) FROM uploads",
         in postgres = "SELECT COALESCE(SUM(GREATEST(size, parts * $1)), 0)::bigint FROM uploads";
    SIZE_OF in sqlite = "SELECT COALESCE(SUM(MAX(size, parts * $1)), 0) FROM uploads WHERE namespace = $2",
            in postgres = "SELECT COALESCE(SUM(GREATEST(size, parts * $1)), 0)::bigint FROM uploads WHERE namespace = $2";
    OLD in sqlite = "SELECT id FROM uploads WHERE finished_at < $1 OR (finished_at IS NULL AND started_at < $2) LIMIT $3",
        in postgres = "SELECT id FROM uploads WHERE finished_at < $1 OR (finished_at IS NULL AND started_at < $2) LIMIT $3 \
                       FOR UPDATE SKIP LOCKED";
    LOOK = "SELECT id FROM uploads WHERE finished_at < $1 OR (finished_at IS NULL AND started_at < $2) LIMIT $3";
    LEFT in sqlite = left!(), in postgres = concat!(left!(), " FOR UPDATE OF uploads SKIP LOCKED");
    LOOK_LEFT = left!();
    LET_GO = "INSERT INTO loose_objects (key, remove_at) SELECT object, $2 FROM upload_parts WHERE upload = $1 \
              ON CONFLICT (key) DO NOTHING";
    FORGET = "DELETE FROM uploads WHERE id = $1";
}

pub(super) async fn begin(store: &SqlStore, new: &NewUpload) -> Result<i64, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let begun = async {
        let begun: Counts = write.query(BEGUN).bind(new.namespace.key()).one().await?;
        portions::check(Countable::BegunUploads, &new.namespace, MAX_BEGUN, begun)?;
        insert(&mut write, new, 0, store.clock.now(), None).await
    };
    let begun = begun.await;
    let id = store.settle(write, begun).await?;
    store.sums.uploads.add(charged(0, new.parts));
    Ok(id)
}

/// Bytes that an upload counts for that has so many and so many parts: each is a row and an object, however small.
fn charged(bytes: i64, parts: impl Into<i64>) -> i64 {
    bytes.max(parts.into().saturating_mul(CHARGE))
}

pub(super) async fn add(store: &SqlStore, new: &NewUpload, object: &NewObject) -> Result<i64, StoreError> {
    let now = store.clock.now();
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let added = async {
        let id = insert(&mut write, new, object.size, now, Some(now)).await?;
        take_object(&mut write, id, 0, object).await?;
        Ok(id)
    };
    let added = added.await;
    let id = store.settle(write, added).await?;
    store.sums.uploads.add(charged(capped(object.size), new.parts));
    Ok(id)
}

async fn insert(
    session: &mut Session,
    new: &NewUpload,
    size: u64,
    now: Timestamp,
    finished_at: Option<Timestamp>,
) -> Result<i64, StoreError> {
    if let Some(job) = new.by_job {
        let (present,): (i64,) = session.query(OF_JOB).bind(job.0).one().await?;
        if present >= MAX_OF_JOB {
            return Err(StoreError::TooManyUploads { job, limit: MAX_OF_JOB });
        }
    }
    let insert = session.query(INSERT).bind(new.namespace.key()).bind(&new.repository).bind(&new.commit);
    let insert = insert.bind(&new.root).bind(&new.indexer_name).bind(&new.indexer_version);
    let insert = insert.bind(new.associated_index_id).bind(&new.content_type);
    let insert = insert.bind(new.uncompressed_size.map(capped)).bind(i64::from(new.parts));
    let insert = insert.bind(capped(size)).bind(micros(now)).bind(finished_at.map(micros));
    let (id,) = insert.bind(new.by_job.map(|job| job.0)).one().await?;
    Ok(id)
}

async fn take_object(
    session: &mut Session,
    id: i64,
    part: u32,
    object: &NewObject,
) -> Result<(), StoreError> {
    if !loose::claim(session, &object.key).await? {
        // It took so long that it was swept.
        return Err(StoreError::Outdated);
    }
    let put = session.query(PUT_PART).bind(id).bind(i64::from(part)).bind(&object.key);
    put.bind(capped(object.size)).bind(&object.sha256).execute().await.map(drop)
}

pub(super) async fn add_part(
    store: &SqlStore,
    id: i64,
    part: u32,
    object: &NewObject,
) -> Result<(), StoreError> {
    let now = store.clock.now();
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let added = put_part(&mut write, (id, part), object, now).await;
    let more = store.settle(write, added).await?;
    store.sums.uploads.add(more);
    Ok(())
}

/// Says for how many more bytes it counts.
async fn put_part(
    write: &mut Session,
    (id, part): (i64, u32),
    object: &NewObject,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let ToChange { parts, size, finished } = to_change(write, id).await?;
    if finished {
        return Err(StoreError::UnknownUpload(id));
    }
    if i64::from(part) >= parts {
        return Err(StoreError::NoSuchPart { part, parts });
    }
    let before: Option<(String, i64)> = write.query(PART).bind(id).bind(i64::from(part)).optional().await?;
    take_object(write, id, part, object).await?;
    let more = capped(object.size) - before.as_ref().map_or(0, |(_, size)| *size);
    write.query(GROW).bind(id).bind(more).execute().await?;
    if let Some((key, _)) = before {
        loose::note(write, &key, now).await?;
    }
    Ok(charged(size + more, parts) - charged(size, parts))
}

pub(super) async fn finish(store: &SqlStore, id: i64, looked_at: &[NewObject]) -> Result<(), StoreError> {
    let now = store.clock.now();
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let finished = complete(&mut write, id, looked_at, now).await;
    store.settle(write, finished).await
}

async fn complete(
    write: &mut Session,
    id: i64,
    looked_at: &[NewObject],
    now: Timestamp,
) -> Result<(), StoreError> {
    let ToChange { parts, finished, .. } = to_change(write, id).await?;
    if finished {
        return Ok(());
    }
    let present: Vec<(i64, String, i64, String)> = write.query(PARTS).bind(id).all().await?;
    let there = present.len() as i64;
    if there < parts {
        return Err(StoreError::MissingPart { there, parts });
    }
    if !present.iter().map(|(_, key, ..)| key).eq(looked_at.iter().map(|object| &object.key)) {
        return Err(StoreError::PartsChanged(id));
    }
    write.query(FINISH).bind(id).bind(micros(now)).execute().await.map(drop)
}

/// An upload that nobody else changes meanwhile.
struct ToChange {
    parts: i64,
    size: i64,
    finished: bool,
}

async fn to_change(session: &mut Session, id: i64) -> Result<ToChange, StoreError> {
    let found = session.query(TO_CHANGE).bind(id).optional().await?;
    let (parts, size, finished) = found.ok_or(StoreError::UnknownUpload(id))?;
    Ok(ToChange { parts, size, finished })
}

pub(super) async fn by_id(store: &SqlStore, id: i64) -> Result<Option<UploadRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    lookup.query(BY_ID).bind(id).row().await?.as_ref().map(read).transpose()
}

pub(super) async fn parts(store: &SqlStore, id: i64) -> Result<Vec<UploadPartRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let rows: Vec<(i64, String, i64, String)> = lookup.query(PARTS).bind(id).all().await?;
    let row = |(part, key, size, sha256): (i64, String, i64, String)| {
        let part = small(part, "part", || format!("upload {id}"))?;
        Ok(UploadPartRow { part, object: NewObject { key, size: size.unsigned_abs(), sha256 } })
    };
    rows.into_iter().map(row).collect()
}

pub(super) async fn list(store: &SqlStore, filter: UploadFilter) -> Result<Vec<UploadRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let list = lookup.query(if filter.job.is_some() { LIST_OF_JOB } else { LIST });
    let list = list.bind(filter.before.unwrap_or(i64::MAX));
    let list = list.bind(filter.namespace.map(|of| of.key())).bind(filter.repository);
    let list = list.bind(i64::from(filter.limit.min(MAX_LISTED)));
    let list = match filter.job {
        Some(job) => list.bind(job.0),
        None => list,
    };
    list.rows().await?.iter().map(read).collect()
}

pub(super) async fn size(store: &SqlStore) -> Result<u64, StoreError> {
    let add_up = async || {
        let (size,): (i64,) = store.database.lookup().await?.query(SIZE).bind(CHARGE).one().await?;
        Ok(size)
    };
    store.sums.uploads.bytes(add_up).await
}

pub(super) async fn size_of(store: &SqlStore, of: &Namespace) -> Result<u64, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let (size,): (i64,) = lookup.query(SIZE_OF).bind(CHARGE).bind(of.key()).one().await?;
    Ok(size.unsigned_abs())
}

pub(super) async fn forget(
    store: &SqlStore,
    finished: Timestamp,
    begun: Timestamp,
) -> Result<u64, StoreError> {
    // The usual answer is "none": it costs the writers nothing.
    let now = micros(store.clock.now());
    let times = (micros(finished), micros(begun), now);
    let mut lookup = store.database.lookup().await?;
    if useless(&mut lookup, (LOOK, LOOK_LEFT), times).await?.is_empty() {
        return Ok(0);
    }
    drop(lookup);
    let mut write = store.database.write(Durability::Crash).await?;
    let found = useless(&mut write, (OLD, LEFT), times).await?;
    for id in &found {
        write.query(LET_GO).bind(*id).bind(now).execute().await?;
        write.query(FORGET).bind(*id).execute().await?;
    }
    store.commit(write).await?;
    store.sums.uploads.removed();
    Ok(found.len() as u64)
}

/// Some of those that are old, and of those whose job left them behind.
async fn useless(
    session: &mut Session,
    (old, left): (Sql, Sql),
    (finished, begun, now): (i64, i64, i64),
) -> Result<BTreeSet<i64>, StoreError> {
    let old = session.query(old).bind(finished).bind(begun).bind(MAX_FORGOTTEN_AT_ONCE);
    let old: Vec<(i64,)> = old.all().await?;
    let left: Vec<(i64,)> = session.query(left).bind(now).bind(MAX_FORGOTTEN_AT_ONCE).all().await?;
    Ok(old.into_iter().chain(left).map(|(id,)| id).collect())
}

fn read(row: &Row) -> Result<UploadRow, StoreError> {
    let id: i64 = row.get("id")?;
    let name = || format!("upload {id}");
    let of: String = row.get("namespace")?;
    let finished_at: Option<i64> = row.get("finished_at")?;
    let uncompressed: Option<i64> = row.get("uncompressed_size")?;
    let size: i64 = row.get("size")?;
    let by_job: Option<i64> = row.get("by_job")?;
    Ok(UploadRow {
        id,
        of: NewUpload {
            namespace: namespace(&of, name)?,
            repository: row.get("repository")?,
            commit: row.get("commit_id")?,
            root: row.get("root")?,
            indexer_name: row.get("indexer_name")?,
            indexer_version: row.get("indexer_version")?,
            associated_index_id: row.get("associated_index")?,
            by_job: by_job.map(JobId),
            content_type: row.get("content_type")?,
            uncompressed_size: uncompressed.map(i64::unsigned_abs),
            parts: small(row.get("parts")?, "number of parts", name)?,
        },
        size: size.unsigned_abs(),
        started_at: timestamp(row.get("started_at")?, name)?,
        finished_at: finished_at.map(|at| timestamp(at, name)).transpose()?,
    })
}

fn capped(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
