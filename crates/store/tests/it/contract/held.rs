//! Jobs that wait for something before they can be claimed.

use super::world::{ALL_QUEUES, Setup, World, asking, errored, lease, new_job, somebody};
use jiff::SignedDuration;
use jobs::{Concurrency, JobId};
use store::{Finish, Hold};

pub(crate) async fn a_job_is_not_run_before_its_time(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let due = world.now() + SignedDuration::from_secs(60);
    let mut job = new_job("batches");
    job.spec.not_before = Some(due);
    let later = world.store.submit(job.clone()).await.unwrap();
    job.spec.not_before = Some(world.now());
    let at_once = world.store.submit(job).await.unwrap();
    assert_eq!(world.store.job(later).await.unwrap().hold, Some(Hold::Until(due)));
    assert_eq!(world.given(&asking(&ALL_QUEUES, "exec-1")).await, [at_once]);
    world.advance(59);
    assert_eq!(world.store.release_due().await.unwrap(), 0);
    world.advance(1);
    assert_eq!(world.store.release_due().await.unwrap(), 1);
    assert_eq!(world.store.job(later).await.unwrap().hold, None);
    assert_eq!(world.given(&asking(&ALL_QUEUES, "exec-1")).await, [later]);
    assert_eq!(world.store.release_due().await.unwrap(), 0);
}

async fn keyed(world: &World, owner: &str, limit: u32) -> JobId {
    let mut job = new_job("batches");
    owner.clone_into(&mut job.owner);
    job.spec.concurrency = Some(Concurrency { key: "deploy".to_owned(), limit });
    world.store.submit(job).await.unwrap()
}

pub(crate) async fn only_so_many_jobs_of_a_key_run_at_once(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(keyed(&world, "ann", 2).await);
    }
    let of_bob = keyed(&world, "bob", 1).await;
    let holds = async |ids: &[JobId]| {
        let mut holds = Vec::new();
        for id in ids {
            holds.push(world.store.job(*id).await.unwrap().hold.is_some());
        }
        holds
    };
    assert_eq!(holds(&ids).await, [false, false, true, true, true]);
    let asking = asking(&ALL_QUEUES, "exec-1");
    assert_eq!(world.given(&asking).await, [ids[0], of_bob, ids[1]], "each owner has keys of its own");
    let first = world.store.job(ids[0]).await.unwrap().record;
    let lease = jobs::Lease { epoch: first.epoch, executor: "exec-1".to_owned() };

    // A try that will be followed by another keeps the place.
    world.store.finish(ids[0], &lease, errored()).await.unwrap();
    assert_eq!(holds(&ids).await, [false, false, true, true, true]);
    world.advance(30);
    assert_eq!(world.given(&asking).await, [ids[0]]);
    let lease = jobs::Lease { epoch: 2, ..lease };
    world.store.finish(ids[0], &lease, Finish::Complete).await.unwrap();
    assert_eq!(world.given(&asking).await, [ids[2]]);

    // What waits can be canceled, and one that has a place hands it on.
    world.store.cancel(ids[3], somebody()).await.unwrap();
    assert_eq!(world.given(&asking).await, []);
    world.store.cancel(ids[1], somebody()).await.unwrap();
    let second = jobs::Lease { epoch: 1, executor: "exec-1".to_owned() };
    world.store.finish(ids[1], &second, Finish::Complete).await.unwrap();
    assert_eq!(world.given(&asking).await, [ids[4]]);
}

pub(crate) async fn a_job_whose_time_has_come_waits_for_its_key(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let first = keyed(&world, "", 1).await;
    let mut job = new_job("batches");
    job.spec.concurrency = Some(Concurrency { key: "deploy".to_owned(), limit: 1 });
    job.spec.not_before = Some(world.now() + SignedDuration::from_secs(5));
    let second = world.store.submit(job).await.unwrap();
    world.advance(5);
    assert_eq!(world.store.release_due().await.unwrap(), 1);
    assert_eq!(world.store.job(second).await.unwrap().hold, Some(Hold::Key));
    let claimed = world.claim("exec-1").await.unwrap();
    assert_eq!(claimed.job.id, first);
    assert!(world.claim("exec-1").await.is_none());
    world.store.finish(first, &lease(&claimed), Finish::Complete).await.unwrap();
    assert_eq!(world.claim("exec-1").await.unwrap().job.id, second);
}

/// Ends that come at the same time hand on each place once.
pub(crate) async fn places_are_handed_on_once(open: impl AsyncFn(Setup) -> World) {
    const JOBS: usize = 24;
    let world = open(Setup::default()).await;
    for _ in 0..JOBS {
        keyed(&world, "", 3).await;
    }
    let asking = store::Asking { most: 10, ..asking(&ALL_QUEUES, "exec-1") };
    let mut done = 0;
    while done < JOBS {
        let claimed = world.store.claim(&asking).await.unwrap();
        assert!((1..=3).contains(&claimed.len()), "{} of {done} done", claimed.len());
        let ends = claimed.iter().enumerate().map(async |(index, claimed)| {
            let (id, lease) = (claimed.job.id, lease(claimed));
            if index == 1 {
                let _ = world.store.cancel(id, somebody()).await;
            }
            world.store.finish(id, &lease, Finish::Complete).await.unwrap();
        });
        done += futures_util::future::join_all(ends).await.len();
    }
    assert!(world.store.claim(&asking).await.unwrap().is_empty());
}

/// A job with a low limit is not passed over for ever by those with a higher one.
pub(crate) async fn who_waits_for_a_place_is_before_who_comes_later(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let asking = asking(&ALL_QUEUES, "exec-1");
    let first = keyed(&world, "", 3).await;
    let low = keyed(&world, "", 1).await;
    let high = keyed(&world, "", 3).await;
    let claimed = world.claim("exec-1").await.unwrap();
    assert_eq!((claimed.job.id, world.given(&asking).await), (first, vec![]));
    world.store.finish(first, &lease(&claimed), Finish::Complete).await.unwrap();
    assert_eq!(world.given(&asking).await, [low, high]);
    assert_eq!(world.store.hand_on_places().await.unwrap(), 0, "no place is left over");
}
