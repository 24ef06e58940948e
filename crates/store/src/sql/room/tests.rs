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
    let answer = room.ask("batches", Asked { limit: 1, more: 1, are_added: true });
    assert_eq!(answer, Some(Answer { jobs: 1, fits: false, is_old: false }), "that it is full as well");
}

#[tokio::test]
async fn who_asks_how_many_there_are_takes_no_room() {
    let world = World::default();
    let jobs = async || world.room.jobs("batches", 2, 1, async || Ok(1)).await.unwrap();
    assert_eq!((jobs().await, jobs().await), (1, 1));
    assert_eq!(world.submit_many(3, 2).await, 1);
    assert_eq!((jobs().await, world.counted()), (2, 0));
}

/// That a queue is full is believed a little longer while it is counted, and not while another one is.
#[tokio::test]
async fn nobody_is_refused_since_another_queue_is_counted() {
    let world = World::default();
    assert_eq!(world.submit_many(10, 10).await, 10);
    world.age(belief::SHORTEST / FULL_PART);
    let (counting, counts) = tokio::sync::oneshot::channel();
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let slowly = async || {
        counting.send(()).unwrap();
        finished.await.unwrap();
        Ok(0)
    };
    world.jobs.store(9, Ordering::Relaxed);
    let other = world.room.take("codeintel", 10, 1, slowly, full);
    let meanwhile = async {
        counts.await.unwrap();
        assert!(world.submit(10).await, "there is room");
        finish.send(()).unwrap();
    };
    let (other, ()) = tokio::join!(other, meanwhile);
    other.unwrap();
    drop(world.room.turn("batches"));
    assert_eq!(world.room.turns.lock().unwrap().len(), 1, "turns that nobody has are forgotten");
}
