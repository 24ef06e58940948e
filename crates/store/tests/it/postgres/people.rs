//! People who sign in while somebody else changes what they are.

use super::{is_there, open_on};
use crate::contract::world::Setup;
use jobs::{Namespace, Role};
use sqlx::{Connection, PgConnection};
use std::sync::Arc;
use std::time::Duration;
use store::{NewPerson, NewSession, People, SessionTerms};
use testkit::{MockClock, Postgres};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);
const TERMS: SessionTerms =
    SessionTerms { idle: jiff::SignedDuration::from_hours(2), longest: jiff::SignedDuration::from_hours(5) };

fn ann() -> NewPerson {
    NewPerson {
        name: "ann".to_owned(),
        password: "old".to_owned(),
        role: Role::Operator,
        namespace: Namespace::Global,
        created_by: "root".to_owned(),
    }
}

/// Until it is done, or waits for somebody.
async fn done_or_waits<T>(task: &JoinHandle<T>, look: &mut PgConnection) {
    let waits = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted";
    let wait = async {
        while !task.is_finished()
            && sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut *look).await.unwrap() == 0
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, wait).await.unwrap();
}

/// Whoever knows the old password alone is not let in by being quick.
#[tokio::test]
async fn a_session_does_not_outlive_the_password_that_is_being_changed() {
    if !is_there("a_session_does_not_outlive_the_password_that_is_being_changed") {
        return;
    }
    let postgres = Postgres::start("a_session_does_not_outlive_the_password_that_is_being_changed").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir, store) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (store, mut look) = (Arc::new(store), PgConnection::connect(&postgres.url()).await.unwrap());
    let id = store.add_person(ann()).await.unwrap().id;
    // As another server does it, whose commit is still to come.
    let mut changing = PgConnection::connect(&postgres.url()).await.unwrap();
    let mut change = changing.begin().await.unwrap();
    sqlx::query("UPDATE people SET password = 'new'").execute(&mut *change).await.unwrap();
    let begin = {
        let store = Arc::clone(&store);
        async move { store.begin_session(NewSession::Person { id, password: "old".to_owned() }).await }
    };
    let begun = tokio::spawn(begin);
    done_or_waits(&begun, &mut look).await;
    sqlx::query("DELETE FROM sessions").execute(&mut *change).await.unwrap();
    change.commit().await.unwrap();
    assert_eq!(timeout(LIMIT, begun).await.unwrap().unwrap().unwrap(), None);
}

/// The other way round: the session is there first, though nobody sees it yet.
#[tokio::test]
async fn a_new_password_ends_a_session_that_is_just_beginning() {
    if !is_there("a_new_password_ends_a_session_that_is_just_beginning") {
        return;
    }
    let postgres = Postgres::start("a_new_password_ends_a_session_that_is_just_beginning").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir, store) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (store, mut look) = (Arc::new(store), PgConnection::connect(&postgres.url()).await.unwrap());
    let id = store.add_person(ann()).await.unwrap().id;
    let earlier = store.begin_session(NewSession::Person { id, password: "old".to_owned() }).await.unwrap();
    // Whoever uses the earlier session holds its row, for which the trimming of a new one's waits.
    assert!(store.session(&earlier.unwrap(), TERMS).await.unwrap().is_some());
    let mut holding = PgConnection::connect(&postgres.url()).await.unwrap();
    let mut hold = holding.begin().await.unwrap();
    let many = "INSERT INTO sessions (digest, person, created_at, last_used_at) \
                SELECT decode(lpad(n::text, 4, '0'), 'hex'), $1, 0, n FROM generate_series(1, 20) AS n";
    sqlx::query(many).bind(id).execute(&mut look).await.unwrap();
    sqlx::query("UPDATE sessions SET last_used_at = 1 WHERE last_used_at < 1000")
        .execute(&mut *hold)
        .await
        .unwrap();
    let begin = {
        let store = Arc::clone(&store);
        async move { store.begin_session(NewSession::Person { id, password: "old".to_owned() }).await }
    };
    let begun = tokio::spawn(begin);
    done_or_waits(&begun, &mut look).await;
    assert!(!begun.is_finished(), "it is in the middle");
    let change = {
        let store = Arc::clone(&store);
        async move { store.set_password("ann", "new").await }
    };
    let changed = tokio::spawn(change);
    let both = "SELECT COUNT(*) >= 2 FROM pg_locks WHERE NOT granted";
    let wait = async {
        while !sqlx::query_scalar::<_, bool>(both).fetch_one(&mut look).await.unwrap() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, wait).await.unwrap();
    hold.commit().await.unwrap();
    let shown = timeout(LIMIT, begun).await.unwrap().unwrap().unwrap().unwrap();
    assert!(timeout(LIMIT, changed).await.unwrap().unwrap().unwrap().is_some());
    assert!(store.session(&shown, TERMS).await.unwrap().is_none());
}
