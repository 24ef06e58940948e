//! Moving the texts of tries that are over into the object store.
//!
//! In this order, so that whoever dies or fails in between leaves texts that can be read, and work that is found again:
//! the object's key is noted as loose; the object is made and durable; a row says that the texts are there, and the note
//! goes, in one transaction; the files are removed. Readers look at the files first and at the row second, so what they find
//! is whole.

use super::super::SqlStore;
use super::super::database::{Durability, Write};
use super::super::loose;
use super::super::session::Session;
use super::super::statements::statements;
use super::super::values::to_json;
use super::ended;
use super::files::failed;
use super::lengths::Lengths;
use super::pack::pack_try;
use super::read::blocking;
use super::sealed::Pieces;
use crate::error::StoreError;
use crate::objects::Objects;
use futures_util::{StreamExt, stream};
use jobs::JobId;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Tries that are sealed with the same two transactions.
const AT_ONCE: usize = 64;
/// Objects that are made at one time.
const MADE_AT_ONCE: usize = 4;
/// Jobs whose objects are side by side in the local directory.
const SIDE_BY_SIDE: i64 = 1_000;

statements! {
    STATE = "SELECT epoch, state = 'processing', state IN ('completed', 'failed', 'canceled') FROM jobs WHERE id = $1";
    PRESENT = "SELECT object, bytes FROM sealed_logs WHERE job = $1 AND epoch = $2";
    /// Nobody removes the job before this transaction is over.
    INSERT in sqlite = "INSERT INTO sealed_logs (job, epoch, object, bytes, pieces) \
                        SELECT id, $2, $3, $4, $5 FROM jobs WHERE id = $1 \
                        ON CONFLICT (job, epoch) DO UPDATE \
                        SET object = excluded.object, bytes = excluded.bytes, pieces = excluded.pieces",
           in postgres = "INSERT INTO sealed_logs (job, epoch, object, bytes, pieces) \
                          SELECT id, $2, $3, $4, $5 FROM (SELECT id FROM jobs WHERE id = $1 FOR KEY SHARE) AS kept \
                          ON CONFLICT (job, epoch) DO UPDATE \
                          SET object = excluded.object, bytes = excluded.bytes, pieces = excluded.pieces";
}

/// A try whose texts are an object by now.
struct Made {
    job: JobId,
    epoch: u32,
    /// Whether no further try follows.
    last: bool,
    key: String,
    bytes: u64,
    pieces: Pieces,
}

/// A try whose texts are to become one.
struct Wanted {
    job: JobId,
    epoch: u32,
    last: bool,
    key: String,
}

/// Seals what ended lately, or (`all`) whatever there is a directory of; says how many tries.
pub(in crate::sql) async fn seal(store: &SqlStore, all: bool) -> Result<u64, StoreError> {
    let tries = if all {
        let root = store.logs.root.clone();
        blocking(move || ended::all(&root)).await?
    } else {
        store.logs.ended.take()
    };
    let (mut sealed, mut fault) = (0, None);
    for some in tries.chunks(AT_ONCE) {
        match seal_some(store, some).await {
            Ok((some, None)) => sealed += some,
            // What is wrong with one is nothing to the others; the next look at all directories finds it again.
            Ok((some, failed)) => {
                sealed += some;
                fault = failed;
            }
            Err(failed) => return Err(failed),
        }
    }
    if all {
        remove_empty(store).await?;
    }
    match fault {
        Some(fault) if sealed == 0 => Err(fault),
        _ => Ok(sealed),
    }
}

/// Removes directories whose last text went just before somebody died.
async fn remove_empty(store: &SqlStore) -> Result<(), StoreError> {
    let root = store.logs.root.clone();
    for job in blocking(move || ended::empty(&root)).await? {
        let mut lookup = store.database.lookup().await?;
        let state: Option<(i64, bool, bool)> = lookup.query(STATE).bind(job.0).optional().await?;
        if let Some((.., true)) = state {
            let _ = std::fs::remove_dir(store.logs.root.join(job.to_string()));
        }
    }
    Ok(())
}

async fn seal_some(
    store: &SqlStore,
    tries: &[(JobId, u32)],
) -> Result<(u64, Option<StoreError>), StoreError> {
    // Most tries of some jobs print nothing.
    let dirs: Vec<_> =
        tries.iter().map(|(job, epoch)| (*job, *epoch, store.logs.dir(*job, *epoch))).collect();
    let printed = move || Ok(dirs.into_iter().filter(|(.., dir)| dir.is_dir()).collect::<Vec<_>>());
    let mut wanted = Vec::new();
    for (job, epoch, _) in blocking(printed).await? {
        if let Some(one) = wanted_of(store, job, epoch).await? {
            wanted.push(one);
        }
    }
    if wanted.is_empty() {
        return Ok((0, None));
    }
    let keys: Vec<String> = wanted.iter().map(|one| one.key.clone()).collect();
    loose::note_new(store, &keys).await?;
    let made = stream::iter(wanted).map(|one| make(store, one)).buffer_unordered(MADE_AT_ONCE);
    let made: Vec<Result<Made, StoreError>> = made.collect().await;
    let (mut done, mut fault) = (Vec::new(), None);
    for one in made {
        match one {
            Ok(made) => done.push(made),
            Err(failed) => fault = Some(failed),
        }
    }
    note_rows(store, &done).await?;
    let count = done.len() as u64;
    let root = store.logs.root.clone();
    let remove = move || done.iter().try_for_each(|one| remove_files(&root, one.job, one.epoch, one.last));
    blocking(remove).await?;
    Ok((count, fault))
}

/// The try, which has a directory here, if it has texts and nobody can write to them any more.
async fn wanted_of(store: &SqlStore, job: JobId, epoch: u32) -> Result<Option<Wanted>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let state: Option<(i64, bool, bool)> = lookup.query(STATE).bind(job.0).optional().await?;
    drop(lookup);
    // Texts of a job that the database does not know are left alone: it may be the wrong database.
    let Some((latest, running, last)) = state else { return Ok(None) };
    if running && latest == i64::from(epoch) {
        return Ok(None);
    }
    // Whoever was let write before that is done now, and who comes later is refused.
    drop(store.logs.hold(job, epoch).await);
    store.logs.tries.forget(job, epoch);
    let dir = store.logs.dir(job, epoch);
    if blocking(move || Ok(Lengths::scan(&dir)?.entries())).await?.is_empty() {
        // Whoever made the directory died before there was any text.
        let root = store.logs.root.clone();
        blocking(move || remove_files(&root, job, epoch, last)).await?;
        return Ok(None);
    }
    let key = Objects::new_key(&format!("logs/{}/{job}-{epoch}", job.0 / SIDE_BY_SIDE), ".log.gz")?;
    Ok(Some(Wanted { job, epoch, last, key }))
}

async fn make(store: &SqlStore, Wanted { job, epoch, last, key }: Wanted) -> Result<Made, StoreError> {
    let dir = store.logs.dir(job, epoch);
    let mut writer = store.objects.writer(&key);
    match pack_try(&dir, &mut writer).await {
        Ok((bytes, pieces)) => {
            writer.finish().await?;
            Ok(Made { job, epoch, last, key, bytes, pieces })
        }
        Err(fault) => {
            writer.abort().await;
            Err(fault)
        }
    }
}

async fn note_rows(store: &SqlStore, made: &[Made]) -> Result<(), StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let mut noted = Ok(());
    for one in made {
        noted = note_row(store, &mut write, one).await;
        if noted.is_err() {
            break;
        }
    }
    store.settle(write, noted).await
}

/// Of two servers that each have texts of a try, the one counts that has more.
async fn note_row(store: &SqlStore, write: &mut Write<'_>, made: &Made) -> Result<(), StoreError> {
    let now = store.clock.now();
    let present = present(write, made.job, made.epoch).await?;
    let bytes = i64::try_from(made.bytes).unwrap_or(i64::MAX);
    if present.as_ref().is_some_and(|(_, present)| *present >= bytes) {
        return loose::note(write, &made.key, now).await;
    }
    if !loose::claim(write, &made.key).await? {
        // It was swept, for it took too long.
        return Err(StoreError::Outdated);
    }
    let insert = write.query(INSERT).bind(made.job.0).bind(i64::from(made.epoch)).bind(&made.key);
    let inserted = insert.bind(bytes).bind(to_json(&made.pieces)?).execute().await?;
    if inserted == 0 {
        // The job was forgotten meanwhile.
        return loose::note(write, &made.key, now).await;
    }
    if let Some((object, _)) = present {
        loose::note(write, &object, now).await?;
    }
    Ok(())
}

async fn present(session: &mut Session, job: JobId, epoch: u32) -> Result<Option<(String, i64)>, StoreError> {
    session.query(PRESENT).bind(job.0).bind(i64::from(epoch)).optional().await
}

fn remove_files(root: &Path, job: JobId, epoch: u32, last: bool) -> Result<(), StoreError> {
    let of_job = root.join(job.to_string());
    let dir = of_job.join(epoch.to_string());
    gone(std::fs::remove_dir_all(&dir)).map_err(|error| failed(&dir, error))?;
    // Otherwise a further try may be making its own directory in it right now.
    if last {
        // It stays where another try has texts.
        let _ = std::fs::remove_dir(&of_job);
    }
    Ok(())
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
