//! Claims that never reached their executor.

use super::secrets::shown;
use super::world::{Setup, World, lease, repository_job, somebody};
use jobs::state::MAX_FREE_CLAIMS;
use jobs::{EndReason, Lease, Rejected, State};
use store::{Change, Finish, StoreError};

fn refused<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    let fault = result.unwrap_err();
    assert!(matches!(fault, StoreError::Rejected(Rejected::LeaseLost)), "{fault:?}");
}

pub(crate) async fn a_released_job_is_queued_again_free_of_charge(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let job = repository_job();
    let secrets = job.spec.secrets.clone();
    let id = world.store.submit(job).await.unwrap();
    let queued = world.store.job(id).await.unwrap();
    world.advance(5);
    let claimed = world.claim("exec-1").await.unwrap();
    let mut changes = world.store.changes();
    let released = world.store.release(id, &lease(&claimed)).await.unwrap();
    assert_eq!((released.record.state, released.record.epoch), (State::Queued, 1));
    assert_eq!((released.record.resets, released.record.failures), (0, 0));
    assert_eq!((released.queued_at, released.started_at), (queued.queued_at, None));
    assert_eq!((released.end, released.message), (None, None));
    assert_eq!(
        changes.recv().await.unwrap(),
        Change::Queued("batches".to_owned()),
        "somebody may wait for it"
    );
    let again = world.claim("exec-2").await.unwrap();
    assert_eq!((again.job.id, again.job.record.epoch, shown(&again.secrets)), (id, 2, secrets));
}

pub(crate) async fn a_released_lease_is_dead(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, old, claimed) = world.running().await;
    world.store.release(id, &old).await.unwrap();
    // Before the next claim and after it, also by the same executor.
    for next in [None, Some("exec-1")] {
        if let Some(executor) = next {
            world.claim(executor).await.unwrap();
        }
        assert_eq!(world.store.job_by_token(&claimed.token).await.unwrap(), None);
        refused(world.store.finish(id, &old, Finish::Complete).await);
        refused(world.store.add_log_entry(id, &old, world.entry("late")).await);
        refused(world.append(id, &old, 1, 0, "late").await);
        refused(world.store.release(id, &old).await);
        let known = world.store.heartbeat("exec-1", &[id], super::world::LEASE).await.unwrap().known;
        assert_eq!(known.is_empty(), next.is_none());
    }
    assert_eq!(world.store.job(id).await.unwrap().record.state, State::Processing);
}

pub(crate) async fn only_the_current_lease_is_released(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    refused(world.store.release(id, &Lease { epoch: 2, ..lease.clone() }).await);
    refused(world.store.release(id, &Lease { executor: "exec-2".to_owned(), ..lease.clone() }).await);
    world.store.finish(id, &lease, Finish::Complete).await.unwrap();
    refused(world.store.release(id, &lease).await);
    assert_eq!(world.store.job(id).await.unwrap().record.state, State::Completed);
    let unknown = world.store.release(jobs::JobId(99), &lease).await;
    assert!(matches!(unknown, Err(StoreError::UnknownJob(_))), "{unknown:?}");
}

pub(crate) async fn a_canceled_job_that_is_released_is_canceled(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    world.store.cancel(id, somebody()).await.unwrap();
    let released = world.store.release(id, &lease).await.unwrap();
    assert_eq!((released.record.state, released.message), (State::Canceled, None));
    assert_eq!(released.end, Some(EndReason::Canceled(somebody()).detail()));
}

pub(crate) async fn a_job_that_never_arrives_has_failed_in_the_end(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let id = world.submit("batches").await;
    let mut claims = 0;
    while let Some(claimed) = world.claim("exec-1").await {
        claims += 1;
        world.store.release(id, &lease(&claimed)).await.unwrap();
    }
    assert_eq!(claims, MAX_FREE_CLAIMS + 4);
    let job = world.store.job(id).await.unwrap();
    assert_eq!(
        (job.record.state, job.end),
        (State::Failed, Some(EndReason::ExecutorLost { lease: None }.detail()))
    );
    assert!(job.message.is_some());
}
