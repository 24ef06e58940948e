//! A store with a clock in hand.

use jiff::{SignedDuration, Timestamp};
use jobs::{Canceler, Capacity, Clock, EndReason, JobId, JobSpec, Judgement, Lease, RetryPolicy, StepSpec};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use store::{Asking, Claimed, Finish, NewJob, NewLogEntry, SqlStore, Store};
use testkit::MockClock;

pub(crate) const ALL_QUEUES: [&str; 2] = ["batches", "codeintel"];

/// How long claims last, unless a test says otherwise.
pub(crate) const LEASE: Duration = Duration::from_secs(25);

/// How a test wants its store.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) retry: RetryPolicy,
    pub(crate) max_log_bytes: u64,
    pub(crate) max_queued: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self { retry: RetryPolicy::default(), max_log_bytes: 1 << 20, max_queued: 1_000 }
    }
}

impl Setup {
    /// What secrets are sealed with.
    pub(crate) const KEYS: &str = "old:1111111111111111111111111111111111111111111111111111111111111111";

    pub(crate) fn with_failures(max_failures: u32) -> Self {
        Self { retry: RetryPolicy { max_failures, ..RetryPolicy::default() }, ..Self::default() }
    }
}

pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    /// The same one, for what is no part of the contract.
    pub(crate) sql: Arc<SqlStore>,
    pub(crate) clock: Arc<MockClock>,
    /// Log entries made so far.
    pub(crate) entries: AtomicI64,
    /// What has to live as long as the store, such as its directory.
    pub(crate) _keep: Box<dyn Any + Send + Sync>,
}

impl World {
    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn submit(&self, queue: &str) -> JobId {
        self.store.submit(new_job(queue)).await.unwrap()
    }

    pub(crate) async fn claim(&self, executor: &str) -> Option<Claimed> {
        self.claim_of(&ALL_QUEUES, executor).await
    }

    pub(crate) async fn claim_of(&self, queues: &[&str], executor: &str) -> Option<Claimed> {
        let mut claimed = self.store.claim(&asking(queues, executor)).await.unwrap();
        assert!(claimed.len() <= 1);
        claimed.pop()
    }

    /// Which jobs an executor is given one after the other, until there is none.
    pub(crate) async fn given(&self, asking: &Asking) -> Vec<JobId> {
        let mut given = Vec::new();
        loop {
            let claimed = self.store.claim(asking).await.unwrap();
            if claimed.is_empty() {
                return given;
            }
            given.extend(claimed.into_iter().map(|claimed| claimed.job.id));
        }
    }

    /// A job that `exec-1` has just claimed.
    pub(crate) async fn running(&self) -> (JobId, Lease, Claimed) {
        let id = self.submit("batches").await;
        let claimed = self.claim("exec-1").await.unwrap();
        assert_eq!(claimed.job.id, id);
        (id, lease(&claimed), claimed)
    }

    /// Lets every lease run out that was not renewed this very moment.
    pub(crate) async fn stall_all(&self) -> Vec<store::JobRow> {
        self.advance(60);
        self.store.reset_stalled(self.judgement()).await.unwrap()
    }

    /// Now, by somebody who has always been there.
    pub(crate) fn judgement(&self) -> Judgement {
        Judgement { now: self.now(), attentive_since: Timestamp::UNIX_EPOCH, era: None }
    }

    pub(crate) async fn text(&self, id: JobId, epoch: u32, entry: i64) -> String {
        let bytes = self.store.read_log(id, epoch, entry, 0, usize::MAX).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub(crate) async fn open_entry(&self, id: JobId, lease: &Lease, out: &str) -> i64 {
        self.store.add_log_entry(id, lease, self.entry(out)).await.unwrap()
    }

    /// An entry that began when no other did.
    pub(crate) fn entry(&self, out: &str) -> NewLogEntry {
        let earlier = self.entries.fetch_add(1, Ordering::Relaxed);
        NewLogEntry {
            key: "step.docker.step.0.run".to_owned(),
            command: Some(vec!["sh".to_owned(), "-c".to_owned(), "true".to_owned()]),
            start_time: self.now() + SignedDuration::from_micros(earlier),
            exit_code: None,
            duration_ms: None,
            out: out.to_owned(),
        }
    }

    /// Adds text without news of the end.
    pub(crate) async fn append(
        &self,
        id: JobId,
        lease: &Lease,
        entry: i64,
        offset: u64,
        text: &str,
    ) -> Result<u64, store::StoreError> {
        self.store.append_log(id, lease, entry, offset, text, None, None).await
    }
}

/// One that asks for one job, and tells nothing of itself.
pub(crate) fn asking(queues: &[&str], executor: &str) -> Asking {
    Asking {
        queues: queues.iter().map(ToString::to_string).collect(),
        executor: executor.to_owned(),
        capacity: Capacity::default(),
        lease: LEASE,
        most: 1,
    }
}

pub(crate) fn lease(claimed: &Claimed) -> Lease {
    let record = &claimed.job.record;
    Lease { epoch: record.epoch, executor: record.executor.clone().unwrap() }
}

pub(crate) fn new_job(queue: &str) -> NewJob {
    let step = StepSpec { image: "alpine:3".to_owned(), run: "true".to_owned(), ..StepSpec::default() };
    let spec = JobSpec { queue: queue.to_owned(), steps: vec![step], ..JobSpec::default() };
    NewJob { spec, commit: String::new(), owner: String::new(), idempotency_key: None }
}

pub(crate) fn repository_job() -> NewJob {
    let commit = "0123456789012345678901234567890123456789".to_owned();
    let mut job = NewJob { commit, ..new_job("batches") };
    job.spec.repo = Some("github.com/acme/app".to_owned());
    job.spec.rev = Some("main".to_owned());
    job.spec.env.insert("LANG".to_owned(), "C".to_owned());
    job.spec.secrets.insert("API_KEY".to_owned(), "hunter2-hunter2".to_owned());
    job
}

pub(crate) fn exit_code_3() -> EndReason {
    EndReason::ExitCode { step: "build".to_owned(), code: 3 }
}

/// Who cancels jobs.
pub(crate) fn somebody() -> Canceler {
    Canceler::api([10, 0, 0, 7].into(), Some("a test"))
}

/// The job's own fault, which is tried again where it may.
pub(crate) fn charged() -> Finish {
    Finish::Error { reason: exit_code_3(), message: "step build ended with 3".to_owned() }
}

pub(crate) fn failed() -> Finish {
    Finish::Fail { reason: exit_code_3(), message: "step build ended with 3".to_owned() }
}

/// The infrastructure's fault.
pub(crate) fn errored() -> Finish {
    Finish::Error { reason: EndReason::Sandbox, message: "no sandbox".to_owned() }
}
