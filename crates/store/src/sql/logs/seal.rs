//! Moving the texts of tries that are over into the object store.
//!
//! In this order, so that whoever dies or fails in between leaves texts that can be read, and work that is found again:
//! the object's key is noted as loose; the object is made and durable (`make.rs`); a row says that the texts are there, and the
//! note goes, in one transaction; rows of texts are removed in it too (`settle.rs`), files after it. Readers look at the texts
//! first and at the row second, so what they find is whole.
//!
//! Several servers may seal one try: they lock its job, and the second one sees what the first has done. A text may come to light
//! after its try was sealed, from the files of a server that was away: then a new object takes the place of the first, with
//! the longer of both texts of each entry.

use super::super::SqlStore;
use super::super::loose;
use super::super::statements::statements;
use super::files::failed;
use super::lengths::Lengths;
use super::make::{Made, make};
use super::read::blocking;
use super::{Texts, ended, rows, sealed, settle, texts};
use crate::error::StoreError;
use crate::objects::Objects;
use futures_util::{StreamExt, stream};
use jobs::JobId;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Tries that are sealed with the same two transactions.
const AT_ONCE: usize = 64;
/// Objects that are made at one time.
const MADE_AT_ONCE: usize = 4;
/// Jobs whose objects are side by side in the local directory.
const SIDE_BY_SIDE: i64 = 1_000;
/// After this time a call leaves the rest to the next one: its caller may want to stop.
const MAX_TURN: Duration = Duration::from_secs(5);

statements! {
    STATE = "SELECT epoch, state = 'processing', state IN ('completed', 'failed', 'canceled') FROM jobs WHERE id = $1";
}

/// A try whose texts are to become one object.
pub(super) struct Wanted {
    pub(super) job: JobId,
    pub(super) epoch: u32,
    /// Whether no further try follows.
    last: bool,
    /// How long its texts are.
    pub(super) lengths: Lengths,
    /// The object that it has already.
    pub(super) present: Option<String>,
    /// What the new one is made of.
    pub(super) parts: Vec<(i64, Source)>,
    /// The new one's key; `None` where the present one has all of it.
    pub(super) key: Option<String>,
}

/// Where a text is that goes into an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Where texts are until they are sealed.
    Texts,
    /// In the object that the try has already.
    Present,
}

/// Seals what ended lately, or (`all`) whatever there are texts of; says how many tries. With the first fault of the object store it
/// ends. Until that has taken something again, it is asked with `all` alone, and then for one object first.
pub(in crate::sql) async fn seal(store: &SqlStore, all: bool) -> Result<u64, StoreError> {
    let away = &store.logs.objects_away;
    if !all && away.load(Ordering::Relaxed) {
        return Ok(0);
    }
    let begun = Instant::now();
    let mut tries = if all { over(store).await? } else { store.logs.ended.take() };
    let (mut sealed, mut fault, mut at_once) = (0, None, 1);
    while !tries.is_empty() && begun.elapsed() < MAX_TURN {
        let some: Vec<_> = tries.drain(..at_once.min(tries.len())).collect();
        let (done, failed) = seal_some(store, &some).await?;
        sealed += done;
        // What is wrong with one is nothing to the others; the next look at all texts finds it again.
        fault = failed.or(fault);
        if away.load(Ordering::Relaxed) {
            break;
        }
        at_once = AT_ONCE;
    }
    if all {
        remove_empty(store).await?;
    } else {
        for (job, epoch) in tries {
            store.logs.ended.note(job, epoch);
        }
    }
    match fault {
        Some(fault) if sealed == 0 => Err(fault),
        _ => Ok(sealed),
    }
}

/// Every try that has texts; where they are rows, those that are over alone.
async fn over(store: &SqlStore) -> Result<Vec<(JobId, u32)>, StoreError> {
    match store.logs.texts {
        Texts::Files => {
            let root = store.logs.root.clone();
            blocking(move || ended::all(&root)).await
        }
        Texts::Rows => rows::over(&mut store.database.lookup().await?).await,
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
    let mut wanted = Vec::new();
    for (job, epoch) in with_texts(store, tries).await? {
        wanted.extend(wanted_of(store, job, epoch).await?);
    }
    if wanted.is_empty() {
        return Ok((0, None));
    }
    let keys: Vec<String> = wanted.iter().filter_map(|one| one.key.clone()).collect();
    loose::note_new(store, &keys).await?;
    let away = AtomicBool::new(false);
    let made = stream::iter(wanted).map(|one| make(store, one, &away)).buffer_unordered(MADE_AT_ONCE);
    let made: Vec<Result<Made, StoreError>> = made.collect().await;
    let (mut done, mut fault) = (Vec::new(), None);
    for one in made {
        match one {
            Ok(made) => done.push(made),
            Err(failed) => fault = Some(failed),
        }
    }
    let away = away.into_inner();
    if away || done.iter().any(|made| matches!(made, Made::Object { .. })) {
        store.logs.objects_away.store(away, Ordering::Relaxed);
    }
    let settled = settle::settle(store, done).await?;
    let count = settled.len() as u64;
    if store.logs.texts == Texts::Files {
        let root = store.logs.root.clone();
        let remove =
            move || settled.iter().try_for_each(|one| remove_files(&root, one.job, one.epoch, one.last));
        blocking(remove).await?;
    }
    Ok((count, fault))
}

/// Most tries of some jobs print nothing.
async fn with_texts(store: &SqlStore, tries: &[(JobId, u32)]) -> Result<Vec<(JobId, u32)>, StoreError> {
    if store.logs.texts == Texts::Rows {
        return Ok(tries.to_vec());
    }
    let mut dirs: Vec<_> =
        tries.iter().map(|(job, epoch)| ((*job, *epoch), store.logs.dir(*job, *epoch))).collect();
    let printed = move || {
        dirs.retain(|(_, dir)| dir.is_dir());
        Ok(dirs.into_iter().map(|(one, _)| one).collect())
    };
    blocking(printed).await
}

/// The try, if it has texts and nobody can write to them any more.
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
    let lengths = texts::lengths(store, job, epoch).await?;
    if lengths.entries().is_empty() {
        if store.logs.texts == Texts::Files {
            // Whoever made the directory died before there was any text.
            let root = store.logs.root.clone();
            blocking(move || remove_files(&root, job, epoch, last)).await?;
        }
        return Ok(None);
    }
    let present = sealed::object(&mut store.database.lookup().await?, job, epoch).await?;
    let parts = parts(store, (job, epoch), &lengths, present.as_deref()).await?;
    let any_new = parts.iter().any(|(_, source)| *source == Source::Texts);
    let new_key = || Objects::new_key(&format!("logs/{}/{job}-{epoch}", job.0 / SIDE_BY_SIDE), ".log.gz");
    let key = any_new.then(new_key).transpose()?;
    Ok(Some(Wanted { job, epoch, last, lengths, present, parts, key }))
}

/// Where which text is taken from: of each entry's texts the longer one, for they begin alike.
async fn parts(
    store: &SqlStore,
    (job, epoch): (JobId, u32),
    lengths: &Lengths,
    present: Option<&str>,
) -> Result<Vec<(i64, Source)>, StoreError> {
    let mut entries = lengths.entries();
    let Some(object) = present else {
        return Ok(entries.into_iter().map(|entry| (entry, Source::Texts)).collect());
    };
    let index = sealed::index(store, job, epoch, object).await?;
    entries.extend(index.entries());
    entries.sort_unstable();
    entries.dedup();
    let is_new = |entry| lengths.of(entry) > index.length_of(entry);
    let longer = |entry| (entry, if is_new(entry) { Source::Texts } else { Source::Present });
    Ok(entries.into_iter().map(longer).collect())
}

/// Removes the files of a try that nobody writes to any more.
pub(super) fn remove_files(root: &Path, job: JobId, epoch: u32, last: bool) -> Result<(), StoreError> {
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
