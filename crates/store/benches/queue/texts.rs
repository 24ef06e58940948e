//! Adding text to the logs of jobs that run. What was answered is on the disk.

use crate::TIME;
use crate::work::{self, claim};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use store::{Claimed, NewLogEntry, SqlStore, Store};

/// What one call adds, in bytes.
const PIECE: usize = 4 << 10;

pub(crate) async fn measure(store: &Arc<SqlStore>) {
    for jobs in [1, 16, 64] {
        let rate = appends(store, jobs).await;
        println!("  {jobs:>2} logs at a time, 4 KiB a call: {rate:>8.0} calls/s");
    }
}

async fn appends(store: &Arc<SqlStore>, jobs: u32) -> f64 {
    let (claimed, done) = (claim(store, jobs).await, Arc::new(AtomicU64::new(0)));
    assert_eq!(claimed.len(), jobs as usize);
    let begun = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for claimed in &claimed {
        let (store, done, claimed) = (Arc::clone(store), Arc::clone(&done), claimed.clone());
        all.spawn(async move { add(&store, &claimed, begun, &done).await });
    }
    all.join_all().await;
    let rate = done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    work::end(store, claimed).await;
    rate
}

async fn add(store: &SqlStore, claimed: &Claimed, begun: Instant, done: &AtomicU64) {
    let (id, lease) = (claimed.job.id, work::lease(claimed));
    let entry = NewLogEntry {
        key: "step.docker.0".to_owned(),
        command: None,
        start_time: jiff::Timestamp::now(),
        exit_code: None,
        duration_ms: None,
        out: String::new(),
    };
    let number = store.add_log_entry(id, &lease, entry).await.unwrap();
    let text = "0123456789abcde\n".repeat(PIECE / 16);
    let mut length = 0;
    while begun.elapsed() < TIME {
        length = store.append_log(id, &lease, number, length, &text, None, None).await.unwrap();
        done.fetch_add(1, Ordering::Relaxed);
    }
}
