//! What the queue bears over HTTP, and how soon an executor has a job: `cargo bench -p server --bench dequeue`, with both
//! databases waiting for the disk, and server and clients in one process. `-- cycles` and `-- waits` measure one of the two.
//!
//! How soon: first where nothing waits and the dequeue is held: from the submission until the job is there. Then where many wait: how
//! long a dequeue takes, and beside it the store's claim alone, so that it can be told whose time that is.

#![expect(clippy::print_stdout, reason = "the figures are what this is for")]
#![expect(clippy::unwrap_used, reason = "a measurement that fails is none")]

mod cycles;
mod serving;

use jobs::{Capacity, JobSpec, Lease, StepSpec};
use server::SECRET_KEYS_FILE;
use serving::Serving;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{
    Asking, DatabaseChoice, Finish, Keyring, NewJob, ObjectsChoice, SqlStore, Store, StoreOptions,
    SystemClock,
};
use testkit::{Postgres, Synced};

const QUEUE: &str = "batches";
/// How many wait while it is measured how long a dequeue takes.
const DEPTHS: [u32; 3] = [1_000, 100_000, 1_000_000];
/// How often each is measured: in rounds, each of which begins with as many that wait.
const TIMES: usize = ROUNDS * ROUND;
const ROUNDS: usize = 4;
const ROUND: usize = 500;
/// Jobs that are submitted with one call.
const BATCH: u32 = 1_000;

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    if is_wanted("cycles") {
        println!("cycles a second, server and clients in one process");
        on_both(cycles::measure).await;
    }
    if is_wanted("waits") {
        println!("milliseconds, p50 and p99 of {TIMES}");
        on_both(measure_waits).await;
    }
}

/// Whether a part is to be measured: all are unless some are named.
fn is_wanted(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|name| name == part)
}

/// Each time on databases that nothing was in before.
async fn on_both(measure: impl AsyncFn(&Path, Option<String>)) {
    let dir = tempfile::tempdir().unwrap();
    println!("\nSQLite, synchronous=FULL");
    measure(&dir.path().join("data"), None).await;
    let Some(postgres) = Postgres::start_as("the queue's figures", Synced::Yes) else { return };
    let dir = tempfile::tempdir().unwrap();
    println!("\nPostgreSQL, fsync=on");
    measure(&dir.path().join("data"), Some(postgres.url())).await;
}

async fn measure_waits(data: &Path, database: Option<String>) {
    let serving = Serving::start(data, database.clone()).await;
    let mut times = Vec::new();
    for _ in 0..TIMES {
        times.push(serving.wake_up().await);
    }
    serving.stop().await;
    told("a job comes while a dequeue is held", times);
    let mut waiting = 0;
    for depth in DEPTHS {
        let (mut claims, mut dequeues) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let store = open(data, database.clone()).await;
            fill(&store, depth - waiting).await;
            for _ in 0..ROUND {
                claims.push(claim(&store).await);
            }
            store.close().await.unwrap();
            drop(store);
            let serving = Serving::start(data, database.clone()).await;
            for _ in 0..ROUND {
                dequeues.push(serving.dequeue_one().await);
            }
            serving.stop().await;
            waiting = depth - 2 * ROUND as u32;
        }
        told(&format!("a dequeue where {depth:>9} wait"), dequeues);
        told("      the store's claim alone", claims);
    }
}

fn told(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| times[(times.len() as f64 * part) as usize].as_secs_f64() * 1e3;
    println!("  {what:<36}: {:>6.2}, {:>6.2}", at(0.5), at(0.99));
}

async fn open(dir: &Path, url: Option<String>) -> Arc<SqlStore> {
    let options = StoreOptions {
        dir: dir.to_owned(),
        database: url.map_or(DatabaseChoice::Embedded, |url| DatabaseChoice::Postgres { url }),
        objects: ObjectsChoice::Directory,
        clock: Arc::new(SystemClock),
        retry: jobs::RetryPolicy::default(),
        // The server has made them.
        keys: Arc::new(
            Keyring::parse(&std::fs::read_to_string(dir.join(SECRET_KEYS_FILE)).unwrap()).unwrap(),
        ),
        max_log_bytes: 1 << 20,
        max_queued: 10_000_000,
    };
    Arc::new(SqlStore::open(options).await.unwrap())
}

fn job() -> NewJob {
    let step = StepSpec { image: "debian:12".to_owned(), run: "make test".to_owned(), ..StepSpec::default() };
    let spec = JobSpec { queue: QUEUE.to_owned(), steps: vec![step], ..JobSpec::default() };
    NewJob { spec, commit: String::new(), owner: String::new(), idempotency_key: None }
}

async fn fill(store: &SqlStore, jobs: u32) {
    for begin in (0..jobs).step_by(BATCH as usize) {
        store.submit_all((begin..jobs.min(begin + BATCH)).map(|_| job()).collect()).await.unwrap();
    }
}

async fn claim(store: &SqlStore) -> Duration {
    let asking = Asking {
        queues: vec![QUEUE.to_owned()],
        executor: "exec-0".to_owned(),
        capacity: Capacity::default(),
        lease: Duration::from_secs(90),
        most: 1,
    };
    let begun = Instant::now();
    let claimed = store.claim(&asking).await.unwrap().pop().unwrap();
    let took = begun.elapsed();
    let record = claimed.job.record;
    let lease = Lease { epoch: record.epoch, executor: record.executor.unwrap() };
    store.finish(claimed.job.id, &lease, Finish::Complete).await.unwrap();
    took
}
