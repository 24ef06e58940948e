//! Whole cycles over HTTP: jobs that are submitted, given out and completed, as clients and executors of ours call.
//!
//! Many are submitted with one call, and given out as many at a time as an executor may have. The wire has one call for each
//! end, so the ends of what came with one dequeue are told all at the same time, each for itself.

use crate::serving::Serving;
use futures_util::future::join_all;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wire::additions::MOST_AT_ONCE;

/// How long each figure is measured.
const TIME: Duration = Duration::from_secs(10);
/// Clients at a time, and the jobs that each submits with one call.
const RUNS: [(u32, u32); 5] = [(1, 1), (16, 1), (1, 100), (4, 100), (16, 100)];

pub(crate) async fn measure(data: &Path, database: Option<String>) {
    let serving = Arc::new(Serving::start(data, database).await);
    for (clients, batch) in RUNS {
        let rate = cycles(&serving, clients, batch).await;
        println!(
            "  {clients:>2} at a time, {batch:>3} jobs submitted with a call: {rate:>8.0} cycles/s over HTTP"
        );
    }
    Arc::into_inner(serving).unwrap().stop().await;
}

async fn cycles(serving: &Arc<Serving>, clients: u32, batch: u32) -> f64 {
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for client in 0..clients {
        let (serving, done) = (Arc::clone(serving), Arc::clone(&done));
        all.spawn(async move {
            let name = format!("exec-{client}");
            while begun.elapsed() < TIME {
                serving.submit(batch).await;
                give_and_complete(&serving, &name, batch).await;
                done.fetch_add(u64::from(batch), Ordering::Relaxed);
            }
        });
    }
    all.join_all().await;
    done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// So many jobs, whoever submitted them: there are never fewer.
async fn give_and_complete(serving: &Serving, name: &str, mut jobs: u32) {
    while jobs > 0 {
        let given = serving.take(name, jobs.min(MOST_AT_ONCE)).await;
        join_all(given.iter().map(|job| serving.complete(name, job))).await;
        jobs -= given.len() as u32;
    }
}
