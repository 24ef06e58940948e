//! What the queue bears: `cargo bench -p store --bench queue`, with both databases waiting for the disk.
//!
//! A *cycle* is a job that is submitted, claimed and ended. Beside it, in the same PostgreSQL and the same run: a plain
//! loop over a table with `FOR UPDATE SKIP LOCKED`, as one would write it, and graphile-worker.

#![expect(clippy::print_stdout, reason = "the figures are what this is for")]
#![expect(clippy::unwrap_used, reason = "a measurement that fails is none")]

mod held;
mod peer;
mod plain;
mod spread;
mod texts;
mod work;

use std::sync::Arc;
use std::time::Duration;
use store::{DatabaseChoice, Keyring, ObjectsChoice, SqlStore, StoreOptions, SystemClock, new_key_line};
use tempfile::TempDir;
use testkit::{Postgres, Synced};
use work::{cycles, served};

/// Jobs in one call where they are many.
const BATCH: u32 = 100;
/// How long each figure is measured.
const TIME: Duration = Duration::from_secs(10);

/// With `held`, what a transaction that is held open costs, alone.
#[tokio::main]
async fn main() {
    println!("cycles a second");
    if std::env::args().any(|arg| arg == "held") {
        if let Some(postgres) = Postgres::start_as("the queue's figures", Synced::Yes) {
            held::measure(&postgres).await;
        }
        return;
    }
    println!("\nSQLite, synchronous=FULL");
    let dir = tempfile::tempdir().unwrap();
    measure(&open(&dir, DatabaseChoice::Embedded).await).await;
    let Some(postgres) = Postgres::start_as("the queue's figures", Synced::Yes) else { return };
    println!("\nPostgreSQL, fsync=on");
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, DatabaseChoice::Postgres { url: postgres.url() }).await;
    measure(&store).await;
    println!("\na plain SKIP LOCKED loop in the same PostgreSQL");
    plain::measure(&postgres.url()).await;
    println!("\ngraphile-worker in the same PostgreSQL");
    peer::measure(&postgres.url());
    println!("\nPostgreSQL, while somebody holds a transaction open that can see all rows");
    held::measure(&postgres).await;
}

async fn open(dir: &TempDir, database: DatabaseChoice) -> Arc<SqlStore> {
    let options = StoreOptions {
        dir: dir.path().join("store"),
        database,
        objects: ObjectsChoice::Directory,
        clock: Arc::new(SystemClock),
        retry: jobs::RetryPolicy::default(),
        keys: Arc::new(Keyring::parse(&new_key_line().unwrap().1).unwrap()),
        max_log_bytes: 1 << 40,
        max_queued: 10_000_000,
    };
    Arc::new(SqlStore::open(options).await.unwrap())
}

async fn measure(store: &Arc<SqlStore>) {
    for (workers, batch) in [(1, 1), (16, 1), (1, BATCH), (4, BATCH)] {
        let rate = cycles(store, workers, batch, TIME).await;
        println!("  {workers:>2} at a time, {batch:>3} jobs a call: {rate:>8.0} cycles/s");
    }
    for clients in [4, 16, 64] {
        let rate = served(store, clients, TIME).await;
        println!("  {clients:>2} clients, as a server does it: {rate:>8.0} cycles/s");
    }
    texts::measure(store).await;
}
