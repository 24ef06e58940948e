//! Submissions that may be made again, and several at once.

use super::world::{ALL_QUEUES, Setup, World, asking, lease, new_job, repository_job};
use jiff::SignedDuration;
use jobs::{Concurrency, FileSpec, JobId, JobSpec, Namespace};
use std::collections::BTreeSet;
use store::{Hold, JobFilter, NewFile, NewJob, StoreError};

fn with_key(owner: &str, key: &str) -> NewJob {
    NewJob { owner: owner.to_owned(), idempotency_key: Some(key.to_owned()), ..new_job("batches") }
}

pub(crate) async fn a_submission_that_is_made_again_is_the_same(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let first = world.store.submit(with_key("ann", "k1")).await.unwrap();
    assert_eq!(world.store.submit(with_key("ann", "k1")).await.unwrap(), first);
    let moved = NewJob { commit: "1".repeat(40), ..with_key("ann", "k1") };
    assert_eq!(world.store.submit(moved).await.unwrap(), first, "where a branch is now does not matter");
    let others = [with_key("ann", "k2"), with_key("bob", "k1"), new_job("batches"), new_job("batches")];
    let mut ids = BTreeSet::from([first]);
    for other in others {
        ids.insert(world.store.submit(other).await.unwrap());
    }
    assert_eq!(ids.len(), 5);
    let mut changed = with_key("ann", "k1");
    changed.spec.priority = 1;
    let refused = world.store.submit(changed).await;
    assert!(matches!(&refused, Err(StoreError::KeyReused { job, .. }) if *job == first), "{refused:?}");
}

/// It is counted from the first time, by the clock of the store.
pub(crate) async fn a_delay_made_again_is_the_same(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let mut job = with_key("ann", "k1");
    job.spec.delay_seconds = Some(60);
    let due = world.now() + SignedDuration::from_secs(60);
    let id = world.store.submit(job.clone()).await.unwrap();
    world.advance(10);
    assert_eq!(world.store.submit(job.clone()).await.unwrap(), id);
    assert_eq!(submitted(&world, "ann", &job.spec).await.unwrap(), Some(id));
    assert_eq!(world.store.job(id).await.unwrap().hold, Some(Hold::Until(due)));
    let kept = world.store.spec(id).await.unwrap();
    assert_eq!((kept.not_before, kept.delay_seconds), (Some(due), None), "servers of all versions read it");
    world.advance(49);
    assert_eq!(world.store.release_due().await.unwrap(), 0);
    world.advance(1);
    assert_eq!(world.store.release_due().await.unwrap(), 1);
    job.spec.delay_seconds = Some(61);
    let longer = world.store.submit(job).await;
    assert!(matches!(longer, Err(StoreError::KeyReused { .. })), "{longer:?}");
}

/// Before what it names is looked up, and with what is only known then.
pub(crate) async fn what_was_submitted_is_found_by_what_came_in(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, sha256) = ("0".repeat(32), "0".repeat(64));
    let file = NewFile {
        id: id.clone(),
        name: "a".into(),
        size: 1,
        sha256,
        modified_at: world.now(),
        namespace: Namespace::Global,
        object: None,
    };
    world.store.add_file(file).await.unwrap();
    let mut job = with_key("ann", "k1");
    job.spec.files = vec![FileSpec { path: "a".to_owned(), upload: Some(id), ..FileSpec::default() }];
    let came_in = job.spec.clone();
    assert_eq!(submitted(&world, "ann", &came_in).await.unwrap(), None);
    job.spec.files[0].modified_at = Some(world.now());
    let id = world.store.submit(job).await.unwrap();
    assert_eq!(submitted(&world, "ann", &came_in).await.unwrap(), Some(id));
    assert_eq!(submitted(&world, "bob", &came_in).await.unwrap(), None);
    let other = submitted(&world, "ann", &new_job("batches").spec).await;
    assert!(matches!(other, Err(StoreError::KeyReused { .. })), "{other:?}");
    let several = [("k2", &came_in), ("k1", &came_in), ("k1", &new_job("batches").spec)];
    let several = world.store.submitted("ann", &several).await.unwrap();
    let [Ok(None), Ok(Some(found)), Err(StoreError::KeyReused { .. })] = several[..] else {
        panic!("{several:?}")
    };
    assert_eq!(found, id);
    assert!(world.store.submitted("ann", &[]).await.unwrap().is_empty());
}

/// The job that came of the key `k1`.
async fn submitted(world: &World, owner: &str, spec: &JobSpec) -> Result<Option<JobId>, StoreError> {
    world.store.submitted(owner, &[("k1", spec)]).await.unwrap().pop().unwrap()
}

pub(crate) async fn several_that_may_be_made_again_are_all_of_them_or_none(
    open: impl AsyncFn(Setup) -> World,
) {
    // What is there takes no room of the namespace's, nor of the queue's.
    let world = open(Setup { max_queued: 330, ..Setup::default() }).await;
    let keyed = |keys: std::ops::Range<usize>| -> Vec<NewJob> {
        keys.map(|n| with_key("user:ann", &format!("k{n}"))).collect()
    };
    let ids = world.store.submit_all(keyed(0..100)).await.unwrap();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 100);
    let more = world.store.submit_all(keyed(50..150)).await.unwrap();
    assert_eq!(more[..50], ids[50..], "these were there");
    assert!(more[50..].iter().all(|id| !ids.contains(id)));
    let mut changed = keyed(150..200);
    changed.push(with_key("user:ann", "k7"));
    changed[50].spec.priority = 1;
    let refused = world.store.submit_all(changed).await;
    assert!(matches!(&refused, Err(StoreError::KeyReused { key, .. }) if key == "k7"), "{refused:?}");
    let specs = [("k150", &new_job("batches").spec)];
    assert!(
        matches!(world.store.submitted("user:ann", &specs).await.unwrap()[..], [Ok(None)]),
        "none was kept"
    );
    let again = world.store.submit_all(keyed(0..150)).await.unwrap();
    assert_eq!(again, [&ids[..], &more[50..]].concat(), "what is there takes no room");
}

/// Whichever way round they name them.
pub(crate) async fn several_that_race_are_made_once(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for round in 0..5 {
        let submit = async |nth: usize| {
            let mut jobs: Vec<NewJob> = (0..20).map(|n| with_key("", &format!("r{round}-{n}"))).collect();
            if nth.is_multiple_of(2) {
                jobs.reverse();
            }
            let mut ids = world.store.submit_all(jobs).await.unwrap();
            if nth.is_multiple_of(2) {
                ids.reverse();
            }
            ids
        };
        let made = futures_util::future::join_all((0..4).map(submit)).await;
        assert!(made.iter().all(|ids| *ids == made[0]), "{made:?}");
    }
}

pub(crate) async fn submissions_that_race_are_one(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for round in 0..10 {
        let key = format!("k{round}");
        let made =
            futures_util::future::join_all((0..6).map(|_| world.store.submit(with_key("", &key)))).await;
        let ids: BTreeSet<_> = made.iter().map(|made| *made.as_ref().unwrap()).collect();
        assert_eq!(ids.len(), 1, "{made:?}");
    }
}

pub(crate) async fn jobs_of_every_kind_are_submitted_together(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let keyed = || {
        let mut job = new_job("batches");
        job.spec.concurrency = Some(Concurrency { key: "deploy".to_owned(), limit: 1 });
        job
    };
    let jobs = vec![
        new_job("batches"),
        keyed(),
        keyed(),
        repository_job(),
        with_key("", "k1"),
        with_key("", "k1"),
        new_job("codeintel"),
    ];
    let ids = world.store.submit_all(jobs).await.unwrap();
    assert_eq!(ids[4], ids[5], "the same submission twice");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 6);
    assert_eq!(world.store.job(ids[1]).await.unwrap().hold, None);
    assert_eq!(world.store.job(ids[2]).await.unwrap().hold, Some(Hold::Key));
    assert_eq!(world.store.job(ids[3]).await.unwrap().repo.as_deref(), Some("github.com/acme/app"));
    assert!(world.store.spec(ids[3]).await.unwrap().secrets.is_empty());
    let given = world.given(&asking(&ALL_QUEUES, "exec-1")).await;
    assert_eq!(given, [ids[0], ids[1], ids[3], ids[4], ids[6]]);
    let next = world.submit("batches").await;
    assert!(ids.iter().all(|id| *id < next));
}

pub(crate) async fn several_are_submitted_together_or_none(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup { max_queued: 5, ..Setup::default() }).await;
    let three = || (0..3).map(|_| new_job("batches")).collect::<Vec<_>>();
    let ids = world.store.submit_all(three()).await.unwrap();
    assert!(ids.is_sorted() && ids.len() == 3);
    let refused = world.store.submit_all(three()).await;
    assert!(matches!(refused, Err(StoreError::QueueFull { .. })), "{refused:?}");
    let filter = JobFilter { limit: 10, ..JobFilter::default() };
    assert_eq!(world.store.jobs(filter).await.unwrap().len(), 3);
    assert_eq!(world.store.submit_all(Vec::new()).await.unwrap(), []);
}

/// Those that come at the same time may share a transaction; what is wrong with one is nothing to the others.
pub(crate) async fn what_is_wrong_with_one_is_nothing_to_others(open: impl AsyncFn(Setup) -> World) {
    const JOBS: usize = 40;
    let world = open(Setup::default()).await;
    let submit = async |n: usize| {
        let mut job = new_job(ALL_QUEUES[n % 2]);
        job.spec.needs.memory = Some((n as u64 % 5 + 1) << 30);
        if n % 10 == 3 {
            let upload = Some("0".repeat(32));
            job.spec.files = vec![FileSpec { path: "a".to_owned(), upload, ..FileSpec::default() }];
        }
        world.store.submit(job).await
    };
    let submitted = futures_util::future::join_all((0..JOBS).map(submit)).await;
    for (n, submitted) in submitted.iter().enumerate() {
        match submitted {
            Ok(_) => assert_ne!(n % 10, 3),
            Err(fault) => assert!(n % 10 == 3 && matches!(fault, StoreError::UnknownFile(_)), "{fault:?}"),
        }
    }
    let ids: BTreeSet<_> = submitted.into_iter().flatten().collect();
    assert_eq!(ids.len(), JOBS - 4);
    let asking = store::Asking { most: 100, ..asking(&ALL_QUEUES, "exec-1") };
    let claimed = world.store.claim(&asking).await.unwrap();
    assert_eq!(claimed.iter().map(|claimed| claimed.job.id).collect::<BTreeSet<_>>(), ids);
    let finish = async |(n, claimed): (usize, &store::Claimed)| {
        let mut lease = lease(claimed);
        lease.epoch += u32::from(n % 10 == 3);
        world.store.finish(claimed.job.id, &lease, store::Finish::Complete).await
    };
    let finished = futures_util::future::join_all(claimed.iter().enumerate().map(finish)).await;
    for (n, (claimed, finished)) in claimed.iter().zip(finished).enumerate() {
        match finished {
            Ok(job) => assert_eq!((job.id, n % 10 == 3), (claimed.job.id, false)),
            Err(fault) => assert!(n % 10 == 3 && matches!(fault, StoreError::Rejected(_)), "{fault:?}"),
        }
    }
}
