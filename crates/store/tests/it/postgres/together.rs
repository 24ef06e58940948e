//! Several servers on one database.

use super::{is_there, open_on};
use crate::contract::world::{ALL_QUEUES, LEASE, Setup, asking, failed, lease, new_job};
use jiff::Timestamp;
use jobs::{Canceler, Clock, JobId, Judgement, Namespace, State};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::{Asking, Claimed, Finish, NewFile, QueueChange, SqlStore, Store};
use testkit::{MockClock, Postgres};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

const JOBS: usize = 120;

/// Every job is claimed once and ended once, whichever of the servers is asked, while others look for lost ones and
/// cancel some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_share_a_queue() {
    if !is_there("servers_share_a_queue") {
        return;
    }
    let postgres = Postgres::start("servers_share_a_queue").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_first_dir, first) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (_second_dir, second) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let servers = [Arc::new(first), Arc::new(second)];
    for number in 0..JOBS {
        servers[number % 2].submit(new_job(ALL_QUEUES[number % 3 % 2])).await.unwrap();
    }
    let mut workers = Vec::new();
    for number in 0..8 {
        let (server, other) = (Arc::clone(&servers[number % 2]), Arc::clone(&servers[(number + 1) % 2]));
        workers.push(tokio::spawn(work(server, other, format!("exec-{number}"), clock.now())));
    }
    let mut done = Vec::new();
    for worker in workers {
        done.extend(worker.await.unwrap());
    }
    let distinct: BTreeSet<JobId> = done.iter().copied().collect();
    assert_eq!((done.len(), distinct.len()), (JOBS, JOBS));
    for id in distinct {
        let job = servers[0].job(id).await.unwrap();
        assert_eq!((job.record.state, job.record.epoch), (State::Completed, 1), "{id}");
    }
}

/// Claims from one server and ends by the other until nothing is left.
async fn work(server: Arc<SqlStore>, other: Arc<SqlStore>, executor: String, now: Timestamp) -> Vec<JobId> {
    let asking = asking(&ALL_QUEUES, &executor);
    let judgement = Judgement { now, attentive_since: Timestamp::UNIX_EPOCH, era: None };
    let mut done = Vec::new();
    while let Some(claimed) = server.claim(&asking).await.unwrap().pop() {
        let (id, lease) = (claimed.job.id, lease(&claimed));
        let ids = [id, JobId(1), JobId(2)];
        let (beat, stalled, end) = tokio::join!(
            other.heartbeat(&executor, &ids, LEASE),
            other.reset_stalled(judgement),
            server.finish(id, &lease, Finish::Complete),
        );
        assert!(beat.unwrap().known.iter().all(|known| *known == id));
        assert!(stalled.unwrap().is_empty());
        assert_eq!(end.unwrap().record.state, State::Completed);
        other.cancel(id, Canceler::api([10, 0, 0, 7].into(), None)).await.unwrap_err();
        done.push(id);
    }
    done
}

/// Of two ends of one job exactly one counts, whichever servers are told of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_ends_once() {
    if !is_there("a_job_ends_once") {
        return;
    }
    let postgres = Postgres::start("a_job_ends_once").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_first_dir, first) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (_second_dir, second) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let asking = asking(&ALL_QUEUES, "exec-1");
    for _ in 0..40 {
        let id = first.submit(new_job("batches")).await.unwrap();
        let claimed = claim_soon(&second, &asking).await;
        let lease = lease(&claimed);
        let ends = tokio::join!(
            first.finish(id, &lease, Finish::Complete),
            second.finish(id, &lease, failed()),
            first.cancel(id, Canceler::api([10, 0, 0, 7].into(), None)),
        );
        let ended = [ends.0.is_ok(), ends.1.is_ok()];
        assert_eq!(ended.into_iter().filter(|ended| *ended).count(), 1, "{ended:?}");
        assert!(second.job(id).await.unwrap().record.state.is_terminal());
    }
}

/// Claims the job that another server has just been given, as soon as this one hears of it.
async fn claim_soon(server: &SqlStore, asking: &Asking) -> Claimed {
    let mut changes = server.changes();
    let claim = async {
        loop {
            if let Some(claimed) = server.claim(asking).await.unwrap().pop() {
                return claimed;
            }
            let _ = changes.recv().await;
        }
    };
    timeout(LIMIT, claim).await.unwrap()
}

/// Where there is nothing to be had nobody waits for the queue's lock.
#[tokio::test]
async fn a_full_queue_makes_no_writers() {
    if !is_there("a_full_queue_makes_no_writers") {
        return;
    }
    let postgres = Postgres::start("a_full_queue_makes_no_writers").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir, store) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let change = QueueChange { max_running: Some(1), ..QueueChange::default() };
    store.change_queue("batches", change).await.unwrap();
    store.submit_all(vec![new_job("batches"), new_job("batches")]).await.unwrap();
    let asking = asking(&ALL_QUEUES, "exec-1");
    assert_eq!(store.claim(&asking).await.unwrap().len(), 1);
    let mut other = PgConnection::connect(&postgres.url()).await.unwrap();
    let lock = "SELECT pg_advisory_lock(hashtextextended('batches', 1))";
    sqlx::query(lock).execute(&mut other).await.unwrap();
    let claimed = timeout(Duration::from_secs(10), store.claim(&asking)).await;
    assert!(claimed.expect("it waits for the lock").unwrap().is_empty());
}

/// A lane that another server forgot is made again by one that still knows it.
#[tokio::test]
async fn a_lane_that_is_forgotten_elsewhere_is_made_again() {
    const LANES: u64 = 270;
    if !is_there("a_lane_that_is_forgotten_elsewhere_is_made_again") {
        return;
    }
    let postgres = Postgres::start("a_lane_that_is_forgotten_elsewhere_is_made_again").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_first_dir, first) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (_second_dir, second) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let in_lane = |lane| {
        let mut job = new_job("batches");
        job.spec.needs.memory = Some((1 << 30) + lane);
        job
    };
    let ids = first.submit_all((0..LANES).map(in_lane).collect()).await.unwrap();
    for id in ids {
        first.cancel(id, Canceler::api([10, 0, 0, 7].into(), None)).await.unwrap();
    }
    assert_eq!(second.forget_lanes().await.unwrap(), LANES);
    let ids = first.submit_all(vec![in_lane(1), in_lane(2)]).await.unwrap();
    for id in ids {
        assert_eq!(claim_soon(&second, &asking(&ALL_QUEUES, "exec-1")).await.job.id, id);
    }
}

/// What a server of the version before lanes submits while a new one runs is found.
#[tokio::test]
async fn a_job_of_an_older_server_is_found() {
    if !is_there("a_job_of_an_older_server_is_found") {
        return;
    }
    let postgres = Postgres::start("a_job_of_an_older_server_is_found").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir, store) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let mut older = PgConnection::connect(&postgres.url()).await.unwrap();
    let submit = "WITH job AS (INSERT INTO jobs (queue, repository, rev, commit_id, queued_at) \
                      VALUES ('batches', '', '', '', 5) RETURNING id) \
                  INSERT INTO job_specs (job, spec) SELECT id, '{\"queue\":\"batches\",\"steps\":[]}' FROM job RETURNING job";
    let id: i64 = sqlx::query_scalar(submit).fetch_one(&mut older).await.unwrap();
    store.submit(new_job("batches")).await.unwrap();
    let asking = asking(&ALL_QUEUES, "exec-1");
    assert_eq!(store.claim(&asking).await.unwrap().pop().unwrap().job.id, JobId(id), "it is the oldest");
    assert_eq!(store.claim(&asking).await.unwrap().len(), 1);
}

/// An upload that nobody needs is submitted with a job at the moment at which it is forgotten.
#[tokio::test]
async fn a_file_that_is_being_submitted_stays() {
    if !is_there("a_file_that_is_being_submitted_stays") {
        return;
    }
    let postgres = Postgres::start("a_file_that_is_being_submitted_stays").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir, store) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let store = Arc::new(store);
    let id = "0".repeat(32);
    let file = NewFile {
        id: id.clone(),
        name: "a".into(),
        size: 1,
        sha256: "0".repeat(64),
        modified_at: clock.now(),
        namespace: Namespace::Global,
        object: None,
    };
    store.add_file(file).await.unwrap();
    clock.advance(jiff::SignedDuration::from_secs(5));
    let job = store.submit(new_job("batches")).await.unwrap();
    let mut submitting = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::query("BEGIN").execute(&mut submitting).await.unwrap();
    let keep = "INSERT INTO job_files (job, file) VALUES ($1, $2)";
    sqlx::query(keep).bind(job.0).bind(&id).execute(&mut submitting).await.unwrap();
    let (forgetting, now) = (Arc::clone(&store), clock.now());
    let forgotten = tokio::spawn(async move { forgetting.forget_files(now).await.unwrap() });
    // It is done, or waits for the one that submits.
    let waits = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted";
    while !forgotten.is_finished()
        && sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut submitting).await.unwrap() == 0
    {
        tokio::task::yield_now().await;
    }
    sqlx::query("COMMIT").execute(&mut submitting).await.unwrap();
    assert_eq!(forgotten.await.unwrap(), [""; 0]);
    assert!(store.job_file(job, &id).await.unwrap().is_some());
}
