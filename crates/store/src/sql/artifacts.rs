//! Files that jobs leave: what is known of them, and which objects they are.

use super::SqlStore;
use super::database::Durability;
use super::logs::check_held_for_now;
use super::loose;
use super::session::Session;
use super::statements::statements;
use super::values::{job_name, micros, small, timestamp};
use crate::error::StoreError;
use crate::model::{ArtifactRow, NewArtifact, NewObject};
use jobs::artifacts::{MAX_ARTIFACT_FILES, MAX_ARTIFACTS_BYTES};
use jobs::{JobId, Lease, Namespace};

statements! {
    PRESENT = "SELECT object, size FROM artifacts WHERE job = $1 AND epoch = $2 AND name = $3 AND path = $4";
    TOTAL in sqlite = "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM artifacts WHERE job = $1 AND epoch = $2 \
                       AND NOT (name = $3 AND path = $4)",
          in postgres = "SELECT COUNT(*), COALESCE(SUM(size), 0)::bigint FROM artifacts WHERE job = $1 AND epoch = $2 \
                         AND NOT (name = $3 AND path = $4)";
    PUT = "INSERT INTO artifacts (job, epoch, name, path, object, size, sha256, created_at) \
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (job, epoch, name, path) DO UPDATE \
           SET object = excluded.object, size = excluded.size, sha256 = excluded.sha256, created_at = excluded.created_at";
    LIST = "SELECT epoch, name, path, object, size, sha256, created_at FROM artifacts \
            WHERE job = $1 AND epoch = $2 ORDER BY name, path";
    SIZE in sqlite = "SELECT COALESCE(SUM(size), 0) FROM artifacts",
         in postgres = "SELECT COALESCE(SUM(size), 0)::bigint FROM artifacts";
    SIZE_OF in sqlite = "SELECT COALESCE(SUM(size), 0) FROM artifacts JOIN jobs ON id = job WHERE namespace = $1",
            in postgres = "SELECT COALESCE(SUM(size), 0)::bigint FROM artifacts JOIN jobs ON id = job WHERE namespace = $1";
}

/// An artifact as it comes out of the database.
type Columns = (i64, String, String, String, i64, String, i64);

pub(super) async fn add(
    store: &SqlStore,
    id: JobId,
    lease: &Lease,
    new: &NewArtifact,
) -> Result<(), StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let added = put(store, &mut write, (id, lease), new).await;
    let more = store.settle(write, added).await?;
    store.sums.artifacts.add(more);
    Ok(())
}

/// Says how many more bytes there are.
async fn put(
    store: &SqlStore,
    write: &mut Session,
    (id, lease): (JobId, &Lease),
    new: &NewArtifact,
) -> Result<i64, StoreError> {
    check_held_for_now(write, id, lease).await?;
    let (now, epoch) = (store.clock.now(), i64::from(lease.epoch));
    let (files, bytes): (i64, i64) =
        write.query(TOTAL).bind(id.0).bind(epoch).bind(&new.name).bind(&new.path).one().await?;
    let bytes = bytes.unsigned_abs().saturating_add(new.object.size);
    check_room(id, &new.path, files.unsigned_abs(), bytes)?;
    let present = write.query(PRESENT).bind(id.0).bind(epoch).bind(&new.name).bind(&new.path);
    let present: Option<(String, i64)> = present.optional().await?;
    if !loose::claim(write, &new.object.key).await? {
        // It took so long that it was swept.
        return Err(StoreError::Outdated);
    }
    let put = write.query(PUT).bind(id.0).bind(epoch).bind(&new.name).bind(&new.path).bind(&new.object.key);
    let size = i64::try_from(new.object.size).unwrap_or(i64::MAX);
    put.bind(size).bind(&new.object.sha256).bind(micros(now)).execute().await?;
    let Some((key, had)) = present else { return Ok(size) };
    loose::note(write, &key, now).await?;
    Ok(size - had)
}

/// Whether a try may leave a file with which there are so many bytes, beside so many others.
fn check_room(job: JobId, path: &str, others: u64, bytes: u64) -> Result<(), StoreError> {
    let path = || path.to_owned();
    let limit = MAX_ARTIFACT_FILES as u64;
    if others >= limit {
        return Err(StoreError::TooManyArtifacts { job, path: path(), limit });
    }
    let limit = MAX_ARTIFACTS_BYTES;
    if bytes > limit {
        return Err(StoreError::ArtifactsTooLarge { job, path: path(), bytes, limit });
    }
    Ok(())
}

pub(super) async fn list(store: &SqlStore, id: JobId, epoch: u32) -> Result<Vec<ArtifactRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let rows: Vec<Columns> = lookup.query(LIST).bind(id.0).bind(i64::from(epoch)).all().await?;
    rows.into_iter().map(|columns| read(id, columns)).collect()
}

pub(super) async fn size(store: &SqlStore) -> Result<u64, StoreError> {
    let add_up = async || {
        let (size,): (i64,) = store.database.lookup().await?.query(SIZE).one().await?;
        Ok(size)
    };
    store.sums.artifacts.bytes(add_up).await
}

pub(super) async fn size_of(store: &SqlStore, of: &Namespace) -> Result<u64, StoreError> {
    let (size,): (i64,) = store.database.lookup().await?.query(SIZE_OF).bind(of.key()).one().await?;
    Ok(size.unsigned_abs())
}

fn read(
    id: JobId,
    (epoch, name, path, key, size, sha256, created_at): Columns,
) -> Result<ArtifactRow, StoreError> {
    let row = || format!("artifact {name} of {}", job_name(id));
    Ok(ArtifactRow {
        epoch: small(epoch, "epoch", row)?,
        created_at: timestamp(created_at, row)?,
        of: NewArtifact { name, path, object: NewObject { key, size: size.unsigned_abs(), sha256 } },
    })
}
