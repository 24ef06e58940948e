//! Trying again after a bad end.

use super::secrets::shown;
use super::world::{LEASE, Setup, World, charged, errored, exit_code_3, lease, new_job, repository_job};
use jiff::SignedDuration;
use jobs::{EndReason, Rejected, State};
use store::{Change, Finish, StoreError, TryRow};

pub(crate) async fn an_errored_job_waits_for_its_delay(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::with_failures(3)).await;
    let (id, first, _) = world.running().await;
    let row = world.store.finish(id, &first, charged()).await.unwrap();
    assert_eq!((row.record.state, row.record.failures), (State::Errored, 1));
    assert_eq!(row.end, Some(exit_code_3().detail()));
    assert_eq!(row.retry_at, Some(world.now() + SignedDuration::from_secs(10)));

    world.advance(9);
    assert!(world.claim("exec-2").await.is_none());
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
    world.store.finish(id, &first, charged()).await.unwrap();
    world.advance(20);
    let second = lease(&world.claim("exec-1").await.unwrap());
    let row = world.store.finish(id, &second, charged()).await.unwrap();
    assert_eq!((row.record.state, row.record.failures, row.retry_at), (State::Failed, 2, None));
    world.advance(1_000);
    assert!(world.claim("exec-1").await.is_none());
}

/// Each job has its own retries, for failures of its own alone.
pub(crate) async fn a_job_is_tried_again_as_often_as_it_asks(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let mut job = new_job("batches");
    job.spec.retries = 2;
    let id = world.store.submit(job).await.unwrap();
    assert_eq!(world.store.job(id).await.unwrap().retries, 2);
    let mut ended = Vec::new();
    for finish in [charged(), errored(), charged(), charged()] {
        let claimed = world.claim("exec-1").await.unwrap();
        let row = world.store.finish(id, &lease(&claimed), finish).await.unwrap();
        ended.push((row.record.state, row.record.failures, row.record.faults));
        world.advance(60);
    }
    let again = State::Errored;
    assert_eq!(ended, [(again, 1, 0), (again, 1, 1), (again, 2, 1), (State::Failed, 3, 1)]);
    assert!(world.claim("exec-1").await.is_none());
    let (id, held, _) = world.running().await;
    let row = world.store.finish(id, &held, charged()).await.unwrap();
    assert_eq!((row.record.state, row.retries), (State::Failed, 0), "who asks for none gets none");
}

/// It may be a fault of that executor's.
pub(crate) async fn the_executor_that_had_it_comes_last(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, first, _) = world.running().await;
    world.store.finish(id, &first, errored()).await.unwrap();
    world.advance(19);
    assert!(world.claim("exec-1").await.is_none());
    world.advance(1);
    let second = world.claim("exec-1").await.unwrap();
    assert_eq!(second.job.id, id, "where there is no other");
    world.store.finish(id, &lease(&second), errored()).await.unwrap();
    world.advance(30);
    assert!(world.claim("exec-1").await.is_none());
    assert_eq!(world.claim("exec-2").await.unwrap().job.record.epoch, 3);
}

/// Nobody looks for a job that waits for nothing but the time, unless they are told.
pub(crate) async fn the_end_of_a_pause_is_told(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    world.store.release_due().await.unwrap();
    let (id, first, _) = world.running().await;
    world.store.finish(id, &first, errored()).await.unwrap();
    let mut changes = world.store.changes();
    let mut told = async |seconds: i64| {
        world.advance(seconds);
        assert_eq!(world.store.release_due().await.unwrap(), 0, "it was never held");
        std::iter::from_fn(|| changes.try_recv().ok()).collect::<Vec<_>>()
    };
    let queued = || Change::Queued("batches".to_owned());
    assert_eq!(told(9).await, []);
    assert_eq!(told(1).await, [queued()]);
    assert_eq!(told(1).await, [], "once");
    assert_eq!(told(9).await, [queued()], "the executor that had it may have it as well");
    assert_eq!(told(60).await, []);
    assert_eq!(world.claim("exec-1").await.unwrap().job.id, id);
}

pub(crate) async fn each_try_that_another_followed_is_told(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, first, _) = world.running().await;
    let began = world.now();
    world.advance(5);
    let row = world.store.finish(id, &first, errored()).await.unwrap();
    assert_eq!((row.record.state, row.record.faults, row.record.failures), (State::Errored, 1, 0));
    let sandbox = TryRow {
        epoch: 1,
        executor: Some("exec-1".to_owned()),
        started_at: Some(began),
        ended_at: world.now(),
        end: EndReason::Sandbox.detail(),
        message: Some("no sandbox".to_owned()),
        late_calls: 0,
    };
    assert_eq!(world.store.earlier_tries(id).await.unwrap(), std::slice::from_ref(&sandbox));
    world.advance(10);
    let second = world.claim("exec-2").await.unwrap();
    world.stall_all().await;
    let lost = TryRow {
        epoch: 2,
        executor: Some("exec-2".to_owned()),
        started_at: second.job.started_at,
        ended_at: world.now(),
        end: EndReason::ExecutorLost { lease: Some(LEASE) }.detail(),
        message: None,
        late_calls: 0,
    };
    let undelivered = lease(&world.claim("exec-1").await.unwrap());
    world.store.release(id, &undelivered).await.unwrap();
    let last = lease(&world.claim("exec-1").await.unwrap());
    world.store.finish(id, &last, Finish::Complete).await.unwrap();
    assert_eq!(
        world.store.earlier_tries(id).await.unwrap(),
        [sandbox, lost],
        "the last one's end is the job's"
    );
    assert!(world.store.earlier_tries(jobs::JobId(4_711)).await.unwrap().is_empty());
}

pub(crate) async fn a_retry_keeps_the_secrets_and_clears_the_end(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::with_failures(2)).await;
    let job = repository_job();
    let secrets = job.spec.secrets.clone();
    let id = world.store.submit(job).await.unwrap();
    let first = world.claim("exec-1").await.unwrap();
    world.store.finish(id, &lease(&first), errored()).await.unwrap();
    assert_eq!(world.store.job_by_token(&first.token).await.unwrap(), None);
    world.advance(20);
    let second = world.claim("exec-1").await.unwrap();
    assert_eq!(shown(&second.secrets), secrets);
    assert_eq!((second.job.end, second.job.message, second.job.finished_at), (None, None, None));
}

pub(crate) async fn calls_that_come_too_late_are_noted(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let id = world.submit("batches").await;
    let first = world.claim("exec-1").await.unwrap();
    let note = |token: String| {
        let store = &world.store;
        async move { store.note_late_call(&token).await.unwrap() }
    };
    assert_eq!(note(first.token.clone()).await, None, "it is good");
    world.stall_all().await;
    let second = world.claim("exec-2").await.unwrap();
    for _ in 0..2 {
        assert_eq!(note(first.token.clone()).await, Some((id, 1)));
    }
    assert_eq!(note("0".repeat(40)).await, None, "a guess is nobody's");
    world.store.finish(id, &lease(&second), errored()).await.unwrap();
    assert_eq!(
        note(second.token.clone()).await,
        None,
        "it ended by the word of its executor, which may be repeated"
    );
    let tries = world.store.earlier_tries(id).await.unwrap();
    assert_eq!(tries.iter().map(|one| one.late_calls).collect::<Vec<_>>(), [2, 0]);
}
