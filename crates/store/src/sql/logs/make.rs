//! Making objects of the texts of tries that are over.

use super::super::SqlStore;
use super::read::blocking;
use super::rows::Entry;
use super::seal::{Source, Wanted};
use super::sealed::{self, CHUNK, Pieces, pack};
use super::texts;
use crate::error::StoreError;
use crate::objects::ObjectWriter;
use std::sync::atomic::{AtomicBool, Ordering};

/// What became of making a try's object.
pub(super) enum Made {
    /// It is there, and durable.
    Object {
        /// Of what.
        of: Wanted,
        /// Its key.
        key: String,
        /// Bytes of all its texts.
        bytes: u64,
        /// Where in it which text is.
        pieces: Pieces,
    },
    /// None was needed.
    Nothing(Wanted),
    /// The object store was found to be away before it was begun: its key.
    NotBegun(String),
}

/// Makes one. `away` is said, and asked, of the object store by all that are made at the same time.
pub(super) async fn make(store: &SqlStore, mut of: Wanted, away: &AtomicBool) -> Result<Made, StoreError> {
    let Some(key) = of.key.take() else { return Ok(Made::Nothing(of)) };
    if away.load(Ordering::Relaxed) {
        return Ok(Made::NotBegun(key));
    }
    let mut writer = store.objects.writer(&key);
    let made = match pack_try(store, &of, &mut writer).await {
        Ok(packed) => writer.finish().await.map(|_| packed).map_err(StoreError::from),
        Err(fault) => {
            writer.abort().await;
            Err(fault)
        }
    };
    match made {
        Ok((bytes, pieces)) => Ok(Made::Object { of, key, bytes, pieces }),
        Err(fault) => {
            if let StoreError::Objects(fault) = &fault
                && fault.is_of_store()
            {
                away.store(true, Ordering::Relaxed);
            }
            Err(fault)
        }
    }
}

/// Writes the texts of a try, which nobody changes; says how long they are together, and where which is.
async fn pack_try(
    store: &SqlStore,
    of: &Wanted,
    writer: &mut ObjectWriter,
) -> Result<(u64, Pieces), StoreError> {
    let (mut total, mut pieces) = (0, Pieces { chunk: CHUNK as u64, texts: Vec::new() });
    for (entry, source) in &of.parts {
        let object = of.present.as_deref().filter(|_| *source == Source::Present);
        let (mut length, mut chunks) = (0, Vec::new());
        loop {
            let text = chunk(store, (of.job, of.epoch, *entry), object, length).await?;
            if text.is_empty() {
                break;
            }
            length += text.len() as u64;
            let packed = move || pack(&text).map_err(|error| StoreError::Database(Box::new(error)));
            let packed = blocking(packed).await?;
            chunks.push(u32::try_from(packed.len()).unwrap_or(u32::MAX));
            writer.put(packed.into()).await?;
        }
        total += length;
        pieces.texts.push((*entry, length, chunks));
    }
    Ok((total, pieces))
}

/// The text from `offset` up to the end of a chunk, out of that object if it is in one.
async fn chunk(
    store: &SqlStore,
    at: Entry,
    object: Option<&str>,
    offset: u64,
) -> Result<Vec<u8>, StoreError> {
    let (text, _) = match object {
        None => texts::read(store, at, offset, CHUNK).await?,
        Some(object) => sealed::read(store, at, object, offset, CHUNK).await?,
    };
    Ok(text)
}
