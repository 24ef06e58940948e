//! How many bytes the rows of a table tell of together.
//!
//! The database adds them up now and then, by one call at a time; in between what this process adds is counted on. Of what
//! other servers add meanwhile a limit knows a few seconds later.

use crate::error::StoreError;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a sum is believed.
const BELIEVED: Duration = Duration::from_secs(5);

/// What is known of them.
#[derive(Default)]
pub(super) struct Sums {
    pub(super) artifacts: Sum,
    pub(super) uploads: Sum,
}

/// What is known of one.
#[derive(Default)]
pub(super) struct Sum {
    known: Mutex<Known>,
    /// Whoever has it adds up.
    adding_up: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    sum: Option<i64>,
    /// When it was added up, if that may be believed.
    at: Option<Instant>,
    /// What this process ever added, less what it took away.
    added: i64,
    /// How often this process removed rows, it does not know of how many bytes.
    removed: u64,
}

impl Sum {
    /// The sum; `add_up` has the database do so.
    pub(super) async fn bytes(
        &self,
        add_up: impl AsyncFnOnce() -> Result<i64, StoreError>,
    ) -> Result<u64, StoreError> {
        let _turn = match self.believed() {
            Ok(sum) => return Ok(sum),
            Err(Some(old)) => match self.adding_up.try_lock() {
                Ok(turn) => turn,
                // It will be known soon.
                Err(_) => return Ok(old),
            },
            Err(None) => self.adding_up.lock().await,
        };
        // Somebody else may have added it up meanwhile.
        if let Ok(sum) = self.believed() {
            return Ok(sum);
        }
        let (added, removed) = self.so_far();
        let sum = add_up().await?;
        Ok(self.known().learn(sum, added, removed))
    }

    /// Counts bytes of a row that was added, less those of the one that it took the place of.
    pub(super) fn add(&self, bytes: i64) {
        let mut known = self.known();
        known.added = known.added.wrapping_add(bytes);
        if let Some(sum) = &mut known.sum {
            *sum = sum.saturating_add(bytes);
        }
    }

    /// Believes the sum no longer: rows are gone.
    pub(super) fn removed(&self) {
        let mut known = self.known();
        known.removed += 1;
        known.at = None;
    }

    /// The sum, or else what it was when it was last known.
    fn believed(&self) -> Result<u64, Option<u64>> {
        let known = self.known();
        let fresh = known.at.is_some_and(|at| at.elapsed() < BELIEVED);
        match known.sum.map(bytes) {
            Some(sum) if fresh => Ok(sum),
            old => Err(old),
        }
    }

    fn so_far(&self) -> (i64, u64) {
        let known = self.known();
        (known.added, known.removed)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Takes over a sum that was begun when so much was added and removed; says what it is now.
    fn learn(&mut self, sum: i64, added: i64, removed: u64) -> u64 {
        // What was added meanwhile may be in it or not. It is counted on: a limit is rather kept than passed.
        let meanwhile = self.added.wrapping_sub(added).max(0);
        let sum = sum.saturating_add(meanwhile);
        self.sum = Some(sum);
        self.at = (self.removed == removed).then(Instant::now);
        bytes(sum)
    }
}

fn bytes(sum: i64) -> u64 {
    u64::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Results;
    use crate::model::{FILE_CHARGE, NewObject, NewUpload};
    use crate::sql::SqlStore;
    use crate::sql::database::Database;
    use futures_util::future::join_all;
    use jiff::SignedDuration;
    use jobs::{Clock, Namespace};
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    /// A table that takes its time.
    #[derive(Default)]
    struct World {
        sum: Sum,
        rows: AtomicI64,
        asked: AtomicU64,
    }

    impl Sum {
        /// As if no time passed, however slow this machine is.
        fn stay(&self) {
            self.known().at = Instant::now().checked_add(Duration::from_hours(1));
        }
    }

    impl World {
        async fn bytes(&self) -> u64 {
            let add_up = async || {
                self.asked.fetch_add(1, Ordering::Relaxed);
                let rows = self.rows.load(Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(rows)
            };
            self.sum.bytes(add_up).await.unwrap()
        }

        fn add(&self, bytes: i64) {
            self.rows.fetch_add(bytes, Ordering::Relaxed);
            self.sum.add(bytes);
        }

        /// As if so much time had passed.
        fn age(&self) {
            self.sum.known().at = Instant::now().checked_sub(BELIEVED);
        }

        fn asked(&self) -> u64 {
            self.asked.swap(0, Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn many_that_ask_have_it_added_up_once() {
        let world = World::default();
        world.rows.store(7, Ordering::Relaxed);
        assert_eq!(join_all((0..9).map(|_| world.bytes())).await, [7; 9]);
        world.sum.stay();
        for added in 1..100 {
            world.add(1);
            assert_eq!(world.bytes().await, 7 + added);
        }
        assert_eq!(world.asked(), 1);
        // What others did is seen later, by one that asks; the rest believe what was known.
        world.rows.store(1_000, Ordering::Relaxed);
        world.age();
        assert_eq!(join_all((0..3).map(|_| world.bytes())).await, [1_000, 106, 106]);
        assert_eq!((world.asked(), world.bytes().await), (1, 1_000));
    }

    #[tokio::test]
    async fn what_changes_while_it_is_added_up_is_not_lost() {
        let world = World::default();
        let add_while = async || {
            world.add(5);
            Ok(0)
        };
        assert_eq!(world.sum.bytes(add_while).await.unwrap(), 5);
        world.sum.removed();
        world.rows.store(3, Ordering::Relaxed);
        let remove_while = async || {
            world.sum.removed();
            Ok(9)
        };
        assert_eq!(world.sum.bytes(remove_while).await.unwrap(), 9);
        assert_eq!((world.bytes().await, world.asked()), (3, 1), "it is not believed");
    }

    fn upload() -> NewUpload {
        NewUpload {
            namespace: Namespace::Global,
            repository: "app".to_owned(),
            commit: "0".repeat(40),
            root: String::new(),
            indexer_name: "scip-go".to_owned(),
            indexer_version: String::new(),
            associated_index_id: None,
            by_job: None,
            content_type: String::new(),
            uncompressed_size: None,
            parts: 1,
        }
    }

    #[tokio::test]
    async fn a_store_does_not_read_all_rows_for_each_that_it_adds() {
        let (_dir, store, clock) = SqlStore::temporary().await;
        assert_eq!(store.uploads_size().await.unwrap(), 0);
        store.sums.uploads.stay();
        let Database::Sqlite(file) = &store.database else { unreachable!() };
        let unseen = "INSERT INTO uploads (namespace, repository, commit_id, root, indexer_name, indexer_version, \
                      content_type, parts, size, started_at) VALUES ('', '', '', '', '', '', '', 1, 1000, 0)";
        sqlx::query(unseen).execute(&mut *file.raw().await).await.unwrap();
        for sum in [FILE_CHARGE, 2 * FILE_CHARGE] {
            let key = store.new_object("uploads/index", ".gz").await.unwrap();
            let object = NewObject { key, size: 5, sha256: String::new() };
            store.add_upload(upload(), object).await.unwrap();
            assert_eq!(store.uploads_size().await.unwrap(), sum);
        }
        let hour_ago = clock.now() - SignedDuration::from_hours(1);
        assert_eq!(store.forget_uploads(hour_ago, hour_ago).await.unwrap(), 1);
        assert_eq!(store.uploads_size().await.unwrap(), 2 * FILE_CHARGE, "what is there now");
        assert_eq!(store.sums.uploads.known().sum, Some(2 * FILE_CHARGE.cast_signed()));
    }
}
