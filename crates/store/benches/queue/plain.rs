//! A queue as one would write it: one table, one row a job, `FOR UPDATE SKIP LOCKED`.

use crate::{BATCH, TIME};
use sqlx::postgres::{PgPool, PgPoolOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const TABLE: &str = "CREATE TABLE plain_queue (id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY, payload TEXT NOT NULL, \
                     state TEXT NOT NULL DEFAULT 'queued'); \
                     CREATE INDEX plain_queued ON plain_queue (id) WHERE state = 'queued'";
const SUBMIT: &str =
    "INSERT INTO plain_queue (payload) SELECT '{\"run\":\"make test\"}' FROM generate_series(1, $1)";
const CLAIM: &str = "UPDATE plain_queue SET state = 'running' WHERE id IN (SELECT id FROM plain_queue \
                     WHERE state = 'queued' ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING id";
const END: &str = "UPDATE plain_queue SET state = 'done' WHERE id = ANY($1)";

pub(crate) async fn measure(url: &str) {
    let pool = PgPoolOptions::new().max_connections(16).connect(url).await.unwrap();
    sqlx::raw_sql(TABLE).execute(&pool).await.unwrap();
    for (workers, batch) in [(1, 1), (16, 1), (1, BATCH), (4, BATCH)] {
        let rate = cycles(&pool, workers, i64::from(batch)).await;
        println!("  {workers:>2} at a time, {batch:>3} jobs a call: {rate:>8.0} cycles/s");
    }
}

async fn cycles(pool: &PgPool, workers: u32, batch: i64) -> f64 {
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let (pool, done) = (pool.clone(), Arc::clone(&done));
        all.spawn(async move {
            while begun.elapsed() < TIME {
                sqlx::query(SUBMIT).bind(batch).execute(&pool).await.unwrap();
                let ids: Vec<i64> = sqlx::query_scalar(CLAIM).bind(batch).fetch_all(&pool).await.unwrap();
                done.fetch_add(ids.len() as u64, Ordering::Relaxed);
                sqlx::query(END).bind(ids).execute(&pool).await.unwrap();
            }
        });
    }
    all.join_all().await;
    done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}
