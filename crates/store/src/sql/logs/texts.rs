//! Reading the texts of tries that are not sealed, wherever they are.

use super::super::SqlStore;
use super::Texts;
use super::files::{read_at, text_path};
use super::lengths::Lengths;
use super::read::blocking;
use super::rows::{self, Entry};
use crate::error::StoreError;
use jobs::JobId;

/// How long the text of every entry is.
pub(super) async fn lengths(store: &SqlStore, id: JobId, epoch: u32) -> Result<Lengths, StoreError> {
    match store.logs.texts {
        Texts::Files => {
            let dir = store.logs.dir(id, epoch);
            blocking(move || Lengths::scan(&dir)).await
        }
        Texts::Rows => rows::lengths(&mut store.database.lookup().await?, id, epoch).await,
    }
}

/// The same of one entry only.
pub(super) async fn length(store: &SqlStore, at @ (id, epoch, entry): Entry) -> Result<Lengths, StoreError> {
    match store.logs.texts {
        Texts::Files => {
            let dir = store.logs.dir(id, epoch);
            blocking(move || Lengths::of_one(&dir, entry)).await
        }
        Texts::Rows => rows::length(&mut store.database.lookup().await?, at).await,
    }
}

/// Up to `max` bytes of a text from `offset`; says whether more follow.
pub(super) async fn read(
    store: &SqlStore,
    at @ (id, epoch, entry): Entry,
    offset: u64,
    max: usize,
) -> Result<(Vec<u8>, bool), StoreError> {
    match store.logs.texts {
        Texts::Files => {
            let path = text_path(&store.logs.dir(id, epoch), entry);
            // Bytes that are being written may end within a character.
            let _held = store.logs.tries.hold_known(id, epoch).await;
            blocking(move || read_at(&path, offset, max)).await
        }
        Texts::Rows => rows::read(&mut store.database.lookup().await?, at, offset, max).await,
    }
}
