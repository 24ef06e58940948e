//! Stopping jobs on request.

use super::world::{Setup, World, errored, failed, somebody};
use jobs::{Canceler, EndReason, Rejected, State};
use store::{Finish, StoreError};

pub(crate) async fn a_queued_job_is_canceled_at_once(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let id = world.submit("batches").await;
    let row = world.store.cancel(id, somebody()).await.unwrap();
    assert_eq!(row.record.state, State::Canceled);
    assert_eq!(row.end, Some(EndReason::Canceled(somebody()).detail()));
    assert_eq!(row.finished_at, Some(world.now()));
    assert!(world.claim("exec-1").await.is_none());
}

pub(crate) async fn a_running_job_is_asked_to_stop(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, claimed) = world.running().await;
    let row = world.store.cancel(id, somebody()).await.unwrap();
    assert_eq!((row.record.state, &row.record.canceler), (State::Processing, &Some(somebody())));
    assert_eq!(row.finished_at, None);
    assert_eq!(
        world.store.cancel(id, Canceler::default()).await.unwrap().record,
        row.record,
        "the first one did it"
    );
    assert!(world.store.job_by_token(&claimed.token).await.unwrap().is_some(), "it may still clean up");
    let row = world.store.finish(id, &lease, failed()).await.unwrap();
    assert_eq!(row.record.state, State::Canceled);
    assert_eq!(row.end, Some(EndReason::Canceled(somebody()).detail()));
}

pub(crate) async fn an_errored_job_is_not_tried_again(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::with_failures(3)).await;
    let (id, lease, _) = world.running().await;
    world.store.finish(id, &lease, errored()).await.unwrap();
    let row = world.store.cancel(id, somebody()).await.unwrap();
    assert_eq!(row.record.state, State::Canceled);
    assert_eq!(row.message.as_deref(), Some("no sandbox"), "what went wrong before is worth knowing");
    world.advance(1_000);
    assert!(world.claim("exec-1").await.is_none());
}

pub(crate) async fn ended_jobs_can_not_be_canceled(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (completed, lease, _) = world.running().await;
    world.store.finish(completed, &lease, Finish::Complete).await.unwrap();
    let (broken, lease, _) = world.running().await;
    world.store.finish(broken, &lease, failed()).await.unwrap();
    let canceled = world.submit("batches").await;
    world.store.cancel(canceled, somebody()).await.unwrap();
    let ends = [(completed, State::Completed), (broken, State::Failed), (canceled, State::Canceled)];
    for (id, end) in ends {
        let refused = world.store.cancel(id, somebody()).await;
        let told = matches!(refused, Err(StoreError::Rejected(Rejected::Ended(state))) if state == end);
        assert!(told, "{refused:?}");
    }
}

pub(crate) async fn a_result_that_comes_before_the_cancel_counts(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    world.store.cancel(id, somebody()).await.unwrap();
    let row = world.store.finish(id, &lease, Finish::Complete).await.unwrap();
    assert_eq!(row.record.state, State::Completed);
}
