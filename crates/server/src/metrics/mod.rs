//! What the server counts, and the text it is told in.
//!
//! Names that begin with `src_` or `multiqueue_` are documented: dashboards and auto-scalers of stock instances know them.
//! Those that begin with `executor_server_` are ours. Labels hold names out of closed sets, queues and patterns of paths:
//! never what a client chose, and never a secret.

mod depth;
mod forwarded;
mod now;

pub(crate) use depth::{Depths, Seen};
pub(crate) use forwarded::Forwarded;
pub(crate) use now::text;

use exposition::{Counter, Histogram, Kind, Named, Text};
use jobs::{Record, State};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::JobRow;
use wire::paths::QUEUES;

/// What requests take, in seconds.
const REQUESTS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// How long jobs wait, in seconds.
const WAITS: &[f64] = &[0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0];
/// The requests that wait on purpose: how long they take says nothing.
const WAITING: &str = "dequeue";

/// What came of something.
const OK: &str = "ok";
const FAILED: &str = "failed";

/// Whose proof of who they are was no good.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Prover {
    /// A caller of the public API.
    Api,
    /// An executor.
    Executor,
    /// Whoever runs a job.
    Job,
}

/// Why.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unproved {
    /// It is unknown, expired or revoked.
    Wrong,
    /// It was not looked at: there were too many wrong ones from there.
    Limited,
}

/// What was counted since the start.
pub(crate) struct Metrics {
    requests: Counter,
    request_seconds: Histogram,
    submitted: Counter,
    given: Counter,
    waited: Histogram,
    ended: Counter,
    leases_lost: Counter,
    /// Of each queue, under its documented names.
    resets: [Resets; QUEUES.len()],
    unproved: Counter,
    old_secret: AtomicU64,
    late_calls: AtomicU64,
    log_bytes: AtomicU64,
    secrets_opened: AtomicU64,
    connections: AtomicU64,
    connections_begun: AtomicU64,
    pushes: Counter,
}

/// Jobs that were taken back from executors that fell silent.
struct Resets {
    queue: &'static str,
    /// They wait again.
    again: (&'static str, AtomicU64),
    /// They have failed.
    failed: (&'static str, AtomicU64),
    /// They could not be looked for.
    errors: (&'static str, AtomicU64),
}

impl Resets {
    fn of(queue: &'static str) -> Self {
        let [again, failed, errors] = match queue {
            "batches" => [
                "src_batch_spec_workspace_execution_worker_resetter_resets_total",
                "src_batch_spec_workspace_execution_worker_resetter_reset_failures_total",
                "src_batch_spec_workspace_execution_worker_resetter_reset_errors_total",
            ],
            _ => [
                "src_codeintel_background_index_record_resets_total",
                "src_codeintel_background_index_record_reset_failures_total",
                "src_codeintel_background_index_record_reset_errors_total",
            ],
        }
        .map(|name| (name, AtomicU64::new(0)));
        Self { queue, again, failed, errors }
    }

    fn write(&self, text: &mut Text) {
        let helps = [
            "Jobs that were taken back and wait again.",
            "Jobs that were taken back and have failed.",
            "Looks for jobs to take back that failed.",
        ];
        for ((name, count), help) in [&self.again, &self.failed, &self.errors].into_iter().zip(helps) {
            text.single(name, help, Kind::Counter, count.load(Ordering::Relaxed) as f64);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let counter = |name, help, labels| Counter::new(Named { name, help, labels });
        let histogram = |name, help, labels, bounds| Histogram::new(Named { name, help, labels }, bounds);
        let metrics = Self {
            requests: counter(
                "executor_server_requests_total",
                "Requests by the pattern of their path and the class of their answer.",
                &["route", "code"],
            ),
            request_seconds: histogram(
                "executor_server_request_seconds",
                "Until the answer began, but for dequeues, which wait.",
                &["route"],
                REQUESTS,
            ),
            submitted: counter("executor_server_jobs_submitted_total", "Jobs that came in.", &["queue"]),
            given: counter("executor_server_jobs_given_total", "Jobs that were given out.", &["queue"]),
            waited: histogram(
                "executor_server_job_wait_seconds",
                "From when a job was queued until it was given out first.",
                &["queue"],
                WAITS,
            ),
            ended: counter("executor_server_jobs_ended_total", "Tries that ended.", &["queue", "state"]),
            leases_lost: counter(
                "executor_server_leases_lost_total",
                "Jobs that were taken back from executors that fell silent.",
                &["queue"],
            ),
            resets: QUEUES.map(Resets::of),
            unproved: counter(
                "executor_server_auth_failures_total",
                "Calls that did not prove who made them.",
                &["who", "why"],
            ),
            old_secret: AtomicU64::new(0),
            late_calls: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            secrets_opened: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            connections_begun: AtomicU64::new(0),
            pushes: counter(
                "executor_server_scaling_pushes_total",
                "Queue sizes sent to a cloud, by what came of it.",
                &["target", "outcome"],
            ),
        };
        // There from the start, so that the first change can be seen.
        for queue in QUEUES {
            for counter in [&metrics.submitted, &metrics.given, &metrics.leases_lost] {
                counter.begin(&[queue]);
            }
        }
        for who in ["api", "executor", "job"] {
            metrics.unproved.begin(&[who, "wrong"]);
        }
        metrics
    }
}

impl Metrics {
    /// A request on a path of this pattern began to be answered after so long.
    pub(crate) fn request(&self, route: &str, code: u16, took: Duration) {
        let class = match code {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.requests.count(&[route, class]);
        if !route.ends_with(WAITING) {
            self.request_seconds.observe(&[route], took);
        }
    }

    pub(crate) fn submitted(&self, queue: &str) {
        self.submitted.count(&[queue]);
    }

    /// A job was given out after it had waited so long; nobody asks that of a later try.
    pub(crate) fn given(&self, queue: &str, waited: Option<Duration>) {
        self.given.count(&[queue]);
        if let Some(waited) = waited {
            self.waited.observe(&[queue], waited);
        }
    }

    /// A job's try is over, or it was cancelled before it had one.
    pub(crate) fn ended(&self, job: &JobRow) {
        let Record { state, .. } = &job.record;
        self.ended.count(&[&job.queue, &state.to_string()]);
    }

    /// A job was taken back from an executor that fell silent.
    pub(crate) fn lease_lost(&self, job: &JobRow) {
        self.leases_lost.count(&[&job.queue]);
        let Some(resets) = self.resets.iter().find(|resets| resets.queue == job.queue) else { return };
        let counted = if job.record.state == State::Failed { &resets.failed } else { &resets.again };
        counted.1.fetch_add(1, Ordering::Relaxed);
    }

    /// Nobody could look for jobs to take back.
    pub(crate) fn resetting_failed(&self) {
        for resets in &self.resets {
            resets.errors.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn unproved(&self, who: Prover, why: Unproved) {
        let who = match who {
            Prover::Api => "api",
            Prover::Executor => "executor",
            Prover::Job => "job",
        };
        let why = match why {
            Unproved::Wrong => "wrong",
            Unproved::Limited => "limited",
        };
        self.unproved.count(&[who, why]);
    }

    /// A call came for a job that had been taken back.
    pub(crate) fn late_call(&self) {
        self.late_calls.fetch_add(1, Ordering::Relaxed);
    }

    /// The shared secret before the present one was shown.
    pub(crate) fn old_secret_shown(&self) {
        self.old_secret.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes of log text came in.
    pub(crate) fn log_came(&self, bytes: usize) {
        self.log_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many secrets that are kept were handed to a job.
    pub(crate) fn secrets_opened(&self, secrets: usize) {
        self.secrets_opened.fetch_add(secrets as u64, Ordering::Relaxed);
    }

    /// A connection is there until the result is dropped.
    pub(crate) fn connection(self: &std::sync::Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connections_begun.fetch_add(1, Ordering::Relaxed);
        Connected(std::sync::Arc::clone(self))
    }

    /// Queue sizes will be sent there.
    pub(crate) fn pushes_to(&self, target: &str) {
        for outcome in [OK, FAILED] {
            self.pushes.begin(&[target, outcome]);
        }
    }

    /// Queue sizes were sent there, or could not be.
    pub(crate) fn pushed(&self, target: &str, worked: bool) {
        self.pushes.count(&[target, if worked { OK } else { FAILED }]);
    }

    fn write(&self, text: &mut Text) {
        let Self { requests, submitted, given, ended, leases_lost, unproved, pushes, .. } = self;
        for counter in [requests, submitted, given, ended, leases_lost, unproved, pushes] {
            counter.write(text);
        }
        for histogram in [&self.request_seconds, &self.waited] {
            histogram.write(text);
        }
        for resets in &self.resets {
            resets.write(text);
        }
        let mut single = |name, help, kind, number: &AtomicU64| {
            text.single(name, help, kind, number.load(Ordering::Relaxed) as f64);
        };
        let all_old = "Calls with executors.accessTokenPrevious.";
        single("executor_server_old_secret_calls_total", all_old, Kind::Counter, &self.old_secret);
        let too_late = "Calls of executors whose job had been taken back.";
        single("executor_server_late_calls_total", too_late, Kind::Counter, &self.late_calls);
        single("executor_server_log_bytes_total", "Log text that came in.", Kind::Counter, &self.log_bytes);
        let handed = "Kept secrets that were handed to jobs.";
        single("executor_server_secrets_handed_out_total", handed, Kind::Counter, &self.secrets_opened);
        single("executor_server_connections", "Connections that are open.", Kind::Gauge, &self.connections);
        let begun = "Connections that were accepted.";
        single("executor_server_connections_total", begun, Kind::Counter, &self.connections_begun);
    }
}

/// A connection is counted as long as this is there.
pub(crate) struct Connected(std::sync::Arc<Metrics>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
