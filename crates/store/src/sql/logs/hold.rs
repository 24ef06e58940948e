//! One writer at a time for the log of each try.

use super::files::TryFiles;
use crate::error::StoreError;
use jobs::JobId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// Tries that are remembered at most while nobody writes to them. What is forgotten is read from the
/// directory again.
const MAX_IDLE: usize = 1_024;

type Shared = Arc<tokio::sync::Mutex<TryFiles>>;

/// The tries whose logs were written to lately.
#[derive(Default)]
pub(super) struct Tries(Mutex<HashMap<(JobId, u32), Shared>>);

/// The only writer to the log of one try, for now.
pub(in crate::sql) struct Held(OwnedMutexGuard<TryFiles>);

impl Tries {
    pub(super) async fn hold(&self, job: JobId, epoch: u32, new: impl FnOnce() -> TryFiles) -> Held {
        let files = {
            let mut tries = self.lock();
            if tries.len() >= MAX_IDLE {
                tries.retain(|_, files| !is_idle(files));
            }
            let files = tries.entry((job, epoch));
            Arc::clone(files.or_insert_with(|| Arc::new(tokio::sync::Mutex::new(new()))))
        };
        Held(files.lock_owned().await)
    }

    /// Like `hold` for a try that is remembered; `None` when nobody has written to it lately.
    pub(super) async fn hold_known(&self, job: JobId, epoch: u32) -> Option<Held> {
        let files = self.lock().get(&(job, epoch)).map(Arc::clone)?;
        Some(Held(files.lock_owned().await))
    }

    pub(super) fn forget(&self, job: JobId, epoch: u32) {
        let mut tries = self.lock();
        if tries.get(&(job, epoch)).is_some_and(is_idle) {
            tries.remove(&(job, epoch));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(JobId, u32), Shared>> {
        // No code that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody else has it, and nobody can get it while the map is locked: two writers never see two of
/// the same try.
fn is_idle(files: &Shared) -> bool {
    Arc::strong_count(files) == 1
}

impl Held {
    /// Does file work where it may block.
    ///
    /// The hold goes along, and comes back whatever became of the work: should the caller stop waiting, it ends with the work and
    /// not before.
    pub(super) async fn run<T, F>(self, work: F) -> Result<(Self, Result<T, StoreError>), StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut TryFiles) -> Result<T, StoreError> + Send + 'static,
    {
        let Self(mut files) = self;
        let blocking = tokio::task::spawn_blocking(move || {
            let done = work(&mut files);
            (Self(files), done)
        });
        blocking.await.map_err(|error| StoreError::Database(Box::new(error)))
    }
}
