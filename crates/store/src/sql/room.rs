//! How many jobs a queue may still take.
//!
//! SQLite keeps a count in a trigger. In PostgreSQL every submission would wait for the row of such a count, so there jobs are
//! counted now and then, and what this process added since is counted on. Of what other servers add meanwhile a queue may
//! take more than its limit.

use super::SqlStore;
use super::database::Database;
use super::session::Session;
use super::submit;
use crate::error::StoreError;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a count is believed.
const BELIEVED: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Room(Mutex<HashMap<String, Count>>);

struct Count {
    jobs: u64,
    at: Instant,
}

impl Room {
    /// Refuses so many `more` jobs for a queue that has no room for them.
    pub(super) async fn check(
        &self,
        store: &SqlStore,
        session: &mut Session,
        queue: &str,
        more: u64,
    ) -> Result<(), StoreError> {
        let limit = store.max_queued;
        let counts_itself = matches!(store.database, Database::Sqlite(_));
        if !counts_itself && self.has_for_certain(queue, limit, more) {
            return Ok(());
        }
        let jobs = submit::queued(session, queue, limit).await?;
        if jobs + more > limit {
            return Err(StoreError::QueueFull { queue: queue.to_owned(), limit });
        }
        if !counts_itself {
            self.counts().insert(queue.to_owned(), Count { jobs: jobs + more, at: Instant::now() });
        }
        Ok(())
    }

    /// Whether there is room, as far as this process knows; then they are counted.
    fn has_for_certain(&self, queue: &str, limit: u64, more: u64) -> bool {
        let mut counts = self.counts();
        let Some(count) = counts.get_mut(queue) else { return false };
        let fits = count.jobs + more <= limit && count.at.elapsed() < BELIEVED;
        count.jobs += if fits { more } else { 0 };
        fits
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
