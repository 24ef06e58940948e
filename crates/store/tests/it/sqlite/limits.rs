//! Limits that take many rows to reach.

use super::{intruder, open_in};
use crate::contract::world::{ALL_QUEUES, Setup, asking, new_job, somebody};
use jiff::SignedDuration;
use jobs::{JobId, Namespace, Role};
use sqlx::AssertSqlSafe;
use std::time::Duration;
use store::{Countable, NewArtifact, NewJob, NewObject, NewPerson, NewToken, QueueChange, StoreError};
use tokio::time::timeout;
use wire::heartbeat::Telemetry;

#[tokio::test]
async fn one_try_has_a_number_of_entries() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let (id, lease, _) = world.running().await;
    let almost_all = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) \
                      INSERT INTO log_entries (job, epoch, entry, key, start_time) SELECT 1, 1, i, 'x', 0 FROM n";
    sqlx::query(almost_all).execute(&mut intruder(&dir).await).await.unwrap();
    assert_eq!(world.open_entry(id, &lease, "").await, 10_000);
    let refused = world.store.add_log_entry(id, &lease, world.entry("")).await;
    assert!(matches!(refused, Err(StoreError::TooManyLogEntries { limit: 10_000, .. })), "{refused:?}");
}

#[tokio::test]
async fn any_number_of_jobs_can_stall_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let (first, ..) = world.running().await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 450) \
                INSERT INTO jobs (queue, repository, commit_id, queued_at, state, epoch, executor, \
                last_heartbeat_at, lease) SELECT queue, repository, commit_id, queued_at, state, epoch, \
                executor, last_heartbeat_at, lease FROM jobs, n";
    sqlx::query(many).execute(&mut intruder(&dir).await).await.unwrap();
    let reset = world.stall_all().await;
    let expect: Vec<_> = (first.0..=450).map(JobId).collect();
    assert_eq!(reset.into_iter().map(|job| job.id).collect::<Vec<_>>(), expect);
}

#[tokio::test]
async fn a_new_executor_takes_the_place_of_the_one_that_is_silent_for_longest() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
                INSERT INTO executors (name, queues, telemetry, first_seen_at, last_seen_at) \
                SELECT 'old-' || i, '[]', '{}', i, i FROM n";
    sqlx::query(many).execute(&mut intruder(&dir).await).await.unwrap();
    world.store.set_maintenance("old-1", Some(world.now())).await.unwrap();
    for name in ["new", "old-2", "new"] {
        world.advance(1);
        world.store.upsert_executor(name, &[], &Telemetry::default(), None).await.unwrap();
    }
    world.store.upsert_executor("newer", &[], &Telemetry::default(), None).await.unwrap();
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM executors")
        .fetch_one(&mut intruder(&dir).await)
        .await
        .unwrap();
    assert_eq!(count, 10_000);
    let names: Vec<_> = world.store.executors().await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names[..3], ["new", "newer", "old-2"]);
    assert_eq!(names[names.len() - 2..], ["old-5", "old-1"], "the silent ones went, oldest first");
    let spoil = "UPDATE executors SET telemetry = '' WHERE name = 'old-2'";
    sqlx::query(spoil).execute(&mut intruder(&dir).await).await.unwrap();
    assert_eq!(world.store.executors().await.unwrap().len(), 9_999, "one that can't be read hides no other");
}

#[tokio::test]
async fn tokens_that_have_expired_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let new = |name: &str| NewToken {
        name: name.to_owned(),
        role: Role::Reader,
        namespace: Namespace::Global,
        created_by: "root".to_owned(),
        expires_at: None,
    };
    // The first one for good, the others for a minute.
    let all = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
               INSERT INTO tokens (digest, name, role, namespace, created_by, created_at, expires_at) \
               SELECT CAST(i AS BLOB), 'token ' || i, 'reader', '', 'root', 0, CASE WHEN i > 1 THEN $1 END FROM n";
    let expires_at = (world.now() + SignedDuration::from_secs(60)).as_microsecond();
    sqlx::query(all).bind(expires_at).execute(&mut intruder(&dir).await).await.unwrap();
    let refused = world.store.create_token(new("one more")).await.unwrap_err();
    assert!(refused.to_string().starts_with("there are 10000 tokens, "), "{refused}");
    assert_eq!(world.store.tokens(None).await.unwrap().len(), 10_000, "nothing was changed");
    world.advance(60);
    world.store.create_token(new("one more")).await.unwrap();
    let names: Vec<_> = world.store.tokens(None).await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["one more", "token 1"]);
}

#[tokio::test]
async fn no_namespace_takes_the_places_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let token = |namespace: &str| NewToken {
        name: "one more".to_owned(),
        role: Role::Reader,
        namespace: namespace.parse().unwrap(),
        created_by: "root".to_owned(),
        expires_at: None,
    };
    let person = |name: &str, namespace: &str| NewPerson {
        name: name.to_owned(),
        password: "hash".to_owned(),
        role: Role::Reader,
        namespace: namespace.parse().unwrap(),
        created_by: "root".to_owned(),
    };
    let acme = Namespace::Organisation("acme".to_owned()).key();
    for many in [
        "INSERT INTO tokens (digest, name, role, namespace, created_by, created_at) \
         SELECT CAST($2 + i AS BLOB), 'token ' || i, 'reader', $1, 'root', 0 FROM n",
        "INSERT INTO people (name, password, role, namespace, created_by, created_at, password_at) \
         SELECT 'person ' || ($2 + i), '', 'reader', $1, 'root', 0, 0 FROM n",
    ] {
        let many =
            format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $3) {many}");
        for (namespace, first, count) in [(acme.as_str(), 0, 5_000), ("many", 5_000, 4_000)] {
            let insert = sqlx::query(AssertSqlSafe(many.clone())).bind(namespace).bind(first).bind(count);
            insert.execute(&mut intruder(&dir).await).await.unwrap();
        }
    }
    for (namespace, limit) in [("org:acme", 5_000), ("user:bob", 9_000)] {
        let of_token = world.store.create_token(token(namespace)).await.unwrap_err();
        let of_person = world.store.add_person(person("ann", namespace)).await.unwrap_err();
        for refused in [of_token, of_person] {
            let told = match refused {
                StoreError::TooManyOf { limit, .. } | StoreError::TooManyShared { limit, .. } => limit,
                other => panic!("{other}"),
            };
            assert_eq!(told, limit);
        }
    }
    world.store.create_token(token("global")).await.unwrap();
    world.store.add_person(person("ann", "global")).await.unwrap();
}

#[tokio::test]
async fn no_namespace_takes_the_lanes_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let fill = async |owner: &str, lanes: i64| {
        let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
                    INSERT INTO lanes (queue, owner, needs) SELECT 'batches', $1, '{\"labels\":[\"l' || i || '\"]}' FROM n";
        sqlx::query(many).bind(owner).bind(lanes).execute(&mut intruder(&dir).await).await.unwrap();
    };
    let labelled = |owner: &str, label: &str| {
        let mut job = NewJob { owner: owner.to_owned(), ..new_job("batches") };
        job.spec.needs.labels.insert(label.to_owned());
        job
    };
    let plain = |owner: &str| NewJob { owner: owner.to_owned(), ..new_job("batches") };
    let refused = async |job| world.store.submit(job).await.unwrap_err();

    fill("org:acme", 49_998).await;
    let three = ["a", "b", "c"].map(|label| labelled("org:acme", label));
    world.store.submit_all(three.to_vec()).await.unwrap_err();
    world.store.submit_all(three[..2].to_vec()).await.unwrap();
    let expect = "there may be 100000 combinations of queue, namespace and needs that jobs wait or run with, 50000 of one \
                  namespace, and org:acme has those: let more jobs need the same, or wait until some have ended";
    assert_eq!(refused(labelled("org:acme", "c")).await.to_string(), expect);
    world.store.submit(labelled("org:acme", "b")).await.unwrap();
    world.store.submit(plain("org:acme")).await.unwrap();
    world.store.submit(labelled("user:bob", "a")).await.unwrap();

    fill("user:many", 39_998).await;
    let told = refused(labelled("user:bob", "b")).await;
    assert!(
        matches!(told, StoreError::TooManyShared { of: Countable::Lanes, limit: 90_000, .. }),
        "{told:?}"
    );
    world.store.submit(labelled("", "a")).await.unwrap();
    world.store.submit(plain("user:bob")).await.unwrap();

    fill("", 9_998).await;
    let told = refused(labelled("", "b")).await;
    assert!(matches!(told, StoreError::TooMany { of: Countable::Lanes, limit: 100_000 }), "{told:?}");
    world.store.submit_all(vec![plain(""), plain("user:eve")]).await.unwrap();
    assert_eq!(world.given(&asking(&ALL_QUEUES, "exec-1")).await.len(), 4, "those without labels");
}

/// It needs no lane: its job has ended, and nobody was kept from taking the place.
#[tokio::test]
async fn a_submission_that_is_made_again_needs_no_lane() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let mut job =
        NewJob { owner: "org:acme".to_owned(), idempotency_key: Some("k1".to_owned()), ..new_job("batches") };
    job.spec.needs.labels.insert("own".to_owned());
    let first = world.store.submit(job.clone()).await.unwrap();
    world.store.cancel(first, somebody()).await.unwrap();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 51000) \
                INSERT INTO lanes (queue, owner, needs) SELECT 'batches', 'org:acme', '{\"labels\":[\"l' || i || '\"]}' FROM n";
    sqlx::query(many).execute(&mut intruder(&dir).await).await.unwrap();
    assert_eq!(world.store.forget_lanes().await.unwrap(), 1_000, "its lane, which was the first, among them");
    let other = NewJob { idempotency_key: None, ..job.clone() };
    let refused = world.store.submit(other).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooManyOf { of: Countable::Lanes, .. }), "{refused:?}");
    assert_eq!(world.store.submit(job.clone()).await.unwrap(), first);
    assert_eq!(world.store.submit_all(vec![job.clone(), job]).await.unwrap(), [first, first]);
    let lanes: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM lanes").fetch_one(&mut intruder(&dir).await).await.unwrap();
    assert_eq!(lanes, 50_001);
}

#[tokio::test]
async fn who_is_refused_is_told_of_what_there_is_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let all = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
               INSERT INTO people (name, password, role, namespace, created_by, created_at, password_at) \
               SELECT 'person ' || i, '', 'reader', '', 'root', 0, 0 FROM n";
    sqlx::query(all).execute(&mut intruder(&dir).await).await.unwrap();
    let ann = NewPerson {
        name: "ann".to_owned(),
        password: "hash".to_owned(),
        role: Role::Reader,
        namespace: Namespace::Global,
        created_by: "root".to_owned(),
    };
    let refused = world.store.add_person(ann).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooMany { of: Countable::People, limit: 10_000 }), "{refused:?}");
    let expect = "there are 10000 people, and there may be no more: remove those who are gone";
    assert_eq!(refused.to_string(), expect);

    let (id, held, _) = world.running().await;
    let leave = async |size| {
        let key = world.store.new_object("artifacts/0/1", "").await.unwrap();
        let object = NewObject { key, size, sha256: String::new() };
        let file = NewArtifact { name: "report".to_owned(), path: "out/new".to_owned(), object };
        world.store.add_artifact(id, &held, file).await.unwrap_err().to_string()
    };
    let some = "INSERT INTO artifacts (job, epoch, name, path, object, size, sha256, created_at) \
                SELECT 1, 1, 'report', 'out/' || (i + $1), '', $2, '', 0 FROM n";
    let almost =
        format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $3) {some}");
    let insert = sqlx::query(AssertSqlSafe(almost.clone())).bind(0).bind(1_i64 << 30).bind(4);
    insert.execute(&mut intruder(&dir).await).await.unwrap();
    let expect = "a job may leave 4294967296 bytes, and with \"out/new\" job 1 would leave 4294967297, so it is not kept: \
                  leave less";
    assert_eq!(leave(1).await, expect);
    let insert = sqlx::query(AssertSqlSafe(almost)).bind(4).bind(0_i64).bind(996);
    insert.execute(&mut intruder(&dir).await).await.unwrap();
    let expect = "job 1 has left 1000 files, and may leave no more, so \"out/new\" is not kept: pack them";
    assert_eq!(leave(0).await, expect);
}

/// Where there is nothing to be had nobody waits for a turn to write.
#[tokio::test]
async fn a_full_queue_makes_no_writers() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let change = QueueChange { max_running: Some(1), ..QueueChange::default() };
    world.store.change_queue("batches", change).await.unwrap();
    world.running().await;
    world.submit("batches").await;
    let mut writer = intruder(&dir).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    let claimed = timeout(Duration::from_secs(5), world.claim("exec-1")).await;
    assert!(claimed.expect("it waits for the writer").is_none());
}

/// Nor for those with whom it would share a transaction, which would come to nothing for all of them.
#[tokio::test]
async fn who_has_no_room_in_a_queue_waits_for_no_turn_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup { max_queued: 20, ..Setup::default() }).await.unwrap();
    let job = NewJob { owner: "org:acme".to_owned(), ..new_job("batches") };
    let known = NewJob { idempotency_key: Some("k1".to_owned()), ..job.clone() };
    let first = world.store.submit(known.clone()).await.unwrap();
    world.store.submit_all(vec![new_job("batches"); 17]).await.unwrap();
    let mut writer = intruder(&dir).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    let refused = timeout(Duration::from_secs(5), world.store.submit(job)).await;
    let refused = refused.expect("it waits for the writer").unwrap_err();
    assert!(matches!(refused, StoreError::QueueReserved { limit: 18, total: 20, .. }), "{refused:?}");
    sqlx::query("ROLLBACK").execute(&mut writer).await.unwrap();
    assert_eq!(world.store.submit(known).await.unwrap(), first);
}
