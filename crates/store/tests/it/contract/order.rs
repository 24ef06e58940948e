//! Which job is next, and for whom.

use super::world::{ALL_QUEUES, Setup, World, asking, errored, lease, new_job};
use jobs::dispatch::{MAX_PRIORITY, rank};
use jobs::{Capacity, Isolation, JobId};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeSet;
use store::{Asking, NewJob};

async fn submit(world: &World, change: impl FnOnce(&mut NewJob)) -> JobId {
    let mut job = new_job("batches");
    change(&mut job);
    world.store.submit(job).await.unwrap()
}

pub(crate) async fn a_priority_counts_as_waiting(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let low = submit(&world, |job| job.spec.priority = -1).await;
    let plain = submit(&world, |_| {}).await;
    let high = submit(&world, |job| job.spec.priority = 2).await;
    assert_eq!(world.store.job(high).await.unwrap().priority, 2);
    world.advance(6 * 60);
    let late = submit(&world, |_| {}).await;
    let given = world.given(&asking(&ALL_QUEUES, "exec-1")).await;
    assert_eq!(given, [high, plain, low, late], "the low one has waited for longer than its level is worth");
}

pub(crate) async fn owners_take_turns(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let mut of_ann = Vec::new();
    for _ in 0..4 {
        of_ann.push(submit(&world, |job| "ann".clone_into(&mut job.owner)).await);
        world.advance(1);
    }
    let of_bob = submit(&world, |job| "bob".clone_into(&mut job.owner)).await;
    let of_cyd = submit(&world, |job| "cyd".clone_into(&mut job.owner)).await;
    let given = world.given(&asking(&ALL_QUEUES, "exec-1")).await;
    assert_eq!(given, [of_ann[0], of_bob, of_cyd, of_ann[1], of_ann[2], of_ann[3]]);
}

pub(crate) async fn a_job_goes_only_where_it_has_what_it_needs(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let large = submit(&world, |job| job.spec.needs.memory = Some(8 << 30)).await;
    let isolated = submit(&world, |job| job.spec.needs.isolation = Some(Isolation::Vm)).await;
    let labelled = submit(&world, |job| job.spec.needs.labels = BTreeSet::from(["gpu".to_owned()])).await;
    let plain = submit(&world, |_| {}).await;
    let with = |capacity| Asking { capacity, ..asking(&ALL_QUEUES, "exec-1") };
    let small =
        Capacity { memory: Some(4 << 30), isolation: Some(Isolation::Container), ..Capacity::default() };
    assert_eq!(world.given(&with(small)).await, [plain], "it does not wait behind what can't run there");
    let gpu = Capacity {
        memory: Some(4 << 30),
        labels: BTreeSet::from(["gpu".to_owned(), "fast".to_owned()]),
        ..Capacity::default()
    };
    assert_eq!(world.given(&with(gpu)).await, [labelled]);
    let vm = Capacity { isolation: Some(Isolation::Vm), ..Capacity::default() };
    assert_eq!(world.given(&with(vm)).await, [large, isolated], "what is not told is enough");
}

pub(crate) async fn several_jobs_are_given_at_once(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let mut jobs = Vec::new();
    for owner in ["ann", "ann", "ann", "ann", "ann", "bob"] {
        let mut job = new_job("batches");
        owner.clone_into(&mut job.owner);
        jobs.push(job);
    }
    let ids = world.store.submit_all(jobs).await.unwrap();
    let asking = Asking { most: 4, ..asking(&ALL_QUEUES, "exec-1") };
    let claimed = world.store.claim(&asking).await.unwrap();
    let given: Vec<JobId> = claimed.iter().map(|claimed| claimed.job.id).collect();
    assert_eq!(
        given,
        [ids[0], ids[1], ids[5], ids[2]],
        "half to each owner, and what is left to who has more"
    );
    let tokens: BTreeSet<&str> = claimed.iter().map(|claimed| claimed.token.as_str()).collect();
    assert_eq!(tokens.len(), 4);
    assert_eq!(world.store.claim(&asking).await.unwrap().len(), 2);
    assert!(world.store.claim(&asking).await.unwrap().is_empty());
}

/// A retry, a stall and a release put a job back to where it was.
pub(crate) async fn what_comes_back_is_where_it_was(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let first = submit(&world, |_| {}).await;
    world.advance(1);
    let second = submit(&world, |_| {}).await;
    let lease = lease(&world.claim("exec-1").await.unwrap());
    assert_eq!(world.claim("exec-1").await.unwrap().job.id, second);
    assert!(world.claim("exec-1").await.is_none(), "the queue is known to be empty now");
    world.store.release(first, &lease).await.unwrap();
    assert_eq!(world.claim("exec-1").await.unwrap().job.id, first);
    let third = submit(&world, |_| {}).await;
    world.stall_all().await;
    assert_eq!(world.given(&asking(&ALL_QUEUES, "exec-2")).await, [first, second, third]);
}

/// Lanes of which more than one query has to be made.
const MANY_LANES: u64 = 200;

fn in_lane(lane: u64) -> NewJob {
    let mut job = new_job("batches");
    job.spec.needs.memory = Some((4 << 30) + lane);
    job
}

/// However many lanes there are, an owner's jobs go by rank.
pub(crate) async fn many_lanes_are_like_one(open: impl AsyncFn(Setup) -> World) {
    let priority = -MAX_PRIORITY..=MAX_PRIORITY;
    let job = (0..MANY_LANES, 0_i64..90, priority);
    let jobs = proptest::collection::vec(job, 210..230);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    for _ in 0..2 {
        let mut jobs = jobs.new_tree(&mut runner).unwrap().current();
        let world = open(Setup::default()).await;
        let (begin, mut ranks) = (world.now(), BTreeSet::new());
        jobs.sort_unstable_by_key(|(_, minute, _)| *minute);
        for (lane, minute, priority) in jobs {
            let now = begin + jiff::SignedDuration::from_mins(minute);
            world.advance(now.duration_since(world.now()).as_secs());
            let mut job = in_lane(lane);
            job.spec.priority = priority;
            ranks.insert((rank(now, priority), world.store.submit(job).await.unwrap()));
        }
        let sorted: Vec<JobId> = ranks.into_iter().map(|(_, id)| id).collect();
        assert_eq!(world.given(&asking(&ALL_QUEUES, "exec-1")).await, sorted);
    }
}

/// Lanes whose jobs all wait for another try don't hide what can be claimed.
pub(crate) async fn lanes_that_wait_hide_no_others(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for lane in 0..MANY_LANES {
        world.store.submit(in_lane(lane)).await.unwrap();
    }
    while let Some(claimed) = world.claim("exec-1").await {
        world.store.finish(claimed.job.id, &lease(&claimed), errored()).await.unwrap();
    }
    let id = world.store.submit(in_lane(MANY_LANES)).await.unwrap();
    assert_eq!(world.given(&asking(&ALL_QUEUES, "exec-2")).await, [id]);
}

/// Needs that no job has any more take no room for ever.
pub(crate) async fn lanes_without_jobs_are_forgotten(open: impl AsyncFn(Setup) -> World) {
    const LANES: u64 = 270;
    let world = open(Setup::default()).await;
    let all = || (0..LANES).map(in_lane).collect::<Vec<_>>();
    let mut delayed = in_lane(LANES);
    delayed.spec.not_before = Some(world.now() + jiff::SignedDuration::from_secs(60));
    let delayed = world.store.submit(delayed).await.unwrap();
    world.store.submit_all(all()).await.unwrap();
    assert_eq!(world.store.forget_lanes().await.unwrap(), 0, "jobs wait in them");
    let mut left = Vec::new();
    while let Some(claimed) = world.claim("exec-1").await {
        left.push(claimed);
    }
    assert_eq!(
        (left.len() as u64, world.store.forget_lanes().await.unwrap()),
        (LANES, 0),
        "jobs may come back"
    );
    let (running, queued, waiting) = (left.remove(9), left.remove(7), left.remove(5));
    world.store.finish(waiting.job.id, &lease(&waiting), errored()).await.unwrap();
    world.store.release(queued.job.id, &lease(&queued)).await.unwrap();
    for claimed in left {
        world.store.finish(claimed.job.id, &lease(&claimed), store::Finish::Complete).await.unwrap();
    }
    assert_eq!(world.store.forget_lanes().await.unwrap(), LANES + 1 - 4);
    assert_eq!(world.store.forget_lanes().await.unwrap(), 0);
    // What comes back does so where it was, and what is submitted again makes its lane anew.
    world.store.release(running.job.id, &lease(&running)).await.unwrap();
    let again = world.store.submit_all(all()).await.unwrap();
    world.advance(60);
    assert_eq!(world.store.release_due().await.unwrap(), 1);
    let given: BTreeSet<JobId> = world.given(&asking(&ALL_QUEUES, "exec-2")).await.into_iter().collect();
    let first = [delayed, running.job.id, queued.job.id, waiting.job.id];
    assert_eq!(given, first.into_iter().chain(again).collect());
}
