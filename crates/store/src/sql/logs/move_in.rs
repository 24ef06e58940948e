//! Bringing texts to where this store keeps them, when it is opened: from the files of a server that had its database, or shared
//! it, before; from the rows of another database.

use super::super::SqlStore;
use super::super::database::Durability;
use super::super::session::Session;
use super::files::{TryFiles, read_at, text_path};
use super::lengths::Lengths;
use super::read::blocking;
use super::rows::Entry;
use super::{Texts, ended, rows, seal, sealed, settle};
use crate::error::StoreError;
use jobs::JobId;

/// Bytes that are moved at once.
const AT_ONCE: usize = 1 << 20;

/// Does so. Whoever dies over it leaves what was not moved where it was, for the next start.
pub(in crate::sql) async fn move_in(store: &SqlStore) -> Result<(), StoreError> {
    let moved = match store.logs.texts {
        Texts::Rows => files_to_rows(store).await?,
        Texts::Files => rows_to_files(store).await?,
    };
    if moved > 0 {
        tracing::info!(moved, "took over texts of logs");
    }
    Ok(())
}

async fn files_to_rows(store: &SqlStore) -> Result<u64, StoreError> {
    let root = store.logs.root.clone();
    let mut moved = 0;
    for (job, epoch) in blocking(move || ended::all(&root)).await? {
        match try_to_rows(store, job, epoch).await {
            Ok(()) => moved += 1,
            // The others are as good as ever.
            Err(fault @ StoreError::LogFile { .. }) => {
                let error = &fault as &dyn std::error::Error;
                tracing::error!(%job, epoch, error, "can't take over the log of a try: it stays in the data directory, unseen");
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(moved)
}

async fn try_to_rows(store: &SqlStore, job: JobId, epoch: u32) -> Result<(), StoreError> {
    let dir = store.logs.dir(job, epoch);
    let files = blocking(move || Lengths::scan(&dir)).await?;
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let taken = take_files(store, &mut write, (job, epoch), &files).await;
    if store.settle(write, taken).await? {
        let root = store.logs.root.clone();
        blocking(move || seal::remove_files(&root, job, epoch, true)).await?;
    }
    Ok(())
}

/// Says whether they are of use no more. Texts of a job that the database does not know are left alone: it may be the wrong one.
async fn take_files(
    store: &SqlStore,
    write: &mut Session,
    (job, epoch): (JobId, u32),
    files: &Lengths,
) -> Result<bool, StoreError> {
    if !settle::lock_job(write, job).await? {
        return Ok(false);
    }
    let present = rows::lengths(write, job, epoch).await?;
    let object = match sealed::object(write, job, epoch).await? {
        Some(object) => Some(sealed::index(store, job, epoch, &object).await?),
        None => None,
    };
    // One without a row was never told to anybody.
    for entry in files.entries().into_iter().filter(|entry| present.knows(*entry)) {
        let sealed = object.as_ref().map_or(0, |object| object.length_of(entry));
        let (mut at, length) = (present.of(entry), files.of(entry));
        while at < length && sealed < length {
            let path = text_path(&store.logs.dir(job, epoch), entry);
            let (text, _) = blocking(move || read_at(&path, at, AT_ONCE)).await?;
            let end = rows::add_at(write, (job, epoch, entry), at, &text, u64::MAX).await?;
            if end == at {
                break;
            }
            at = end;
        }
    }
    Ok(true)
}

async fn rows_to_files(store: &SqlStore) -> Result<u64, StoreError> {
    let mut moved = 0;
    loop {
        let some = rows::some(&mut store.database.lookup().await?).await?;
        if some.is_empty() {
            return Ok(moved);
        }
        for entry in some {
            text_to_file(store, entry).await?;
            moved += 1;
        }
    }
}

async fn text_to_file(store: &SqlStore, at @ (job, epoch, entry): Entry) -> Result<(), StoreError> {
    let mut files = TryFiles::new(job, store.logs.dir(job, epoch), u64::MAX);
    let mut offset = 0;
    loop {
        let (text, _) = rows::read(&mut store.database.lookup().await?, at, offset, AT_ONCE).await?;
        if text.is_empty() {
            break;
        }
        let begin = offset;
        offset += text.len() as u64;
        let add = move || files.add_at(entry, begin, &text).map(|_| files);
        files = blocking(add).await?;
    }
    blocking(move || files.sync(entry)).await?;
    let mut write = store.database.write(Durability::PowerLoss).await?;
    rows::clear(&mut write, at).await?;
    store.commit(write).await
}
