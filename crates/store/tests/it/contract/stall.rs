//! Executors that fall silent.

use super::world::{LEASE, Setup, World, asking, lease, somebody};
use jiff::SignedDuration;
use jobs::{EndReason, Judgement, Rejected, State};
use std::time::Duration;
use store::{Asking, Finish, StoreError};

pub(crate) async fn a_stalled_job_is_queued_again(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, _, first) = world.running().await;
    let reset = world.stall_all().await;
    assert_eq!(reset.len(), 1);
    let row = &reset[0];
    assert_eq!((row.id, row.record.state, row.record.resets), (id, State::Queued, 1));
    assert_eq!((row.queued_at, row.started_at), (world.now(), None));
    assert_eq!(world.store.job_by_token(&first.token).await.unwrap(), None);
    let second = world.claim("exec-2").await.unwrap();
    assert_eq!((second.job.id, second.job.record.epoch), (id, 2));
}

pub(crate) async fn after_the_last_reset_a_job_has_failed(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let id = world.submit("batches").await;
    for resets in 1..=3 {
        world.claim("exec-1").await.unwrap();
        let row = &world.stall_all().await[0];
        assert_eq!((row.record.state, row.record.resets), (State::Queued, resets));
    }
    world.claim("exec-1").await.unwrap();
    let row = &world.stall_all().await[0];
    assert_eq!((row.id, row.record.state), (id, State::Failed));
    assert_eq!(row.end, Some(EndReason::ExecutorLost { lease: Some(LEASE) }.detail()));
    let message = "job processor died while handling this message too many times";
    assert_eq!(row.message.as_deref(), Some(message));
    assert_eq!(row.finished_at, Some(world.now()));
    assert!(world.claim("exec-1").await.is_none());
}

pub(crate) async fn a_canceled_job_that_stalls_is_canceled(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, ..) = world.running().await;
    world.store.cancel(id, somebody()).await.unwrap();
    let row = &world.stall_all().await[0];
    assert_eq!((row.record.state, &row.message), (State::Canceled, &None));
    assert_eq!(row.end, Some(EndReason::Canceled(somebody()).detail()));
}

pub(crate) async fn only_silent_jobs_stall(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (silent, ..) = world.running().await;
    world.advance(10);
    world.running().await;
    world.submit("batches").await;
    world.advance(16);
    let reset = world.store.reset_stalled(world.judgement()).await.unwrap();
    assert_eq!(reset.iter().map(|job| job.id).collect::<Vec<_>>(), [silent]);
    assert!(world.store.reset_stalled(world.judgement()).await.unwrap().is_empty(), "once is enough");
}

pub(crate) async fn a_lease_lasts_as_long_as_its_executor_may_have_been_told(
    open: impl AsyncFn(Setup) -> World,
) {
    let world = open(Setup::default()).await;
    let id = world.submit("batches").await;
    let seconds = Duration::from_secs;
    let claim = async |executor, lease| {
        let asking = Asking { lease, ..asking(&["batches"], executor) };
        assert_eq!(world.store.claim(&asking).await.unwrap().len(), 1);
    };
    claim("exec-1", seconds(90)).await;
    let stalled = async || !world.store.reset_stalled(world.judgement()).await.unwrap().is_empty();
    let renewed = async |lease| {
        world.store.heartbeat("exec-1", &[id], seconds(lease)).await.unwrap();
    };
    world.advance(90);
    assert!(!stalled().await, "it is just there");
    renewed(30).await;
    world.advance(90);
    assert!(!stalled().await, "it may not have heard of the shorter one");
    renewed(120).await;
    world.advance(120);
    assert!(!stalled().await, "it may have heard of the longer one");
    world.advance(1);
    let attentive_since = world.now() - SignedDuration::from_secs(119);
    let late = Judgement { attentive_since, ..world.judgement() };
    assert!(world.store.reset_stalled(late).await.unwrap().is_empty(), "nobody has listened for so long");
    assert!(stalled().await);
    claim("exec-2", seconds(10)).await;
    world.advance(11);
    assert!(stalled().await, "the next claim has a lease of its own");
}

/// A server that ran before, or runs beside it, may have given a lease of 3 s, whose holder ends its job 600 ms before.
pub(crate) async fn shorter_leases_of_others_last_as_much_longer_as_the_clock_may_be_wrong(
    open: impl AsyncFn(Setup) -> World,
) {
    let world = open(Setup::default()).await;
    for (lease, lasts) in [(3_000, 3_700), (5_000, 5_500), (10_000, 10_000), (90_000, 90_000)] {
        let id = world.submit("batches").await;
        let asking =
            Asking { lease: Duration::from_millis(lease), ..asking(&["batches"], &format!("exec-{lease}")) };
        assert_eq!(world.store.claim(&asking).await.unwrap().len(), 1);
        let claimed_at = world.now();
        let stalled = async |after, attentive| {
            let at = |millis| claimed_at + SignedDuration::from_millis(millis);
            let judgement = Judgement { now: at(after), attentive_since: at(attentive), era: None };
            world.store.reset_stalled(judgement).await.unwrap().len()
        };
        assert_eq!(stalled(lasts, 0).await, 0, "{lease} ms, which is just over");
        assert_eq!(stalled(lasts + 1, 2).await, 0, "{lease} ms, and nobody has listened for so long");
        assert_eq!(stalled(lasts + 1, 1).await, 1, "{lease} ms");
        world.store.cancel(id, somebody()).await.unwrap();
    }
}

pub(crate) async fn an_old_lease_opens_nothing(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, old, _) = world.running().await;
    world.stall_all().await;
    let refused = |error: Option<StoreError>| {
        assert!(matches!(error, Some(StoreError::Rejected(Rejected::LeaseLost))), "{error:?}");
    };
    for claimed_again in [false, true] {
        if claimed_again {
            let current = lease(&world.claim("exec-1").await.unwrap());
            world.open_entry(id, &current, "current").await;
        }
        let before = world.store.job(id).await.unwrap().record;
        let other = jobs::Lease { epoch: before.epoch, executor: "exec-2".to_owned() };
        for lease in [&old, &other] {
            refused(world.store.finish(id, lease, Finish::Complete).await.err());
            refused(world.store.add_log_entry(id, lease, world.entry("late")).await.err());
            refused(world.store.put_log_entry(id, lease, 1, world.entry("late")).await.err());
            refused(world.append(id, lease, 1, 0, "late").await.err());
        }
        assert_eq!(world.store.job(id).await.unwrap().record, before);
    }
    assert_eq!(world.text(id, 2, 1).await, "current");
    assert!(world.store.log_entries(id, Some(1)).await.unwrap().is_empty());
}
