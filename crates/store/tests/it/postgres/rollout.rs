//! A server of the version before, while a newer one changes the schema beside it.

use super::{is_there, open_on};
use crate::contract::world::{Setup, asking, lease, new_job};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use store::{Finish, NewLogEntry, Results, SqlStore, Store, StoreError};
use testkit::{MockClock, Postgres};

const LIMIT: Duration = Duration::from_mins(1);

/// All that becomes of a job.
async fn one_job(store: &SqlStore, at: jiff::Timestamp) -> Result<(), StoreError> {
    let id = store.submit(new_job("batches")).await?;
    let claimed = store.claim(&asking(&["batches"], "exec-1")).await?.remove(0);
    assert_eq!(claimed.job.id, id);
    let held = lease(&claimed);
    let entry = NewLogEntry {
        key: "step.docker.0".to_owned(),
        command: None,
        start_time: at,
        exit_code: None,
        duration_ms: None,
        out: "one ".to_owned(),
    };
    let entry = store.add_log_entry(id, &held, entry).await?;
    store.append_log(id, &held, entry, 4, "two", Some(0), Some(1)).await?;
    store.finish(id, &held, Finish::Complete).await?;
    store.seal_logs(true).await?;
    assert_eq!(store.read_log(id, 1, entry, 0, 100).await?, b"one two");
    assert!(store.job(id).await?.record.state.is_terminal());
    Ok(())
}

/// What is prepared on connections that are open, and what is written without naming what is new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_goes_on_while_a_newer_one_expands_the_schema() {
    const TABLES: &str = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' \
                          AND tablename <> '_sqlx_migrations' ORDER BY 1";
    let test = "a_server_goes_on_while_a_newer_one_expands_the_schema";
    if !is_there(test) {
        return;
    }
    let postgres = Postgres::start(test).unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir, store) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (store, expanded, done) =
        (Arc::new(store), Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
    let works = tokio::spawn({
        let (store, expanded, done) = (Arc::clone(&store), Arc::clone(&expanded), Arc::clone(&done));
        async move {
            let mut after = 0;
            while after < 3 {
                after += u32::from(expanded.load(Ordering::Acquire));
                one_job(&store, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
                done.fetch_add(1, Ordering::AcqRel);
            }
        }
    });
    let (begun, mut newer) = (Instant::now(), PgConnection::connect(&postgres.url()).await.unwrap());
    while done.load(Ordering::Acquire) < 3 {
        assert!(begun.elapsed() < LIMIT && !works.is_finished(), "nothing was done");
        tokio::task::yield_now().await;
    }
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut newer).await.unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    // Every kind of change that may be made, of one table at a time, as locks of several at once may meet others'.
    for table in tables {
        let change = format!(
            "BEGIN; ALTER TABLE {table} ADD COLUMN later_text TEXT CHECK (later_text <> ''), \
             ADD COLUMN later_number BIGINT NOT NULL DEFAULT 7; \
             CREATE INDEX {table}_later ON {table} (later_number); COMMIT"
        );
        sqlx::raw_sql(AssertSqlSafe(change)).execute(&mut newer).await.unwrap();
    }
    let table = "CREATE TABLE later (job BIGINT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE)";
    sqlx::raw_sql(table).execute(&mut newer).await.unwrap();
    let noted = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (999, 'later', TRUE, '', 0)";
    sqlx::raw_sql(noted).execute(&mut newer).await.unwrap();
    expanded.store(true, Ordering::Release);
    tokio::time::timeout(LIMIT, works).await.expect("it goes on").unwrap();
    let again = open_on(&postgres, &clock, Setup::default()).await.err();
    assert!(matches!(again, Some(StoreError::UnknownSchema { .. })), "none starts any more: {again:?}");
}
