//! How many jobs a queue may still take.
//!
//! SQLite keeps a count in a trigger. In PostgreSQL every submission would wait for the row of such a count, so there jobs are
//! counted now and then, by one call at a time and in no transaction, and what this process added since is counted on. Of what
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
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// That it has none is believed for this part of how long a count is: whoever is refused waits for room, and is not to wait for
/// a count as well.
const FULL_PART: u32 = 5;
/// How long what was counted is remembered: nobody asks any more.
const KEPT: Duration = Duration::from_mins(10);

statements! {
    /// Up to a limit, which is the second argument.
    QUEUED in sqlite = "SELECT MIN(queued, $2) FROM queue_lengths WHERE queue = $1",
           in postgres = "SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE queue = $1 AND state = 'queued' LIMIT $2) \
                          AS counted";
}

/// What is known of how many jobs queues hold, or namespaces in queues.
#[derive(Default)]
pub(super) struct Room {
    counts: Mutex<HashMap<String, Count>>,
    /// Whoever has it counts.
    counting: tokio::sync::Mutex<()>,
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
enum Answer {
    Fits,
    Full,
    /// It is not to be relied on any more; what it says all the same.
    Old {
        fits: bool,
    },
    Unknown,
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
        let turn = match self.ask(queue, limit, more) {
            Answer::Fits => return Ok(()),
            Answer::Full => return Err(full()),
            Answer::Old { fits } => match self.counting.try_lock() {
                Ok(turn) => turn,
                // It will be known soon.
                Err(_) if !fits => return Err(full()),
                Err(_) => {
                    self.add(queue, more);
                    return Ok(());
                }
            },
            Answer::Unknown => self.counting.lock().await,
        };
        // Somebody else may have counted meanwhile.
        match self.ask(queue, limit, more) {
            Answer::Fits => return Ok(()),
            Answer::Full => return Err(full()),
            Answer::Old { .. } | Answer::Unknown => {}
        }
        let added = self.added(queue);
        let begun = Instant::now();
        let counted = count().await?;
        let believed = belief::of_count(begun.elapsed());
        // What was added meanwhile may be among them or not.
        let meanwhile = self.added(queue).saturating_sub(added);
        let new = Count { jobs: counted + meanwhile, added: meanwhile, at: Instant::now(), believed };
        {
            let mut counts = self.counts();
            counts.retain(|_, count| count.at.elapsed() < KEPT);
            counts.insert(queue.to_owned(), new);
        }
        drop(turn);
        match self.ask(queue, limit, more) {
            Answer::Fits => Ok(()),
            _ => Err(full()),
        }
    }

    /// Whether so many more could be too many, by what was counted last.
    pub(super) fn could_exceed(&self, queue: &str, limit: u64, more: u64) -> bool {
        self.counts().get(queue).is_none_or(|count| count.jobs + more > limit)
    }

    /// What is known; where they fit they are counted.
    fn ask(&self, queue: &str, limit: u64, more: u64) -> Answer {
        let mut counts = self.counts();
        let Some(count) = counts.get_mut(queue) else { return Answer::Unknown };
        let (fits, age) = (count.jobs + more <= limit, count.at.elapsed());
        if fits && age < count.believed {
            count.jobs += more;
            count.added += more;
            Answer::Fits
        } else if !fits && age < count.believed / FULL_PART {
            Answer::Full
        } else {
            Answer::Old { fits }
        }
    }

    /// Counts so many more where it is known how many there were.
    pub(super) fn add(&self, queue: &str, more: u64) {
        if let Some(count) = self.counts().get_mut(queue) {
            count.jobs += more;
            count.added += more;
        }
    }

    fn added(&self, queue: &str) -> u64 {
        self.counts().get(queue).map_or(0, |count| count.added)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
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
        let count = async || queued(&mut store.database.lookup().await?, queue, total).await;
        let full = || more.full(queue, total);
        store.room.take(queue, more.limit(total), more.jobs, count, full).await?;
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
        let (queue, limit) = (queue.to_owned(), self.limit(total));
        if limit < total {
            StoreError::QueueReserved { queue, limit, total }
        } else {
            StoreError::QueueFull { queue, limit }
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

/// How many jobs a queue has, up to `limit`.
pub(super) async fn queued(session: &mut Session, queue: &str, limit: u64) -> Result<u64, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let counted: Option<(i64,)> = session.query(QUEUED).bind(queue).bind(limit).optional().await?;
    Ok(counted.map_or(0, |(queued,)| queued.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Queues as a database has them, which counts slowly.
    #[derive(Default)]
    struct World {
        room: Room,
        jobs: AtomicU64,
        counted: AtomicU64,
    }

    fn full() -> StoreError {
        StoreError::QueueFull { queue: "batches".to_owned(), limit: 0 }
    }

    impl World {
        async fn submit(&self, limit: u64) -> bool {
            let count = async || {
                self.counted.fetch_add(1, Ordering::Relaxed);
                let jobs = self.jobs.load(Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(jobs)
            };
            let taken = self.room.take("batches", limit, 1, count, full).await.is_ok();
            self.jobs.fetch_add(u64::from(taken), Ordering::Relaxed);
            taken
        }

        async fn submit_many(&self, jobs: usize, limit: u64) -> usize {
            let taken = join_all((0..jobs).map(|_| self.submit(limit))).await;
            taken.into_iter().filter(|taken| *taken).count()
        }

        /// As if so much time had passed.
        fn age(&self, by: Duration) {
            let mut counts = self.room.counts();
            let count = counts.get_mut("batches").unwrap();
            count.at = count.at.checked_sub(by).unwrap();
        }

        /// As if what was counted were not believed any more.
        fn age_out(&self) {
            let believed = self.room.counts()["batches"].believed;
            self.age(believed);
        }

        fn counted(&self) -> u64 {
            self.counted.swap(0, Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn many_submissions_count_once_and_keep_the_limit() {
        let world = World::default();
        assert_eq!(world.submit_many(16, 40).await, 16);
        assert_eq!(world.counted(), 1);
        world.age_out();
        assert_eq!(world.submit_many(16, 40).await, 16, "others believe what was known");
        assert_eq!((world.counted(), world.jobs.load(Ordering::Relaxed)), (1, 32));
        world.age_out();
        assert_eq!(world.submit_many(16, 40).await, 8);
        assert_eq!(world.jobs.load(Ordering::Relaxed), 40);
    }

    #[tokio::test]
    async fn those_that_are_refused_do_not_count_each_time() {
        let world = World::default();
        assert_eq!(world.submit_many(12, 10).await, 10);
        assert_eq!(world.submit_many(50, 10).await, 0);
        assert_eq!(world.counted(), 1);
        world.jobs.store(9, Ordering::Relaxed);
        world.age(belief::SHORTEST / FULL_PART);
        assert_eq!(world.submit_many(50, 10).await, 1, "room is seen a second later");
        assert_eq!(world.counted(), 1);
    }

    #[tokio::test]
    async fn what_takes_long_to_count_is_believed_for_longer() {
        let room = Room::default();
        let slowly = async || {
            tokio::time::sleep(belief::SHORTEST / 50).await;
            Ok(0)
        };
        room.take("batches", 10, 1, slowly, full).await.unwrap();
        let believed = room.counts()["batches"].believed;
        assert!(believed >= belief::SHORTEST * 4 && believed <= belief::LONGEST, "{believed:?}");
        room.counts().get_mut("batches").unwrap().at -= belief::SHORTEST / FULL_PART;
        assert_eq!(room.ask("batches", 1, 1), Answer::Full, "that it is full as well");
    }
}
