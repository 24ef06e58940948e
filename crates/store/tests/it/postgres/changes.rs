//! What one server changes, the others hear of.

use super::{is_there, open_on};
use crate::contract::world::{Setup, new_job};
use sqlx::{Connection, PgConnection};
use std::sync::Arc;
use std::time::Duration;
use store::{Change, Store};
use testkit::{MockClock, Postgres};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn every_server_hears_of_changes_once() {
    if !is_there("every_server_hears_of_changes_once") {
        return;
    }
    let postgres = Postgres::start("every_server_hears_of_changes_once").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_here_dir, here) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (_there_dir, there) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (mut heard_here, mut heard_there) = (here.changes(), there.changes());
    let id = here.submit(new_job("batches")).await.unwrap();
    let expect = [Change::Queued("batches".to_owned()), Change::Job(id)];
    assert_eq!(hear(&mut heard_here).await, expect);
    assert_eq!(hear(&mut heard_there).await, expect);
    // What it said itself is not told to it again: the next that it hears is the other's.
    let id = there.submit(new_job("codeintel")).await.unwrap();
    assert_eq!(hear(&mut heard_here).await, [Change::Queued("codeintel".to_owned()), Change::Job(id)]);
}

#[tokio::test]
async fn a_lost_connection_is_made_again() {
    if !is_there("a_lost_connection_is_made_again") {
        return;
    }
    let mut postgres = Postgres::start("a_lost_connection_is_made_again").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_here_dir, here) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (_there_dir, there) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let before = here.submit(new_job("batches")).await.unwrap();
    postgres.crash();
    postgres.restart();
    let mut heard = there.changes();
    // Notices from before the listener is back are lost, which is why whoever waits looks again now and then.
    let told = async {
        loop {
            // A connection that is dead may be found so only when it is used.
            let _ = here.submit(new_job("batches")).await;
            if let Ok(Ok(Change::Queued(_))) = timeout(Duration::from_millis(200), heard.recv()).await {
                return;
            }
        }
    };
    timeout(LIMIT, told).await.unwrap();
    assert_eq!(there.job(before).await.unwrap().queue, "batches");
}

/// The database ends the connections by which servers hear of each other: then they look at all again.
#[tokio::test]
async fn a_server_knows_that_it_heard_nothing() {
    if !is_there("a_server_knows_that_it_heard_nothing") {
        return;
    }
    let postgres = Postgres::start("a_server_knows_that_it_heard_nothing").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir, store) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let mut changes = store.changes();
    let mut operator = PgConnection::connect(&postgres.url()).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    assert_eq!(sqlx::query(end).execute(&mut operator).await.unwrap().rows_affected(), 1);
    assert_eq!(timeout(LIMIT, changes.recv()).await.unwrap().unwrap(), Change::Rules);
}

async fn hear(changes: &mut Receiver<Change>) -> [Change; 2] {
    let mut next = async || timeout(LIMIT, changes.recv()).await.unwrap().unwrap();
    [next().await, next().await]
}
