//! Trying again after a bad end.

use super::world::{Setup, World, errored, lease, repository_job};
use jobs::{EndReason, Rejected, State};
use store::{Finish, StoreError};

pub(crate) async fn an_errored_job_waits_for_its_delay(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::with_failures(3)).await;
    let (id, first, _) = world.running().await;
    let row = world.store.finish(id, &first, errored()).await.unwrap();
    assert_eq!(row.record.state, State::Errored);
    assert_eq!(row.end, Some(EndReason::Sandbox.detail()));

    world.advance(9);
    assert!(world.claim("exec-1").await.is_none());
    let younger = world.submit("batches").await;
    world.advance(1);
    let second = world.claim("exec-2").await.unwrap();
    assert_eq!((second.job.id, second.job.record.epoch), (id, 2), "older than {younger}, and due");
    let late = world.store.finish(id, &first, Finish::Complete).await;
    assert!(matches!(late, Err(StoreError::Rejected(Rejected::LeaseLost))), "{late:?}");
}

pub(crate) async fn retries_run_out(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::with_failures(2)).await;
    let (id, first, _) = world.running().await;
    world.store.finish(id, &first, errored()).await.unwrap();
    world.advance(10);
    let second = lease(&world.claim("exec-1").await.unwrap());
    let row = world.store.finish(id, &second, errored()).await.unwrap();
    assert_eq!((row.record.state, row.record.failures), (State::Failed, 2));
    world.advance(1_000);
    assert!(world.claim("exec-1").await.is_none());
}

pub(crate) async fn a_retry_keeps_the_secrets_and_clears_the_end(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::with_failures(2)).await;
    let job = repository_job();
    let secrets = job.spec.secrets.clone();
    let id = world.store.submit(job).await.unwrap();
    let first = world.claim("exec-1").await.unwrap();
    world.store.finish(id, &lease(&first), errored()).await.unwrap();
    assert_eq!(world.store.job_by_token(&first.token).await.unwrap(), None);
    world.advance(10);
    let second = world.claim("exec-1").await.unwrap();
    assert_eq!(second.secrets, secrets);
    assert_eq!((second.job.end, second.job.message, second.job.finished_at), (None, None, None));
}
