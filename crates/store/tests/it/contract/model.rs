//! Any sequence of calls does what a model in memory does, which knows nothing but `transition`.

use super::world::{ALL_QUEUES, Setup, World, charged, errored, exit_code_3, failed, new_job, somebody};
use jiff::{SignedDuration, Timestamp};
use jobs::{
    Capacity, EndReason, Event, JobId, Judgement, Lease, LeasePolicy, Record, RetryPolicy, State, transition,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::time::Duration;
use store::{Asking, Finish, JobFilter, StoreError};
use tokio::runtime::Handle;
use wire::additions::EndDetail;

const EXECUTORS: [&str; 2] = ["exec-1", "exec-2"];
const CASES: u32 = 64;

#[derive(Debug, Clone)]
enum Call {
    Submit { queue: usize },
    Claim { queues: Vec<usize>, executor: usize, lease: u64 },
    Finish { job: usize, lease: Whose, how: How },
    Release { job: usize, lease: Whose },
    Cancel { job: usize },
    Stall { attentive: i64 },
    Heartbeat { executor: usize, lease: u64 },
    Log { job: usize, lease: Whose },
    Wait { seconds: i64 },
}

#[derive(Debug, Clone, Copy)]
enum Whose {
    Current,
    Older,
    Another,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Complete,
    Error,
    Fault,
    Fail,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let job = || 0_usize..8;
    let whose = || prop_oneof![4 => Just(Whose::Current), 1 => Just(Whose::Older), 1 => Just(Whose::Another)];
    let how = prop_oneof![
        1 => Just(How::Complete),
        2 => Just(How::Error),
        2 => Just(How::Fault),
        1 => Just(How::Fail),
    ];
    let queues = prop::collection::vec(0..ALL_QUEUES.len(), 0..3);
    let call = prop_oneof![
        3 => (0..ALL_QUEUES.len()).prop_map(|queue| Call::Submit { queue }),
        5 => (queues, 0..EXECUTORS.len(), 1_u64..20)
            .prop_map(|(queues, executor, lease)| Call::Claim { queues, executor, lease }),
        3 => (job(), whose(), how).prop_map(|(job, lease, how)| Call::Finish { job, lease, how }),
        1 => (job(), whose()).prop_map(|(job, lease)| Call::Release { job, lease }),
        1 => job().prop_map(|job| Call::Cancel { job }),
        3 => (0_i64..60).prop_map(|attentive| Call::Stall { attentive }),
        1 => (0..EXECUTORS.len(), 1_u64..20)
            .prop_map(|(executor, lease)| Call::Heartbeat { executor, lease }),
        1 => (job(), whose()).prop_map(|(job, lease)| Call::Log { job, lease }),
        2 => (1_i64..15).prop_map(|seconds| Call::Wait { seconds }),
    ];
    prop::collection::vec(call, 1..40)
}

#[derive(Debug)]
struct ModelJob {
    id: JobId,
    queue: usize,
    record: Record,
    end: Option<EndDetail>,
    finished_at: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    /// Epochs and reasons.
    earlier: Vec<(u32, EndDetail)>,
    last_heartbeat_at: Option<Timestamp>,
    lease: Duration,
    token: Option<String>,
    dead_tokens: Vec<String>,
}

struct Model {
    retry: RetryPolicy,
    jobs: Vec<ModelJob>,
}

impl Model {
    /// The model's side of an event; says whether it applied.
    fn apply(&mut self, index: usize, event: Event, now: Timestamp) -> bool {
        let job = &mut self.jobs[index];
        let Ok(outcome) = transition(&job.record, event, self.retry) else { return false };
        let (claimed, held) =
            (outcome.record.epoch != job.record.epoch, job.record.state == State::Processing);
        job.record = outcome.record;
        let state = job.record.state;
        if claimed {
            (job.end, job.finished_at, job.last_heartbeat_at) = (None, None, Some(now));
            job.retry_at = None;
        } else if state != State::Processing {
            job.dead_tokens.extend(job.token.take());
            let end = outcome.reason.map(|reason| reason.detail());
            if held && !state.is_terminal() {
                job.earlier.extend(end.clone().map(|end| (job.record.epoch, end)));
            }
            if state != State::Queued {
                (job.end, job.finished_at) = (end, Some(now));
                job.retry_at = outcome.pause.map(|pause| now + SignedDuration::try_from(pause).unwrap());
            }
        }
        true
    }

    fn claimable(&self, queues: &[usize], executor: &str, now: Timestamp) -> Option<usize> {
        let later = SignedDuration::try_from(self.retry.same_executor_later).unwrap();
        self.jobs.iter().position(|job| {
            let due = match job.record.state {
                State::Queued => true,
                State::Errored if job.record.executor.as_deref() == Some(executor) => {
                    job.retry_at.unwrap() + later <= now
                }
                State::Errored => job.retry_at.unwrap() <= now,
                _ => false,
            };
            due && queues.contains(&job.queue)
        })
    }

    fn lease(&self, index: usize, whose: Whose) -> Lease {
        let record = &self.jobs[index].record;
        let holder = record.executor.clone().unwrap_or_else(|| EXECUTORS[0].to_owned());
        match whose {
            Whose::Current => Lease { epoch: record.epoch, executor: holder },
            Whose::Older => Lease { epoch: record.epoch.saturating_sub(1), executor: holder },
            Whose::Another => Lease { epoch: record.epoch, executor: "exec-3".to_owned() },
        }
    }

    fn held(&self, executor: &str) -> Vec<usize> {
        let held = |job: &ModelJob| {
            job.record.state == State::Processing && job.record.executor.as_deref() == Some(executor)
        };
        (0..self.jobs.len()).filter(|index| held(&self.jobs[*index])).collect()
    }
}

pub(crate) async fn any_sequence_of_calls_does_what_the_model_says(open: impl AsyncFn(Setup) -> World) {
    // What stores share is kept for the next one.
    let _shared = open(Setup::default()).await;
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let checked = tokio::task::block_in_place(|| {
        runner.run(&calls(), |calls| {
            Handle::current().block_on(async {
                let retry =
                    RetryPolicy { max_resets: 1, max_faults: 1, max_failures: 2, ..RetryPolicy::default() };
                let world = open(Setup { retry, ..Setup::default() }).await;
                let mut model = Model { retry, jobs: Vec::new() };
                for call in calls {
                    make(&world, &mut model, call).await;
                    compare(&world, &model).await;
                }
            });
            Ok(())
        })
    });
    checked.unwrap();
}

async fn make(world: &World, model: &mut Model, call: Call) {
    let now = world.now();
    match call {
        Call::Submit { queue } => {
            let id = world.store.submit(new_job(ALL_QUEUES[queue])).await.unwrap();
            model.jobs.push(ModelJob {
                id,
                queue,
                record: Record::new(),
                end: None,
                finished_at: None,
                retry_at: None,
                earlier: Vec::new(),
                last_heartbeat_at: None,
                lease: Duration::ZERO,
                token: None,
                dead_tokens: Vec::new(),
            });
        }
        Call::Claim { queues, executor, lease } => {
            let names: Vec<_> = queues.iter().map(|queue| ALL_QUEUES[*queue].to_owned()).collect();
            let (executor, lease) = (EXECUTORS[executor], Duration::from_secs(lease));
            let asking = Asking {
                queues: names,
                executor: executor.to_owned(),
                capacity: Capacity::default(),
                lease,
                most: 1,
            };
            let claimed = world.store.claim(&asking).await.unwrap().pop();
            let expect = model.claimable(&queues, executor, now);
            assert_eq!(claimed.as_ref().map(|job| job.job.id), expect.map(|index| model.jobs[index].id));
            if let (Some(claimed), Some(index)) = (claimed, expect) {
                assert!(model.apply(index, Event::Claim { executor: executor.to_owned() }, now));
                model.jobs[index].token = Some(claimed.token);
                model.jobs[index].lease = lease;
            }
        }
        Call::Finish { job, lease, how } => finish(world, model, job, lease, how).await,
        Call::Release { job, lease } => {
            let Some(id) = model.jobs.get(job).map(|job| job.id) else { return };
            let lease = model.lease(job, lease);
            let applied = applied(world.store.release(id, &lease).await);
            assert_eq!(applied, model.apply(job, Event::Release(lease), now));
        }
        Call::Cancel { job } => {
            let Some(id) = model.jobs.get(job).map(|job| job.id) else { return };
            let applied = applied(world.store.cancel(id, somebody()).await);
            assert_eq!(applied, model.apply(job, Event::Cancel(somebody()), now));
        }
        Call::Stall { attentive } => {
            let judgement =
                Judgement { now, attentive_since: now - SignedDuration::from_secs(attentive), era: None };
            let reset = world.store.reset_stalled(judgement).await.unwrap();
            let mut reset: Vec<_> = reset.iter().map(|job| job.id).collect();
            reset.sort_unstable();
            let mut expect = Vec::new();
            for index in 0..model.jobs.len() {
                let job = &model.jobs[index];
                let lease = jobs::counted(job.lease, LeasePolicy::default().tolerance());
                let overdue = job.last_heartbeat_at.is_some_and(|at| judgement.is_over(at, lease));
                if job.record.state == State::Processing && overdue {
                    expect.push(job.id);
                    assert!(model.apply(
                        index,
                        Event::Stall { epoch: job.record.epoch, lease: job.lease },
                        now
                    ));
                }
            }
            assert_eq!(reset, expect);
        }
        Call::Heartbeat { executor, lease } => {
            let lease = Duration::from_secs(lease);
            let executor = EXECUTORS[executor];
            let all: Vec<_> = model.jobs.iter().map(|job| job.id).collect();
            let answer = world.store.heartbeat(executor, &all, lease).await.unwrap();
            let held = model.held(executor);
            let canceled = held.iter().filter(|index| model.jobs[**index].record.cancel_requested());
            assert_eq!(answer.cancel, canceled.map(|index| model.jobs[*index].id).collect::<Vec<_>>());
            assert_eq!(answer.known, held.iter().map(|index| model.jobs[*index].id).collect::<Vec<_>>());
            for index in held {
                model.jobs[index].last_heartbeat_at = Some(now);
                model.jobs[index].lease = model.jobs[index].lease.max(lease);
            }
        }
        Call::Log { job, lease } => {
            let Some(id) = model.jobs.get(job).map(|job| job.id) else { return };
            let lease = model.lease(job, lease);
            let added = applied(world.store.add_log_entry(id, &lease, world.entry("text")).await);
            // Whoever could end the job may write to its log.
            let may = transition(&model.jobs[job].record, Event::Complete(lease), model.retry).is_ok();
            assert_eq!(added, may);
        }
        Call::Wait { seconds } => world.advance(seconds),
    }
}

async fn finish(world: &World, model: &mut Model, job: usize, whose: Whose, how: How) {
    let Some(id) = model.jobs.get(job).map(|job| job.id) else { return };
    let lease = model.lease(job, whose);
    let (finish, event) = match how {
        How::Complete => (Finish::Complete, Event::Complete(lease.clone())),
        How::Error => (charged(), Event::Error(lease.clone(), exit_code_3())),
        How::Fault => (errored(), Event::Error(lease.clone(), EndReason::Sandbox)),
        How::Fail => (failed(), Event::Fail(lease.clone(), exit_code_3())),
    };
    let finished = applied(world.store.finish(id, &lease, finish).await);
    assert_eq!(finished, model.apply(job, event, world.now()));
}

fn applied<T>(result: Result<T, StoreError>) -> bool {
    match result {
        Ok(_) => true,
        Err(StoreError::Rejected(_)) => false,
        Err(error) => panic!("{error:?}"),
    }
}

async fn compare(world: &World, model: &Model) {
    let filter = JobFilter { limit: 100, ..JobFilter::default() };
    let rows = world.store.jobs(filter).await.unwrap();
    assert_eq!(rows.len(), model.jobs.len());
    for (row, job) in rows.iter().rev().zip(&model.jobs) {
        assert_eq!((row.id, &row.record, &row.end), (job.id, &job.record, &job.end));
        assert_eq!((row.finished_at, row.last_heartbeat_at), (job.finished_at, job.last_heartbeat_at));
        assert_eq!(row.retry_at, job.retry_at);
        let earlier = world.store.earlier_tries(job.id).await.unwrap();
        let earlier: Vec<_> = earlier.into_iter().map(|earlier| (earlier.epoch, earlier.end)).collect();
        assert_eq!(earlier, job.earlier);
        if let Some(token) = &job.token {
            let held = world.store.job_by_token(token).await.unwrap().unwrap();
            assert_eq!((held.id, held.epoch), (job.id, job.record.epoch));
        }
        for token in &job.dead_tokens {
            assert_eq!(world.store.job_by_token(token).await.unwrap(), None);
        }
    }
}
