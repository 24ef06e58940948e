//! How fast it is: `cargo nextest run -p store --run-ignored only -E 'test(speed)' --no-capture`.

use super::open;
use crate::contract::world::{ALL_QUEUES, Setup, new_job};
use jobs::JobId;
use std::sync::Arc;
use std::time::{Duration, Instant};

const JOBS: u32 = 2_000;
const APPENDS: u64 = 512;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, proves nothing"]
async fn speed() {
    let world = Arc::new(open(Setup { max_log_bytes: u64::MAX, ..Setup::default() }).await);

    let mut submits = Vec::new();
    for _ in 0..JOBS {
        let begun = Instant::now();
        world.store.submit(new_job("batches")).await.unwrap();
        submits.push(begun.elapsed());
    }
    println!("submit, one after the other: {}", spread(&mut submits));

    let mut claims = Vec::new();
    let begun = Instant::now();
    let mut last = None;
    for _ in 0..JOBS {
        let begun = Instant::now();
        last = world.claim_of(&ALL_QUEUES, "exec-1").await;
        claims.push(begun.elapsed());
    }
    println!("claims per second: {:.0}", f64::from(JOBS) / begun.elapsed().as_secs_f64());
    println!("claim: {}", spread(&mut claims));

    let mut idle = Vec::new();
    let mut beats = Vec::new();
    let ids: Vec<JobId> = (1..=20).map(JobId).collect();
    for _ in 0..JOBS {
        let begun = Instant::now();
        assert!(world.claim("exec-1").await.is_none());
        idle.push(begun.elapsed());
        let begun = Instant::now();
        world.store.heartbeat("exec-1", &ids, crate::contract::world::LEASE).await.unwrap();
        beats.push(begun.elapsed());
    }
    println!("claim that finds nothing: {}", spread(&mut idle));
    println!("heartbeat for 20 jobs: {}", spread(&mut beats));

    let claimed = last.unwrap();
    let (id, lease) = (claimed.job.id, crate::contract::world::lease(&claimed));
    let entry = world.open_entry(id, &lease, "").await;
    let text = "x".repeat(1 << 20);
    let begun = Instant::now();
    for n in 0..APPENDS {
        world.append(id, &lease, entry, n << 20, &text).await.unwrap();
    }
    println!("appends of 1 MiB: {:.0} MiB/s", APPENDS as f64 / begun.elapsed().as_secs_f64());
    let mut small = Vec::new();
    for n in 0..u64::from(JOBS) {
        let begun = Instant::now();
        world.append(id, &lease, entry, (APPENDS << 20) + n * 4, "line").await.unwrap();
        small.push(begun.elapsed());
    }
    println!("append of one line: {}", spread(&mut small));
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100];
    format!("median {:?}, 99 % within {:?}", at(50), at(99))
}
