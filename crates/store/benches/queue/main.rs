//! What the queue bears: `cargo bench -p store --bench queue`, with both databases waiting for the disk.
//!
//! A *cycle* is a job that is submitted, claimed and ended. Beside it, in the same PostgreSQL and the same run: a plain
//! loop over a table with `FOR UPDATE SKIP LOCKED`, as one would write it.

#![expect(clippy::print_stdout, reason = "the figures are what this is for")]
#![expect(clippy::unwrap_used, reason = "a measurement that fails is none")]

mod peer;
mod plain;
mod work;

use sqlx::{Connection, Executor, PgConnection};
use std::sync::Arc;
use std::time::Duration;
use store::{DatabaseChoice, Keyring, ObjectsChoice, SqlStore, StoreOptions, SystemClock, new_key_line};
use tempfile::TempDir;
use testkit::{Postgres, Synced};
use work::cycles;

/// Jobs in one call where they are many.
const BATCH: u32 = 100;
/// How long each figure is measured.
const TIME: Duration = Duration::from_secs(10);
/// So many times, by turns, where a transaction is held and where none is.
const HELD_PARTS: u64 = 6;

#[tokio::main]
async fn main() {
    println!("cycles a second");
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
    held(&postgres).await;
}

async fn open(dir: &TempDir, database: DatabaseChoice) -> Arc<SqlStore> {
    let options = StoreOptions {
        dir: dir.path().join("store"),
        database,
        objects: ObjectsChoice::Directory,
        clock: Arc::new(SystemClock),
        retry: jobs::RetryPolicy::default(),
        keys: Arc::new(Keyring::parse(&new_key_line().unwrap().1).unwrap()),
        max_log_bytes: 1 << 20,
        max_queued: 10_000_000,
    };
    Arc::new(SqlStore::open(options).await.unwrap())
}

async fn measure(store: &Arc<SqlStore>) {
    for (workers, batch) in [(1, 1), (16, 1), (1, BATCH), (4, BATCH)] {
        let rate = cycles(store, workers, batch, TIME).await;
        println!("  {workers:>2} at a time, {batch:>3} jobs a call: {rate:>8.0} cycles/s");
    }
}

/// Rows that are dead can't be cleared away while a transaction is open that might see them. Beside it by turns, in a database of
/// its own and with as many jobs, nobody holds any.
async fn held(server: &Postgres) {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (url, other_url) = (new_database(server, "held").await, new_database(server, "free").await);
    let store = open(&dir, DatabaseChoice::Postgres { url: url.clone() }).await;
    let free = open(&other_dir, DatabaseChoice::Postgres { url: other_url }).await;
    for store in [&store, &free] {
        cycles(store, 4, BATCH, TIME).await;
    }
    let mut holder = PgConnection::connect(&url).await.unwrap();
    holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    holder.execute("SELECT COUNT(*) FROM jobs").await.unwrap();
    let (mut with_few, mut with_many) = ((0.0, 0.0), (0.0, 0.0));
    for part in 1..=HELD_PARTS {
        let (held, free) = (cycles(&store, 4, BATCH, TIME).await, cycles(&free, 4, BATCH, TIME).await);
        let dead = dead_rows(&mut holder).await;
        println!("  {dead:>7} dead rows: {held:>8.0} cycles/s, and {free:>8.0} where nobody does");
        let sum = if part <= HELD_PARTS / 2 { &mut with_few } else { &mut with_many };
        *sum = (sum.0 + held, sum.1 + free);
    }
    holder.execute("ROLLBACK").await.unwrap();
    let less = |(held, free): (f64, f64)| (1.0 - held / free) * 100.0;
    println!("  {:.1} % less in the first half, {:.1} % less in the second", less(with_few), less(with_many));
}

/// That the statistics know of, which are a moment old.
async fn dead_rows(connection: &mut PgConnection) -> i64 {
    let dead = "SELECT COALESCE(SUM(n_dead_tup), 0)::bigint FROM pg_stat_user_tables WHERE relname = 'jobs'";
    connection.execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
    sqlx::query_scalar(dead).fetch_one(connection).await.unwrap()
}

async fn new_database(server: &Postgres, name: &str) -> String {
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .unwrap();
    server.url().replace("/postgres?", &format!("/{name}?"))
}
