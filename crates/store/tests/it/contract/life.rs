//! From submit to the end, and listing.

use super::world::{Setup, World, exit_code_3, failed, new_job, repository_job, somebody};
use jobs::{EndReason, JobId, Lease, Rejected, State};
use store::{Finish, JobFilter, StoreError};

pub(crate) async fn a_job_goes_from_submit_to_completed(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let queued_at = world.now();
    let id = world.submit("batches").await;
    let queued = world.store.job(id).await.unwrap();
    assert_eq!(queued.record, jobs::Record::new());
    assert_eq!((queued.queued_at, queued.started_at), (queued_at, None));

    world.advance(1);
    let claimed = world.claim("exec-1").await.unwrap();
    let started_at = world.now();
    assert_eq!(claimed.job.record.state, State::Processing);
    assert_eq!(claimed.job.record.executor.as_deref(), Some("exec-1"));
    assert_eq!(claimed.job.record.epoch, 1);
    assert_eq!(claimed.job.started_at, Some(started_at));
    assert_eq!(claimed.job.last_heartbeat_at, Some(started_at));

    world.advance(1);
    let lease = super::world::lease(&claimed);
    let done = world.store.finish(id, &lease, Finish::Complete).await.unwrap();
    assert_eq!(done.record.state, State::Completed);
    assert_eq!(done.end, Some(EndReason::Succeeded.detail()));
    assert_eq!(done.finished_at, Some(world.now()));
    assert_eq!(done.started_at, Some(started_at));
    assert_eq!(done.message, None);
    assert!(world.claim("exec-1").await.is_none());
    let again = world.store.finish(id, &lease, failed()).await;
    assert!(matches!(again, Err(StoreError::Rejected(Rejected::LeaseLost))), "{again:?}");
}

pub(crate) async fn what_was_submitted_comes_back(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let job = repository_job();
    let id = world.store.submit(job.clone()).await.unwrap();
    let row = world.store.job(id).await.unwrap();
    let mut expect = job.spec;
    expect.secrets.clear();
    assert_eq!(row.commit, job.commit);
    assert_eq!(
        (row.queue, row.repo, row.rev),
        (expect.queue.clone(), expect.repo.clone(), expect.rev.clone())
    );
    assert_eq!(world.store.spec(id).await.unwrap(), expect);
    let plain = world.store.job(world.submit("codeintel").await).await.unwrap();
    assert_eq!((plain.queue.as_str(), plain.repo, plain.rev), ("codeintel", None, None));
}

pub(crate) async fn failing_keeps_the_reason_and_the_message(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    let done = world.store.finish(id, &lease, failed()).await.unwrap();
    assert_eq!(done.record.state, State::Failed);
    assert_eq!(done.record.failures, 1);
    let stored = world.store.job(id).await.unwrap();
    assert_eq!(stored.end, Some(exit_code_3().detail()));
    assert_eq!(stored.message.as_deref(), Some("step build ended with 3"));
}

pub(crate) async fn a_long_message_is_cut(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    let message = format!("x{}", "ä".repeat(100_000));
    let finish = Finish::Fail { reason: EndReason::Unspecified, message: message.clone() };
    let done = world.store.finish(id, &lease, finish).await.unwrap();
    let kept = done.message.unwrap();
    assert_eq!(kept.len(), (64 << 10) - 1);
    assert!(message.starts_with(&kept));
    // Lists have less of it, whichever way they are asked for.
    let listed = format!("x{}…", "ä".repeat(511));
    for (queue, owner) in [(None, None), (Some("batches"), None), (None, Some(""))] {
        let (queue, owner) = (queue.map(str::to_owned), owner.map(str::to_owned));
        let filter = JobFilter { queue, owner, limit: 9, ..JobFilter::default() };
        let rows = world.store.jobs(filter).await.unwrap();
        assert_eq!(
            rows.iter().map(|row| row.message.as_deref()).collect::<Vec<_>>(),
            [Some(listed.as_str())]
        );
    }
    assert_eq!(world.store.job(id).await.unwrap().message, Some(kept));
}

pub(crate) async fn listing_pages_newest_first(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(world.submit("batches").await);
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let filter = JobFilter { before, limit: 2, ..JobFilter::default() };
        let page = world.store.jobs(filter).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.iter().map(|job| job.id));
    }
    assert_eq!(seen, ids);
}

pub(crate) async fn listing_filters_by_queue_and_state(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let one = world.submit("batches").await;
    let two = world.submit("codeintel").await;
    let three = world.submit("batches").await;
    world.claim("exec-1").await.unwrap();
    let list = async |queue: Option<&str>, state| {
        let filter = JobFilter { queue: queue.map(str::to_owned), state, limit: 10, ..JobFilter::default() };
        let rows = world.store.jobs(filter).await.unwrap();
        rows.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None).await, [three, two, one]);
    assert_eq!(list(Some("batches"), None).await, [three, one]);
    assert_eq!(list(None, Some(State::Queued)).await, [three, two]);
    assert_eq!(list(Some("batches"), Some(State::Processing)).await, [one]);
    assert_eq!(list(Some("codeintel"), Some(State::Failed)).await, []);
}

pub(crate) async fn several_end_at_once_each_by_itself(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (mut ids, mut leases) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (id, lease, _) = world.running().await;
        ids.push(id);
        leases.push(lease);
    }
    let old = Lease { epoch: 7, ..leases[1].clone() };
    let ended = world.store.finish_all(vec![
        (ids[0], leases[0].clone(), Finish::Complete),
        (ids[1], old, Finish::Complete),
        (ids[2], leases[2].clone(), failed()),
        (JobId(4_711), leases[0].clone(), Finish::Complete),
        (ids[0], leases[0].clone(), failed()),
        (ids[3], leases[3].clone(), Finish::Complete),
    ]);
    let ended = ended.await.unwrap();
    let states: Vec<_> = ended.iter().map(|ended| ended.as_ref().ok().map(|job| job.record.state)).collect();
    let (completed, failed) = (Some(State::Completed), Some(State::Failed));
    assert_eq!(states, [completed, None, failed, None, None, completed]);
    assert!(matches!(ended[1], Err(StoreError::Rejected(Rejected::LeaseLost))), "{:?}", ended[1]);
    assert!(matches!(ended[3], Err(StoreError::UnknownJob(_))), "{:?}", ended[3]);
    assert!(matches!(ended[4], Err(StoreError::Rejected(Rejected::LeaseLost))), "{:?}", ended[4]);
    assert_eq!(world.store.job(ids[0]).await.unwrap().record.state, State::Completed);
    assert_eq!(world.store.job(ids[1]).await.unwrap().record.state, State::Processing);
    assert!(world.store.finish_all(Vec::new()).await.unwrap().is_empty());
}

pub(crate) async fn unknown_jobs_are_told(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (_, lease, _) = world.running().await;
    let nobody = JobId(4_711);
    let unknown = |error: Option<StoreError>| {
        assert!(matches!(error, Some(StoreError::UnknownJob(id)) if id == nobody), "{error:?}");
    };
    unknown(world.store.job(nobody).await.err());
    unknown(world.store.spec(nobody).await.err());
    unknown(world.store.cancel(nobody, somebody()).await.err());
    unknown(world.store.finish(nobody, &lease, Finish::Complete).await.err());
    unknown(world.store.log_entries(nobody, None).await.err());
    unknown(world.append(nobody, &lease, 1, 0, "x").await.err());
    unknown(world.store.add_log_entry(nobody, &lease, world.entry("")).await.err());
    assert_eq!(world.store.submit(new_job("batches")).await.unwrap(), JobId(2));
}
