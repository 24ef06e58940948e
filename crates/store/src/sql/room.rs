//! How many jobs a queue may still take.
//!
//! SQLite keeps a count in a trigger. In PostgreSQL every submission would wait for the row of such a count, so there jobs are
//! counted now and then, each queue by one call at a time and in no transaction, and what this process added since is counted on. Of what
//! other servers add meanwhile a queue may take more than its limit.
//!
//! No namespace but the global one fills a queue for all: see `queue_portions`, beside this.

use super::SqlStore;
use super::database::Write;
use super::session::Session;
use super::statements::statements;
use super::submissions::Known;
use super::{belief, queue_portions};
use crate::error::StoreError;
use crate::model::NewJob;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// That it has none is believed for this part of how long a count is: whoever is refused waits for room, and is not to wait for
/// a count as well.
const FULL_PART: u32 = 5;
/// Counts of queues that are made at one time, and as many of namespaces in them: most connections are for something else.
const AT_ONCE: usize = 2;
/// How long what was counted is remembered: nobody asks any more.
const KEPT: Duration = Duration::from_mins(10);

statements! {
    /// Up to a limit, which is the second argument.
    QUEUED in sqlite = "SELECT MIN(queued, $2) FROM queue_lengths WHERE queue = $1",
           in postgres = "SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE queue = $1 AND state = 'queued' LIMIT $2) \
                          AS counted";
}

/// What is known of how many jobs queues hold, or namespaces in queues, each by a name.
pub(super) struct Room {
    counts: Mutex<HashMap<String, Count>>,
    /// Whoever has a name's turn counts; there are those that somebody has, or waits for.
    turns: Mutex<HashMap<String, Arc<Turn>>>,
    /// However many names there are.
    at_once: Semaphore,
}

type Turn = tokio::sync::Mutex<()>;

impl Default for Room {
    fn default() -> Self {
        let (counts, turns) = (Mutex::default(), Mutex::default());
        Self { counts, turns, at_once: Semaphore::new(AT_ONCE) }
    }
}

struct Count {
    jobs: u64,
    /// Of them those that were added by this process since they were counted.
    added: u64,
    at: Instant,
    /// How long it is believed.
    believed: Duration,
}

/// What a count says of more jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    /// How many there are without them.
    jobs: u64,
    fits: bool,
    /// Whether that is not to be relied on any more.
    is_old: bool,
}

/// More jobs where there may be so many.
#[derive(Clone, Copy)]
struct Asked {
    limit: u64,
    more: u64,
    /// Whether they are added where they fit.
    are_added: bool,
}

impl Room {
    /// Takes room for so many `more` jobs, or refuses them with `full`. `count` says how many there are, counted up to `limit`
    /// at least.
    pub(super) async fn take(
        &self,
        queue: &str,
        limit: u64,
        more: u64,
        count: impl AsyncFnOnce() -> Result<u64, StoreError>,
        full: impl Fn() -> StoreError,
    ) -> Result<(), StoreError> {
        let answer = self.answer(queue, Asked { limit, more, are_added: true }, count).await?;
        if answer.fits { Ok(()) } else { Err(full()) }
    }

    /// How many there are, as exactly as [`Self::take`] has to know it; nothing is taken.
    pub(super) async fn jobs(
        &self,
        queue: &str,
        limit: u64,
        more: u64,
        count: impl AsyncFnOnce() -> Result<u64, StoreError>,
    ) -> Result<u64, StoreError> {
        Ok(self.answer(queue, Asked { limit, more, are_added: false }, count).await?.jobs)
    }

    async fn answer(
        &self,
        queue: &str,
        asked: Asked,
        count: impl AsyncFnOnce() -> Result<u64, StoreError>,
    ) -> Result<Answer, StoreError> {
        let known = self.ask(queue, asked);
        if let Some(answer) = known.filter(|answer| !answer.is_old) {
            return Ok(answer);
        }
        let turn = self.turn(queue);
        let _turn = match known {
            Some(answer) => {
                let Ok(turn) = turn.try_lock() else {
                    // Somebody counts these: it will be known soon.
                    if asked.are_added && answer.fits {
                        self.add(queue, asked.more);
                    }
                    return Ok(answer);
                };
                turn
            }
            None => turn.lock().await,
        };
        // Somebody else may have counted meanwhile.
        if let Some(answer) = self.ask(queue, asked).filter(|answer| !answer.is_old) {
            return Ok(answer);
        }
        // It is never closed.
        let _one_of_few = self.at_once.acquire().await;
        let added = added_to(&self.counts(), queue);
        let begun = Instant::now();
        let counted = count().await?;
        let believed = belief::of_count(begun.elapsed());
        let mut counts = self.counts();
        // What was added meanwhile may be among them or not.
        let meanwhile = added_to(&counts, queue).saturating_sub(added);
        let jobs = counted + meanwhile;
        counts.retain(|_, count| count.at.elapsed() < KEPT);
        let mut new = Count { jobs, added: meanwhile, at: Instant::now(), believed };
        let answer = new.answer(asked);
        counts.insert(queue.to_owned(), new);
        Ok(answer)
    }

    /// The turn to count what has this name.
    fn turn(&self, queue: &str) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(queue.to_owned()).or_default())
    }

    /// What is known; where they fit they are counted, if they are to be.
    fn ask(&self, queue: &str, asked: Asked) -> Option<Answer> {
        self.counts().get_mut(queue).map(|count| count.answer(asked))
    }

    /// Counts so many more where it is known how many there were.
    pub(super) fn add(&self, queue: &str, more: u64) {
        if let Some(count) = self.counts().get_mut(queue) {
            count.jobs += more;
            count.added += more;
        }
    }

    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<String> {
        self.counts().keys().cloned().collect()
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn added_to(counts: &HashMap<String, Count>, queue: &str) -> u64 {
    counts.get(queue).map_or(0, |count| count.added)
}

impl Count {
    fn answer(&mut self, Asked { limit, more, are_added }: Asked) -> Answer {
        let (jobs, fits) = (self.jobs, self.jobs + more <= limit);
        let believed = if fits { self.believed } else { self.believed / FULL_PART };
        let is_old = self.at.elapsed() >= believed;
        if fits && are_added && !is_old {
            self.jobs += more;
            self.added += more;
        }
        Answer { jobs, fits, is_old }
    }
}

/// Refuses more new jobs than the queues may hold, where the database knows how much that is.
pub(super) async fn check(
    store: &SqlStore,
    write: &mut Write<'_>,
    new: &[&NewJob],
) -> Result<(), StoreError> {
    for (queue, more) in by_queue(new.iter().copied()) {
        let limit = more.limit(store.max_queued);
        if queued(write, queue, limit).await? + more.jobs > limit {
            return Err(more.full(queue, store.max_queued));
        }
    }
    Ok(())
}

/// The same where jobs have to be counted, before there is a transaction. Room that is not used in the end is seen when they
/// are counted again.
pub(super) async fn take(store: &SqlStore, jobs: &[NewJob]) -> Result<(), StoreError> {
    let total = store.max_queued;
    let more = if jobs.iter().all(|job| job.idempotency_key.is_none()) {
        by_queue(jobs.iter())
    } else {
        let known = Known::of(&mut store.database.lookup().await?, jobs).await?;
        by_queue(known.new_ones(jobs)?.into_iter())
    };
    for (queue, more) in more {
        let full = || more.full(queue, total);
        store
            .room
            .take(queue, more.limit(total), more.jobs, async || count(store, queue).await, full)
            .await?;
    }
    Ok(())
}

/// New jobs of one queue.
#[derive(Default)]
struct More {
    jobs: u64,
    /// Whether one of them is another namespace's than the global one.
    namespaced: bool,
}

impl More {
    /// How many jobs there may be with them, of so many in all.
    const fn limit(&self, total: u64) -> u64 {
        if self.namespaced { queue_portions::shared(total) } else { total }
    }

    fn full(&self, queue: &str, total: u64) -> StoreError {
        match self.limit(total) {
            limit if limit < total => queue_portions::reserved(queue, total),
            limit => StoreError::QueueFull { queue: queue.to_owned(), limit },
        }
    }
}

/// How many of these jobs each queue is to take: only new ones take room.
fn by_queue<'j>(jobs: impl Iterator<Item = &'j NewJob>) -> BTreeMap<&'j str, More> {
    let mut queues: BTreeMap<&str, More> = BTreeMap::new();
    for job in jobs {
        let more = queues.entry(&job.spec.queue).or_default();
        more.jobs += 1;
        more.namespaced |= !job.owner.is_empty();
    }
    queues
}

/// How many jobs a queue has, up to `limit` at least, as exactly as has to be known where there may be so many and `more` come.
pub(super) async fn length(store: &SqlStore, queue: &str, limit: u64, more: u64) -> Result<u64, StoreError> {
    if store.database.knows_queue_lengths() {
        queued(&mut store.database.lookup().await?, queue, limit).await
    } else {
        store.room.jobs(queue, limit, more, async || count(store, queue).await).await
    }
}

async fn count(store: &SqlStore, queue: &str) -> Result<u64, StoreError> {
    queued(&mut store.database.lookup().await?, queue, store.max_queued).await
}

/// How many jobs a queue has, up to `limit`.
async fn queued(session: &mut Session, queue: &str, limit: u64) -> Result<u64, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let counted: Option<(i64,)> = session.query(QUEUED).bind(queue).bind(limit).optional().await?;
    Ok(counted.map_or(0, |(queued,)| queued.unsigned_abs()))
}

#[cfg(test)]
mod tests;
