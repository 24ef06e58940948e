//! What is too large for a database and is never changed: sealed logs and what jobs leave.
//!
//! ```text
//! logs/<thousands>/<job>-<epoch>-<random>.log.gz   the texts of one try, see `sql/logs/sealed.rs`
//! artifacts/<thousands>/<job>-<random>             one file that a try left, see `sql/artifacts.rs`
//! uploads/index-<random>.gz                        one part of an uploaded index, see `sql/uploads.rs`
//! check/try-<random>                               of no use: whether objects can be kept, see `sql/loose.rs`
//! ```
//!
//! Objects are written once, whole or not at all, under keys that are never used again. Which of them count is said by
//! rows in the database; those that no row names are noted there before they are made (`sql/loose.rs`), so whoever dies in
//! between leaves nothing that nobody would look for.

mod choice;
mod fault;
mod writer;

pub use choice::{ObjectsChoice, S3Choice, S3Credentials};
pub use fault::ObjectsFault;
pub use writer::ObjectWriter;

use crate::error::StoreError;
use bytes::Bytes;
use futures_util::{Stream, stream};
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are asked for at a time of a directory, and of what each question has a long way to.
const PIECE: u64 = 128 << 10;
const FAR_PIECE: u64 = 1 << 20;
/// Random bytes of a key.
const KEY_BYTES: usize = 8;

/// Where objects are.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// What was written before the choice was another one: read and removed, never written.
    older: Option<Arc<dyn ObjectStore>>,
    /// The directory, where there is or was one.
    local: Option<PathBuf>,
    /// For people, without secrets.
    place: Arc<str>,
    /// Whether other servers have it too.
    shared: bool,
    /// Whether other servers may have what this place lacks.
    beside_others: bool,
}

impl Objects {
    /// Opens the place of `choice`; `dir` is the data directory. Nobody is spoken to yet.
    pub fn open(choice: &ObjectsChoice, dir: &Path) -> Result<Self, StoreError> {
        let local = dir.join("objects");
        let store = match choice {
            ObjectsChoice::Directory => {
                return Ok(Self {
                    store: choice::directory(&local)?,
                    older: None,
                    local: Some(local.clone()),
                    place: local.display().to_string().into(),
                    shared: false,
                    beside_others: false,
                });
            }
            ObjectsChoice::S3(s3) => choice::s3(s3)?,
        };
        let older = local.is_dir().then(|| choice::directory(&local)).transpose()?;
        let local = older.is_some().then_some(local);
        Ok(Self { store, older, local, place: choice.to_string().into(), shared: true, beside_others: false })
    }

    /// The same for one server of several that share a database: where they share no objects, each lacks what the others keep.
    pub(crate) fn of_one_among_several(self) -> Self {
        Self { beside_others: !self.shared, ..self }
    }

    /// A key that was never used, from its readable beginning and its ending.
    pub fn new_key(beginning: &str, ending: &str) -> Result<String, StoreError> {
        let mut bytes = [0_u8; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| StoreError::Database(error.to_string().into()))?;
        Ok(format!("{beginning}-{}{ending}", hex::encode(bytes)))
    }

    /// Begins an object. Until it is finished, there is none.
    pub fn writer(&self, key: &str) -> ObjectWriter {
        ObjectWriter::new(Arc::clone(&self.store), key, Arc::clone(&self.place))
    }

    /// Makes a small object. It survives the loss of power when this returns.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), ObjectsFault> {
        let put = self.store.put(&Key::from(key), bytes.into()).await;
        put.map(drop).map_err(|error| self.fault(key, error))
    }

    /// Reads the bytes of an object from `range.start` up to `range.end`; a fault where the object ends before that.
    pub async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectsFault> {
        let at = Key::from(key);
        let wanted = range.end.saturating_sub(range.start);
        let read = match (self.store.get_range(&at, range.clone()).await, &self.older) {
            (Err(Error::NotFound { .. }), Some(older)) => older.get_range(&at, range).await,
            (read, _) => read,
        };
        let bytes = read.map_err(|error| self.fault(key, error))?;
        // A range that ends behind the object is answered with what is there.
        if bytes.len() as u64 == wanted { Ok(bytes) } else { Err(self.short(key)) }
    }

    /// Bytes of a piece of an object at most, which is in memory while it is read piece by piece.
    pub const fn piece(&self) -> u64 {
        if self.shared { FAR_PIECE } else { PIECE }
    }

    /// Reads bytes of an object piece by piece, as fast as they are taken.
    pub fn stream(
        &self,
        key: String,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, ObjectsFault>> + Send + use<> {
        let objects = self.clone();
        stream::try_unfold(range.start, move |at| {
            let (objects, key) = (objects.clone(), key.clone());
            async move {
                if at >= range.end {
                    return Ok(None);
                }
                let end = range.end.min(at + objects.piece());
                Ok(Some((objects.read(&key, at..end).await?, end)))
            }
        })
    }

    /// Removes an object, if it is there, and what may be left of one whose maker died.
    pub async fn remove(&self, key: &str) -> Result<(), ObjectsFault> {
        if let Some(local) = &self.local {
            // Where the directory's driver gathers what is to be an object of that key.
            match tokio::fs::remove_file(local.join(format!("{key}#1"))).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let source = Error::Generic { store: "directory", source: Box::new(error) };
                    return Err(self.fault(key, source));
                }
                _ => {}
            }
        }
        for store in [Some(&self.store), self.older.as_ref()].into_iter().flatten() {
            match store.delete(&Key::from(key)).await {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(self.fault(key, error)),
            }
        }
        Ok(())
    }

    /// Makes, reads and removes an object of no use. If that fails it may be there still.
    pub(crate) async fn check(&self, key: &str) -> Result<(), ObjectsFault> {
        self.put(key, Bytes::from_static(b"ok")).await?;
        let read = self.read(key, 0..2).await;
        // Whatever became of reading it.
        self.remove(key).await?;
        read.map(drop)
    }

    /// Where that is, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether that is a place that every server can have.
    pub const fn is_shared(&self) -> bool {
        self.shared
    }

    fn fault(&self, key: &str, error: Error) -> ObjectsFault {
        let fault = ObjectsFault::of(&self.place, key, error);
        if self.beside_others { fault.beside_others() } else { fault }
    }

    fn short(&self, key: &str) -> ObjectsFault {
        ObjectsFault::Short { place: self.place.to_string(), key: key.to_owned() }
    }
}

#[cfg(test)]
impl Objects {
    /// In this store.
    pub(crate) fn of(store: Arc<dyn ObjectStore>) -> Self {
        let place = "the store of a test".into();
        Self { store, older: None, local: None, shared: false, beside_others: false, place }
    }
}

/// One that keeps what it has under a prefix.
fn prefixed(store: impl ObjectStore, prefix: &str) -> Arc<dyn ObjectStore> {
    if prefix.is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix)) }
}
