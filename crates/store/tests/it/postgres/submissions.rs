//! Submissions that share transactions.

use super::{is_there, open_on};
use crate::contract::world::{Setup, new_job};
use sqlx::{Connection, PgConnection};
use std::sync::Arc;
use std::time::Duration;
use store::{NewJob, Store, StoreError};
use testkit::{MockClock, Postgres};
use tokio::time::timeout;

/// Less than anybody waits for a lock.
const LIMIT: Duration = Duration::from_secs(10);

/// What is refused anyway spoils no transaction that others' submissions are in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_room_in_a_queue_joins_nobody() {
    const TURNS: i64 = 4;
    if !is_there("who_has_no_room_in_a_queue_joins_nobody") {
        return;
    }
    let postgres = Postgres::start("who_has_no_room_in_a_queue_joins_nobody").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let setup = Setup { max_queued: 20, ..Setup::default() };
    let (_dir, store) = open_on(&postgres, &clock, setup).await.unwrap();
    let store = Arc::new(store);
    store.submit_all(vec![new_job("batches"); 18]).await.unwrap();
    let mut behind = PgConnection::connect(&postgres.url()).await.unwrap();
    let mut holder = behind.begin().await.unwrap();
    sqlx::query("LOCK TABLE jobs IN EXCLUSIVE MODE").execute(&mut *holder).await.unwrap();
    let mut others = Vec::new();
    for turn in 1..=TURNS {
        let store = Arc::clone(&store);
        others.push(tokio::spawn(async move { store.submit(new_job("codeintel")).await }));
        let waiting = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted";
        let waits = async {
            while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *holder).await.unwrap() < turn {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, waits).await.expect("it is about to add its job");
    }
    let job = NewJob { owner: "org:acme".to_owned(), ..new_job("batches") };
    let refused = timeout(LIMIT, store.submit(job)).await.expect("it waits for a turn").unwrap_err();
    assert!(matches!(refused, StoreError::QueueReserved { limit: 18, total: 20, .. }), "{refused:?}");
    holder.rollback().await.unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
}
