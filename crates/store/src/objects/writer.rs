//! Writing an object whose length is not known before.

use super::ObjectsFault;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path as Key;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

/// Bytes of a part: what is held in memory of an object that is being written. S3 takes 10,000 of them.
const PART: usize = 8 << 20;
/// Parts that are under way at one time.
const PARTS_AT_ONCE: usize = 2;

/// An object that is being written. Drive it to [`ObjectWriter::finish`] or [`ObjectWriter::abort`]: dropped, it may leave
/// parts behind in S3.
#[derive(Debug)]
pub struct ObjectWriter {
    writer: BufWriter,
    key: String,
    place: Arc<str>,
    written: u64,
    /// Whether anything was sent.
    begun: bool,
}

impl ObjectWriter {
    pub(super) fn new(store: Arc<dyn ObjectStore>, key: &str, place: Arc<str>) -> Self {
        let writer =
            BufWriter::with_capacity(store, Key::from(key), PART).with_max_concurrency(PARTS_AT_ONCE);
        Self { writer, key: key.to_owned(), place, written: 0, begun: false }
    }

    /// Adds bytes.
    pub async fn put(&mut self, bytes: Bytes) -> Result<(), ObjectsFault> {
        self.written += bytes.len() as u64;
        self.begun |= self.written >= PART as u64;
        let put = self.writer.put(bytes).await;
        put.map_err(|error| ObjectsFault::of(&self.place, &self.key, error))
    }

    /// Makes it an object, which survives the loss of power when this returns; says how long it is.
    pub async fn finish(mut self) -> Result<u64, ObjectsFault> {
        match self.writer.shutdown().await {
            Ok(()) => Ok(self.written),
            Err(error) => {
                let fault = ObjectsFault::of(&self.place, &self.key, told(error));
                self.abort().await;
                Err(fault)
            }
        }
    }

    /// Leaves nothing of it, as far as its store can be reached.
    pub async fn abort(mut self) {
        // What was only gathered has gone nowhere.
        if self.begun
            && let Err(error) = self.writer.abort().await
        {
            tracing::debug!(key = self.key, %error, "an object that was given up may have left parts");
        }
    }
}

/// The store's own error, which the writer hands on as one of I/O.
fn told(error: io::Error) -> object_store::Error {
    error
        .downcast::<object_store::Error>()
        .unwrap_or_else(|error| object_store::Error::Generic { store: "writer", source: Box::new(error) })
}
