//! What operators say of queues and executors.

use super::world::{ALL_QUEUES, Setup, World, asking, failed, lease, new_job, somebody};
use jiff::SignedDuration;
use jobs::Capacity;
use std::collections::BTreeSet;
use store::{Change, Finish, QueueChange, QueueRules, StoreError};
use wire::heartbeat::Telemetry;

pub(crate) async fn a_paused_queue_gives_nothing(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let paused = world.submit("batches").await;
    let other = world.submit("codeintel").await;
    let rules = QueueRules { paused_at: Some(world.now()), max_running: None };
    let pause = |paused| QueueChange { paused: Some(paused), ..QueueChange::default() };
    world.store.change_queue("batches", pause(true)).await.unwrap();
    assert_eq!(world.store.queue("batches", u64::MAX).await.unwrap().rules, rules);
    assert_eq!(world.given(&asking(&ALL_QUEUES, "exec-1")).await, [other]);
    let mut changes = world.store.changes();
    world.store.change_queue("batches", pause(false)).await.unwrap();
    assert_eq!(changes.recv().await.unwrap(), Change::Rules, "whoever waits looks again");
    assert_eq!(world.given(&asking(&ALL_QUEUES, "exec-1")).await, [paused]);
}

pub(crate) async fn a_queue_runs_as_many_jobs_as_it_may(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let change = QueueChange { max_running: Some(2), ..QueueChange::default() };
    world.store.change_queue("batches", change).await.unwrap();
    for _ in 0..4 {
        world.submit("batches").await;
    }
    let free = world.submit("codeintel").await;
    let many = store::Asking { most: 10, ..asking(&ALL_QUEUES, "exec-1") };
    let given = world.store.claim(&many).await.unwrap();
    assert_eq!(given.len(), 3, "two of one queue, and all of the other");
    assert!(given.iter().any(|claimed| claimed.job.id == free));
    assert!(world.claim("exec-1").await.is_none());
    let limited = given.iter().find(|claimed| claimed.job.queue == "batches").unwrap();
    world.store.finish(limited.job.id, &lease(limited), Finish::Complete).await.unwrap();
    assert!(world.claim("exec-1").await.is_some());
    assert!(world.claim("exec-1").await.is_none());
    let row = world.store.queue("batches", u64::MAX).await.unwrap();
    assert_eq!((row.queued, row.held, row.running, row.errored), (1, 0, 2, 0));
    assert_eq!(row.oldest_queued_at, Some(world.now()));
    assert_eq!(world.store.queue("codeintel", u64::MAX).await.unwrap().oldest_queued_at, None);
}

pub(crate) async fn an_executor_in_maintenance_is_given_nothing(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let since = Some(world.now());
    let unknown = world.store.set_maintenance("exec-1", since).await;
    assert!(matches!(unknown, Err(StoreError::UnknownExecutor(_))), "{unknown:?}");
    let queues = ["batches".to_owned()];
    world.store.upsert_executor("exec-1", &queues, &Telemetry::default(), None).await.unwrap();
    world.submit("batches").await;
    world.store.set_maintenance("exec-1", since).await.unwrap();
    assert!(world.claim("exec-1").await.is_none());
    world.store.upsert_executor("exec-1", &queues, &Telemetry::default(), None).await.unwrap();
    assert_eq!(
        world.store.executors().await.unwrap()[0].maintenance_at,
        since,
        "a heartbeat does not end it"
    );
    world.store.set_maintenance("exec-1", None).await.unwrap();
    assert!(world.claim("exec-1").await.is_some());
}

pub(crate) async fn what_an_executor_gives_is_remembered(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let capacity =
        Capacity { cpus: Some(4), labels: BTreeSet::from(["gpu".to_owned()]), ..Capacity::default() };
    assert!(!world.store.note_capacity("exec-1", &capacity).await.unwrap());
    assert!(world.store.executors().await.unwrap().is_empty(), "it is known by its heartbeats");
    world.store.upsert_executor("exec-1", &[], &Telemetry::default(), None).await.unwrap();
    assert!(world.store.note_capacity("exec-1", &capacity).await.unwrap());
    world.store.upsert_executor("exec-1", &[], &Telemetry::default(), None).await.unwrap();
    assert_eq!(world.store.executors().await.unwrap()[0].capacity, capacity);
}

/// Who waits for a job of a queue that runs as many as it may waits for the end of one.
pub(crate) async fn the_end_of_a_job_is_told_where_it_makes_room(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let change = QueueChange { max_running: Some(1), ..QueueChange::default() };
    world.store.change_queue("batches", change).await.unwrap();
    for queue in ["batches", "codeintel"] {
        let id = world.submit(queue).await;
        let claimed = world.claim("exec-1").await.unwrap();
        let mut changes = world.store.changes();
        world.store.finish(id, &lease(&claimed), Finish::Complete).await.unwrap();
        assert_eq!(changes.recv().await.unwrap(), Change::Job(id));
        let more = changes.try_recv().ok();
        assert_eq!(more, (queue == "batches").then(|| Change::Queued(queue.to_owned())));
    }
}

/// What one operator says does not undo what another one said at the same time.
pub(crate) async fn what_is_not_said_of_a_queue_stays(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let rules = async || world.store.queue("batches", u64::MAX).await.unwrap().rules;
    let change = async |paused, max_running| {
        world.store.change_queue("batches", QueueChange { paused, max_running }).await
    };
    let since = world.now();
    let (paused, limited) = tokio::join!(change(Some(true), None), change(None, Some(5)));
    paused.unwrap();
    limited.unwrap();
    assert_eq!(rules().await, QueueRules { paused_at: Some(since), max_running: Some(5) });
    world.advance(1);
    change(Some(true), None).await.unwrap();
    assert_eq!(rules().await, QueueRules { paused_at: Some(since), max_running: Some(5) });
    let mut changes = world.store.changes();
    change(None, None).await.unwrap();
    assert!(changes.try_recv().is_err(), "nothing was said");
    change(None, Some(0)).await.unwrap();
    assert_eq!(rules().await, QueueRules { paused_at: Some(since), max_running: None });
    change(Some(false), Some(7)).await.unwrap();
    assert_eq!(rules().await, QueueRules { paused_at: None, max_running: Some(7) });
}

pub(crate) async fn a_queue_tells_what_it_holds(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let oldest = async || world.store.queue("batches", 10).await.unwrap().oldest_queued_at;
    let first = world.submit("batches").await;
    let claimed = world.claim("exec-1").await.unwrap();
    world.advance(60);
    let since = world.now();
    for delayed in [false, false, true, true, true] {
        let mut job = new_job("batches");
        job.spec.not_before = delayed.then(|| since + SignedDuration::from_secs(3_600));
        world.store.submit(job).await.unwrap();
    }
    world.submit("codeintel").await;
    assert_eq!(oldest().await, Some(since));
    // One that comes back by way of a reset was queued just now, but is next all the same.
    world.advance(60);
    world.store.release(first, &lease(&claimed)).await.unwrap();
    assert_eq!(oldest().await, Some(since - SignedDuration::from_secs(60)));
    world.claim("exec-1").await.unwrap();
    world.stall_all().await;
    let row = world.store.queue("batches", 10).await.unwrap();
    assert_eq!((row.queued, row.held, row.running, row.errored), (6, 3, 0, 0));
    let row = world.store.queue("batches", 2).await.unwrap();
    assert_eq!((row.queued, row.held), (2, 2), "no more is counted than is asked for");
}

pub(crate) async fn what_ended_is_counted_by_queue_and_state(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let counted = async |since, most| {
        let rows = world.store.ended_since(since, most).await.unwrap();
        rows.into_iter().map(|row| (row.queue, row.state.name(), row.count)).collect::<Vec<_>>()
    };
    let told = |queue: &str, state, count| (queue.to_owned(), state, count);
    let early = world.now();
    for (queue, finish) in [("batches", Finish::Complete), ("codeintel", failed()), ("batches", failed())] {
        let id = world.submit(queue).await;
        let claimed = world.claim("exec-1").await.unwrap();
        world.store.finish(id, &lease(&claimed), finish).await.unwrap();
    }
    world.advance(60);
    let since = world.now();
    let (id, held, _) = world.running().await;
    world.store.cancel(id, somebody()).await.unwrap();
    world.store.finish(id, &held, failed()).await.unwrap();
    let never_ran = world.submit("batches").await;
    world.store.cancel(never_ran, somebody()).await.unwrap();
    assert_eq!(counted(since, 10).await, [told("batches", "canceled", 1)]);
    let all = [
        told("batches", "canceled", 1),
        told("batches", "completed", 1),
        told("batches", "failed", 1),
        told("codeintel", "failed", 1),
    ];
    assert_eq!(counted(early, 10).await, all);
    let few: u64 = counted(early, 2).await.into_iter().map(|(_, _, count)| count).sum();
    assert_eq!(few, 2, "no more is counted than is asked for");
}
