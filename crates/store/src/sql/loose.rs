//! Objects that no row names: they are being made, or are to be removed.
//!
//! Who makes an object notes its key first ([`note`]), and takes the note away in the transaction that writes the row which
//! names it ([`claim`]). Who removes such a row notes the key again in the same transaction. [`sweep`] removes what was noted
//! for long enough, so neither a crash nor an object store that can't be reached leaves anything for ever.

use super::SqlStore;
use super::database::Durability;
use super::session::Session;
use super::statements::statements;
use super::values::micros;
use crate::error::StoreError;
use crate::objects::Objects;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How long an object may take to be made.
const MADE_WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// When to try again to remove one that could not be.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// Objects that one call removes.
const MAX_SWEPT_AT_ONCE: i64 = 100;
/// How long a call goes on removing: the store may be slow.
const MAX_TURN: Duration = Duration::from_secs(20);

statements! {
    NOTE = "INSERT INTO loose_objects (key, remove_at) VALUES ($1, $2) \
            ON CONFLICT (key) DO UPDATE SET remove_at = excluded.remove_at";
    CLAIM = "DELETE FROM loose_objects WHERE key = $1";
    DUE = "SELECT key FROM loose_objects WHERE remove_at <= $1 ORDER BY remove_at, key LIMIT $2";
    /// Not one that was claimed meanwhile: whoever claims it is waited for.
    MOVE = "UPDATE loose_objects SET remove_at = $2 WHERE key = $1";
}

/// Notes objects that are about to be made. Durable when this returns.
pub(super) async fn note_new(store: &SqlStore, keys: &[String]) -> Result<(), StoreError> {
    let remove_at = after(store.clock.now(), MADE_WITHIN);
    let mut write = store.database.write(Durability::PowerLoss).await?;
    for key in keys {
        note(&mut write, key, remove_at).await?;
    }
    store.commit(write).await
}

/// Notes that an object is of no use any more, from `at` on.
pub(super) async fn note(write: &mut Session, key: &str, at: Timestamp) -> Result<(), StoreError> {
    write.query(NOTE).bind(key).bind(micros(at)).execute().await.map(drop)
}

/// Notes that an object that was being made will not be. One that a row has taken stays: whoever gives it up may not have heard
/// that its commit was done.
pub(super) async fn give_up(store: &SqlStore, key: &str) -> Result<(), StoreError> {
    let now = micros(store.clock.now());
    let mut write = store.database.write(Durability::Crash).await?;
    write.query(MOVE).bind(key).bind(now).execute().await?;
    store.commit(write).await
}

/// Tries whether objects can be kept.
pub(super) async fn check(store: &SqlStore) -> Result<(), StoreError> {
    let key = Objects::new_key("check/try", "")?;
    note_new(store, std::slice::from_ref(&key)).await?;
    if let Err(fault) = store.objects.check(&key).await {
        give_up(store, &key).await?;
        return Err(fault.into());
    }
    let mut write = store.database.write(Durability::Crash).await?;
    claim(&mut write, &key).await?;
    store.commit(write).await
}

/// Takes an object out of those that are of no use; says whether it was still there.
pub(super) async fn claim(write: &mut Session, key: &str) -> Result<bool, StoreError> {
    Ok(write.query(CLAIM).bind(key).execute().await? > 0)
}

/// Removes what is of no use; says how many.
pub(super) async fn sweep(store: &SqlStore) -> Result<u64, StoreError> {
    let now = store.clock.now();
    let mut lookup = store.database.lookup().await?;
    let due: Vec<(String,)> = lookup.query(DUE).bind(micros(now)).bind(MAX_SWEPT_AT_ONCE).all().await?;
    drop(lookup);
    let begun = std::time::Instant::now();
    let (mut removed, mut left) = (Vec::new(), None);
    for (key,) in due {
        if begun.elapsed() > MAX_TURN {
            break;
        }
        match store.objects.remove(&key).await {
            Ok(()) => removed.push(key),
            // The others wait behind it no longer.
            Err(fault) => {
                left = Some((key, fault));
                break;
            }
        }
    }
    if removed.is_empty() && left.is_none() {
        return Ok(0);
    }
    let mut write = store.database.write(Durability::Crash).await?;
    for key in &removed {
        claim(&mut write, key).await?;
    }
    if let Some((key, _)) = &left {
        let again = micros(after(now, AGAIN_AFTER));
        write.query(MOVE).bind(key).bind(again).execute().await?;
    }
    store.commit(write).await?;
    match left {
        Some((_, fault)) if removed.is_empty() => Err(fault.into()),
        _ => Ok(removed.len() as u64),
    }
}

fn after(now: Timestamp, pause: SignedDuration) -> Timestamp {
    now.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Results;
    use async_trait::async_trait;
    use futures_util::StreamExt;
    use futures_util::stream::{self, BoxStream};
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{
        CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
        PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    };
    use std::fmt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A store in memory that can refuse some of what it is asked for.
    #[derive(Debug, Default)]
    struct Moody {
        inner: InMemory,
        reads_nothing: AtomicBool,
        removes_nothing: AtomicBool,
    }

    impl Moody {
        fn refused(flag: &AtomicBool) -> Option<Error> {
            flag.load(Ordering::Relaxed).then(|| Error::Generic { store: "moody", source: "refused".into() })
        }

        async fn objects(&self) -> usize {
            self.inner.list(None).count().await
        }
    }

    impl fmt::Display for Moody {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("moody")
        }
    }

    #[async_trait]
    impl ObjectStore for Moody {
        async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
            self.inner.put_opts(at, payload, options).await
        }

        async fn put_multipart_opts(
            &self,
            at: &Path,
            options: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.inner.put_multipart_opts(at, options).await
        }

        async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
            match Self::refused(&self.reads_nothing) {
                Some(refused) => Err(refused),
                None => self.inner.get_opts(at, options).await,
            }
        }

        fn delete_stream(&self, at: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            match Self::refused(&self.removes_nothing) {
                Some(refused) => stream::iter([Err(refused)]).boxed(),
                None => self.inner.delete_stream(at),
            }
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.inner.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.inner.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.inner.copy_opts(from, to, options).await
        }
    }

    #[tokio::test]
    async fn a_check_leaves_nothing_whatever_it_finds() {
        let (_dir, mut store, clock) = SqlStore::temporary().await;
        let objects = Arc::new(Moody::default());
        store.objects = Objects::of(Arc::clone(&objects) as _);
        store.check_objects().await.unwrap();
        clock.advance(MADE_WITHIN + SignedDuration::from_secs(1));
        assert_eq!((objects.objects().await, store.sweep_objects().await.unwrap()), (0, 0));

        objects.reads_nothing.store(true, Ordering::Relaxed);
        store.check_objects().await.unwrap_err();
        assert_eq!(objects.objects().await, 0, "it is removed though it can't be read");

        objects.removes_nothing.store(true, Ordering::Relaxed);
        store.check_objects().await.unwrap_err();
        assert_eq!(objects.objects().await, 1);
        store.sweep_objects().await.unwrap_err();
        objects.removes_nothing.store(false, Ordering::Relaxed);
        clock.advance(AGAIN_AFTER);
        store.sweep_objects().await.unwrap();
        assert_eq!(objects.objects().await, 0, "it is removed as soon as that can be done");
        clock.advance(MADE_WITHIN + SignedDuration::from_secs(1));
        assert_eq!(store.sweep_objects().await.unwrap(), 0, "and looked for no more");
    }
}
