//! Writing an object whose length is not known before.

use super::ObjectsFault;
use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, PutPayloadMut, Result};
use std::fmt;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Bytes of a part, all but the last of which have as many: what is held in memory of an object that is being written. S3
/// takes 10,000 of them.
const PART: usize = 8 << 20;
/// Parts that are under way at one time.
const PARTS_AT_ONCE: usize = 2;

/// An object that is being written. Drive it to [`ObjectWriter::finish`] or [`ObjectWriter::abort`]: dropped, it may leave
/// parts behind in S3.
pub struct ObjectWriter {
    store: Arc<dyn ObjectStore>,
    key: String,
    place: Arc<str>,
    written: u64,
    /// What was not sent yet, less than a part.
    gathered: PutPayloadMut,
    /// `None` while all of it has room in one.
    parts: Option<Parts>,
}

impl ObjectWriter {
    pub(super) fn new(store: Arc<dyn ObjectStore>, key: &str, place: Arc<str>) -> Self {
        let gathered = PutPayloadMut::new();
        Self { store, key: key.to_owned(), place, written: 0, gathered, parts: None }
    }

    /// Adds bytes. After a fault there is nothing to be done but to abort.
    pub async fn put(&mut self, mut bytes: Bytes) -> std::result::Result<(), ObjectsFault> {
        self.written += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = PART - self.gathered.content_length();
            self.gathered.push(bytes.split_to(room.min(bytes.len())));
            if self.gathered.content_length() == PART {
                self.send().await.map_err(|error| self.fault(error))?;
            }
        }
        Ok(())
    }

    /// Makes it an object, which survives the loss of power when this returns; says how long it is. Of one that can't be made
    /// nothing is left, as far as its store can be reached.
    pub async fn finish(mut self) -> std::result::Result<u64, ObjectsFault> {
        match self.complete().await {
            Ok(()) => Ok(self.written),
            Err(error) => {
                let fault = self.fault(error);
                self.abort().await;
                Err(fault)
            }
        }
    }

    /// Leaves nothing of it, as far as its store can be reached.
    pub async fn abort(self) {
        // What was only gathered has gone nowhere.
        if let Some(parts) = self.parts
            && let Err(error) = parts.abort().await
        {
            tracing::debug!(key = self.key, %error, "an object that was given up may have left parts");
        }
    }

    async fn complete(&mut self) -> Result<()> {
        if self.parts.is_none() {
            let whole = self.take_gathered();
            return self.store.put(&self.at(), whole).await.map(drop);
        }
        if !self.gathered.is_empty() {
            self.send().await?;
        }
        match &mut self.parts {
            Some(parts) => parts.complete().await,
            None => Ok(()),
        }
    }

    /// Sends what was gathered as the next part.
    async fn send(&mut self) -> Result<()> {
        let (at, part) = (self.at(), self.take_gathered());
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => self.parts.insert(Parts::begin(&*self.store, &at).await?),
        };
        parts.send(part).await
    }

    fn take_gathered(&mut self) -> PutPayload {
        std::mem::take(&mut self.gathered).freeze()
    }

    fn at(&self) -> Key {
        Key::from(self.key.as_str())
    }

    fn fault(&self, error: object_store::Error) -> ObjectsFault {
        ObjectsFault::of(&self.place, &self.key, error)
    }
}

/// What was gathered is nobody's business.
impl fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectWriter")
            .field("place", &self.place)
            .field("key", &self.key)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

/// The parts of an object. The library's own writer of parts tells what became of cleaning up rather than what went wrong,
/// and panics when it is to clean up twice.
struct Parts {
    upload: Box<dyn MultipartUpload>,
    under_way: JoinSet<Result<()>>,
}

impl Parts {
    async fn begin(store: &dyn ObjectStore, at: &Key) -> Result<Self> {
        Ok(Self { upload: store.put_multipart(at).await?, under_way: JoinSet::new() })
    }

    /// Sends another one, as soon as few enough are under way.
    async fn send(&mut self, part: PutPayload) -> Result<()> {
        self.wait_until(PARTS_AT_ONCE - 1).await?;
        self.under_way.spawn(self.upload.put_part(part));
        Ok(())
    }

    async fn complete(&mut self) -> Result<()> {
        self.wait_until(0).await?;
        self.upload.complete().await.map(drop)
    }

    async fn abort(mut self) -> Result<()> {
        self.under_way.shutdown().await;
        self.upload.abort().await
    }

    /// Waits until no more than so many are under way.
    async fn wait_until(&mut self, left: usize) -> Result<()> {
        while self.under_way.len() > left
            && let Some(sent) = self.under_way.join_next().await
        {
            sent??;
        }
        Ok(())
    }
}
