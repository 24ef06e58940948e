//! Jobs that ended long ago, and queues that are full.

use super::world::{Setup, World, charged, errored, failed, lease, new_job, repository_job, somebody};
use jiff::SignedDuration;
use jobs::{JobId, State};
use std::time::{Duration, Instant};
use store::{Finish, JobFilter, NewJob, StoreError};

const HOUR: i64 = 3_600;

/// Removes what ended more than an hour ago; says how many.
async fn forget(world: &World) -> u64 {
    world.store.forget_jobs(world.now() - SignedDuration::from_secs(HOUR)).await.unwrap()
}

async fn all(world: &World) -> Vec<JobId> {
    let jobs = world.store.jobs(JobFilter { limit: 500, ..JobFilter::default() }).await.unwrap();
    jobs.into_iter().map(|job| job.id).collect()
}

async fn assert_gone(world: &World, id: JobId) {
    let unknown = |told: Option<StoreError>| matches!(told, Some(StoreError::UnknownJob(of)) if of == id);
    assert!(unknown(world.store.job(id).await.err()));
    assert!(unknown(world.store.spec(id).await.err()));
    assert!(unknown(world.store.log_entries(id, Some(1)).await.err()));
    let text = world.store.read_log(id, 1, 1, 0, 99).await;
    assert!(matches!(text, Err(StoreError::UnknownLogEntry { .. })), "{text:?}");
}

pub(crate) async fn a_job_that_ended_long_ago_is_gone_with_its_log(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    world.store.submit(repository_job()).await.unwrap();
    let claimed = world.claim("exec-1").await.unwrap();
    let (old, held) = (claimed.job.id, lease(&claimed));
    world.open_entry(old, &held, "old").await;
    world.store.finish(old, &held, Finish::Complete).await.unwrap();
    world.advance(1);
    let (young, held, _) = world.running().await;
    world.open_entry(young, &held, "young").await;
    world.store.finish(young, &held, Finish::Complete).await.unwrap();
    world.advance(HOUR - 1);
    assert_eq!(forget(&world).await, 0, "it ended an hour ago, and not before");
    world.advance(1);
    assert_eq!(forget(&world).await, 1);
    assert_eq!(forget(&world).await, 0);
    assert_gone(&world, old).await;
    assert_eq!(all(&world).await, [young]);
    assert_eq!(world.text(young, 1, 1).await, "young");
    assert!(world.submit("batches").await > young, "no id is given twice");
}

pub(crate) async fn however_it_ended_it_is_forgotten(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::with_failures(0)).await;
    let canceled = world.submit("batches").await;
    world.store.cancel(canceled, somebody()).await.unwrap();
    for finish in [Finish::Complete, failed(), charged()] {
        let (id, held, _) = world.running().await;
        world.store.finish(id, &held, finish).await.unwrap();
    }
    let (stopped, ..) = world.running().await;
    world.store.cancel(stopped, somebody()).await.unwrap();
    world.stall_all().await;
    assert!(world.store.job(stopped).await.unwrap().record.state.is_terminal());
    world.advance(HOUR + 1);
    assert_eq!((forget(&world).await, all(&world).await), (5, Vec::new()));
}

pub(crate) async fn what_has_not_ended_is_not_forgotten(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::with_failures(3)).await;
    let (again, held, _) = world.running().await;
    world.store.finish(again, &held, errored()).await.unwrap();
    let waits = world.submit("codeintel").await;
    let runs = world.submit("batches").await;
    let claimed = world.claim_of(&["batches"], "exec-1").await.unwrap();
    assert_eq!(claimed.job.id, runs);
    world.open_entry(runs, &lease(&claimed), "text").await;
    world.advance(1_000 * HOUR);
    assert_eq!(forget(&world).await, 0);
    assert_eq!(world.store.job(again).await.unwrap().record.state, State::Errored);
    assert_eq!(world.store.job(waits).await.unwrap().record.state, State::Queued);
    assert_eq!(world.text(runs, 1, 1).await, "text");
    world.store.finish(runs, &lease(&claimed), Finish::Complete).await.unwrap();
}

pub(crate) async fn many_jobs_and_entries_are_forgotten_bit_by_bit(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (wordy, held, _) = world.running().await;
    for _ in 0..450 {
        world.open_entry(wordy, &held, "").await;
    }
    world.store.finish(wordy, &held, Finish::Complete).await.unwrap();
    for _ in 0..150 {
        let id = world.submit("batches").await;
        world.store.cancel(id, somebody()).await.unwrap();
    }
    world.advance(HOUR + 1);
    let mut turns = Vec::new();
    loop {
        match forget(&world).await {
            0 => break,
            some => turns.push(some),
        }
    }
    assert_eq!(turns.iter().sum::<u64>(), 151);
    assert!(turns.len() > 1, "one call does not do it all: {turns:?}");
    assert_gone(&world, wordy).await;
    assert!(all(&world).await.is_empty());
}

pub(crate) async fn a_full_queue_takes_no_more(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup { max_queued: 2, ..Setup::default() }).await;
    world.submit("batches").await;
    let twice = NewJob { idempotency_key: Some("k1".to_owned()), ..new_job("batches") };
    world.store.submit_all(vec![twice.clone(), twice]).await.expect("that is one job");
    let refused = world.store.submit(new_job("batches")).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::QueueFull { queue, limit: 2 } if queue == "batches"),
        "{refused:?}"
    );
    assert_eq!(all(&world).await.len(), 2);
    world.submit("codeintel").await;
}

pub(crate) async fn whatever_leaves_a_queue_makes_room(open: impl AsyncFn(Setup) -> World) {
    let retry = jobs::RetryPolicy { max_resets: 9, ..jobs::RetryPolicy::default() };
    let world = open(Setup { max_queued: 1, retry, ..Setup::default() }).await;
    let is_full = async || world.store.submit(new_job("batches")).await.is_err();
    let canceled = world.submit("batches").await;
    assert!(is_full().await);
    world.store.cancel(canceled, somebody()).await.unwrap();
    let id = submit_when_there_is_room(&world).await;
    let held = lease(&world.claim("exec-1").await.unwrap());
    world.store.release(id, &held).await.unwrap();
    assert!(is_full().await, "a job that comes back counts");
    world.claim("exec-1").await.unwrap();
    world.stall_all().await;
    assert!(is_full().await, "so does one whose executor fell silent");
    let claimed = world.claim("exec-1").await.unwrap();
    world.store.finish(id, &lease(&claimed), Finish::Complete).await.unwrap();
    submit_when_there_is_room(&world).await;
    assert!(is_full().await);
}

pub(crate) async fn no_namespace_fills_a_queue_for_all(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup { max_queued: 20, ..Setup::default() }).await;
    let of = |owner: &str| NewJob { owner: owner.to_owned(), ..new_job("batches") };
    let submit = async |job: NewJob, times: usize| world.store.submit_all(vec![job; times]).await;
    let refused = async |owner: &str| submit(of(owner), 1).await.unwrap_err();
    // However they wait.
    let mut delayed = of("org:acme");
    delayed.spec.delay_seconds = Some(60);
    submit(delayed, 3).await.unwrap();
    let keyed = NewJob { idempotency_key: Some("k1".to_owned()), ..of("org:acme") };
    let first = world.store.submit(keyed.clone()).await.unwrap();
    submit(of("org:acme"), 7).await.unwrap_err();
    let ids = submit(of("org:acme"), 6).await.unwrap();
    let expect = "a queue may hold 20 jobs, 10 of one namespace, and batches does hold those of org:acme: submit it again when \
                  executors have taken some, or cancel what is not needed";
    assert_eq!(refused("org:acme").await.to_string(), expect);
    assert_eq!(world.store.submit(keyed).await.unwrap(), first, "that is there already");
    submit(NewJob { owner: "org:acme".to_owned(), ..new_job("codeintel") }, 1).await.unwrap();

    world.store.cancel(ids[0], somebody()).await.unwrap();
    when_there_is_room(&world, &of("org:acme")).await;
    submit(of("user:bob"), 8).await.unwrap();
    let told = refused("user:bob").await;
    assert!(matches!(told, StoreError::QueueReserved { limit: 18, total: 20, .. }), "{told:?}");
    when_there_is_room(&world, &of("")).await;
    when_there_is_room(&world, &of("")).await;
    let told = refused("").await;
    assert!(matches!(told, StoreError::QueueFull { limit: 20, .. }), "{told:?}");
}

async fn submit_when_there_is_room(world: &World) -> JobId {
    when_there_is_room(world, &new_job("batches")).await
}

/// That a queue is full may be believed for a moment after it was so.
async fn when_there_is_room(world: &World, job: &NewJob) -> JobId {
    let begun = Instant::now();
    loop {
        match world.store.submit(job.clone()).await {
            Ok(id) => return id,
            Err(fault) => assert!(begun.elapsed() < Duration::from_secs(20), "{fault}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
