//! Submitting, claiming and ending jobs as fast as they go.

use futures_util::future::join_all;
use jobs::{Capacity, JobSpec, Lease, StepSpec};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::{Asking, Claimed, Finish, NewJob, SqlStore, Store};

const QUEUE: &str = "batches";

fn job() -> NewJob {
    let step = StepSpec { image: "debian:12".to_owned(), run: "make test".to_owned(), ..StepSpec::default() };
    let spec = JobSpec { queue: QUEUE.to_owned(), steps: vec![step], ..JobSpec::default() };
    NewJob { spec, commit: String::new(), owner: String::new(), idempotency_key: None }
}

fn asking(worker: u32, most: u32) -> Asking {
    Asking {
        queues: vec![QUEUE.to_owned()],
        executor: format!("exec-{worker}"),
        capacity: Capacity::default(),
        lease: Duration::from_secs(90),
        most,
    }
}

/// How many cycles a second so many workers do with so many jobs a call.
pub(crate) async fn cycles(store: &Arc<SqlStore>, workers: u32, batch: u32, time: Duration) -> f64 {
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for worker in 0..workers {
        let (store, done) = (Arc::clone(store), Arc::clone(&done));
        all.spawn(async move {
            let asking = asking(worker, batch);
            while begun.elapsed() < time {
                store.submit_all((0..batch).map(|_| job()).collect()).await.unwrap();
                let claimed = store.claim(&asking).await.unwrap();
                done.fetch_add(claimed.len() as u64, Ordering::Relaxed);
                end(&store, claimed).await;
            }
        });
    }
    all.join_all().await;
    done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// The same as a server does it for so many clients: jobs are submitted with one call, given out sixteen with a call, and each is
/// ended by its own, at the same time as the others that were given out with it.
pub(crate) async fn served(store: &Arc<SqlStore>, clients: u32, time: Duration) -> f64 {
    const SUBMITTED: usize = 96;
    const GIVEN: u32 = 16;
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for client in 0..clients {
        let (store, done) = (Arc::clone(store), Arc::clone(&done));
        all.spawn(async move {
            let asking = asking(client, GIVEN);
            while begun.elapsed() < time {
                store.submit_all((0..SUBMITTED).map(|_| job()).collect()).await.unwrap();
                let mut ended = 0;
                while ended < SUBMITTED && begun.elapsed() < time {
                    let claimed = store.claim(&asking).await.unwrap();
                    if claimed.is_empty() {
                        // Others have them just now. That there is nothing is known without asking the database.
                        tokio::task::yield_now().await;
                    }
                    let ends = claimed.iter().map(async |claimed| {
                        store.finish(claimed.job.id, &lease(claimed), Finish::Complete).await
                    });
                    for end in join_all(ends).await {
                        end.unwrap();
                        ended += 1;
                    }
                }
                done.fetch_add(ended as u64, Ordering::Relaxed);
            }
        });
    }
    all.join_all().await;
    done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// Submits so many jobs and takes them.
pub(crate) async fn claim(store: &SqlStore, jobs: u32) -> Vec<Claimed> {
    store.submit_all((0..jobs).map(|_| job()).collect()).await.unwrap();
    store.claim(&asking(0, jobs)).await.unwrap()
}

pub(crate) fn lease(claimed: &Claimed) -> Lease {
    let record = &claimed.job.record;
    Lease { epoch: record.epoch, executor: record.executor.clone().unwrap() }
}

pub(crate) async fn end(store: &SqlStore, claimed: Vec<Claimed>) {
    let ends = claimed.iter().map(|claimed| (claimed.job.id, lease(claimed), Finish::Complete));
    for ended in store.finish_all(ends.collect()).await.unwrap() {
        ended.unwrap();
    }
}
