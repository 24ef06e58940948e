//! What the agent counts, and the text it is told in.
//!
//! Names that begin with `src_` are documented: dashboards and auto-scalers of stock instances know
//! them. Those that begin with `executor_` are ours. Labels hold names out of closed sets, queues of the
//! configuration and documented keys: never what a job chose, and never a secret.

mod counts;
mod exporters;
mod handlers;
mod operation;

pub(crate) use counts::Counts;
pub(crate) use exporters::Forwarder;
pub(crate) use exposition::CONTENT_TYPE;

use exposition::{Counter, Histogram, Kind, Named, Text, process};
use handlers::Handlers;
use operation::{JOBS, Names, Operation, SHORT};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What all steps are counted as, whatever their keys.
const STEP: &str = "exec";
/// What the keys of steps begin with.
const STEP_KEY: &str = "step.";
/// What the keys of commands begin with that are counted by their own names: there are few.
const GIT_KEY: &str = "setup.git.";
/// What images take, in seconds: at once from this host's store, long from a registry.
const IMAGES: &[f64] = &[0.005, 0.05, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// What is known elsewhere and told here as it is at this moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Now {
    pub(crate) slots: usize,
    pub(crate) heartbeat_age: Option<Duration>,
    pub(crate) draining: bool,
    pub(crate) ready: bool,
    /// Free bytes of the disk that jobs use, and how many of them are to stay so.
    pub(crate) disk: Option<(u64, u64)>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Jobs, from their dequeue to their final call.
    handled: Operation,
    handlers: Handlers,
    /// Commands that were run for jobs: those of a clone, and steps.
    commands: Operation,
    /// Calls about queues and jobs.
    pub(crate) queue_calls: Operation,
    /// Downloads of files.
    pub(crate) file_calls: Operation,
    started: Counter,
    ended: Counter,
    /// Requests for a job, by what came of them.
    pub(crate) dequeues: Counter,
    images: Histogram,
    image_failures: Counter,
    heartbeats_failed: AtomicU64,
    pub(crate) log_delivered: AtomicU64,
    pub(crate) log_pending: AtomicU64,
    /// Jobs whose supervisor does not answer.
    pub(crate) silent: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let counter = |name, help, labels| Counter::new(Named { name, help, labels });
        let dequeues = counter("executor_dequeues_total", "Requests for a job by answer.", &["answer"]);
        for answer in ["job", "nothing", "unreadable", "failed"] {
            dequeues.begin(&[answer]);
        }
        Self {
            handled: Operation::new(
                &Names {
                    total: "src_executor_processor_total",
                    errors: "src_executor_processor_errors_total",
                    duration: "src_executor_processor_duration_seconds",
                    labels: &["queue", "op"],
                },
                JOBS,
            ),
            handlers: Handlers::default(),
            commands: Operation::new(
                &Names {
                    total: "src_apiworker_command_total",
                    errors: "src_apiworker_command_errors_total",
                    duration: "src_apiworker_command_duration_seconds",
                    labels: &["op"],
                },
                SHORT,
            ),
            queue_calls: Operation::new(
                &Names {
                    total: "src_apiworker_apiclient_queue_total",
                    errors: "src_apiworker_apiclient_queue_errors_total",
                    duration: "src_apiworker_apiclient_queue_duration_seconds",
                    labels: &["op"],
                },
                SHORT,
            ),
            file_calls: Operation::new(
                &Names {
                    total: "src_apiworker_apiclient_files_total",
                    errors: "src_apiworker_apiclient_files_errors_total",
                    duration: "src_apiworker_apiclient_files_duration_seconds",
                    labels: &["op"],
                },
                SHORT,
            ),
            started: counter("executor_jobs_started_total", "Jobs that were begun.", &["queue"]),
            ended: counter("executor_jobs_ended_total", "Jobs that ended, by reason.", &["queue", "reason"]),
            dequeues,
            images: Histogram::new(
                Named {
                    name: "executor_image_seconds",
                    help: "Until a step had its image, pulled or found here.",
                    labels: &[],
                },
                IMAGES,
            ),
            image_failures: counter(
                "executor_image_failures_total",
                "Steps that could not have their image, by reason.",
                &["reason"],
            ),
            heartbeats_failed: AtomicU64::new(0),
            log_delivered: AtomicU64::new(0),
            log_pending: AtomicU64::new(0),
            silent: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// A job begins that came from `queue`.
    pub(crate) fn job_begins(&self, queue: &str) {
        self.handlers.begins();
        self.started.count(&[queue]);
    }

    /// A job goes on that was begun by an earlier agent.
    pub(crate) fn job_goes_on(&self) {
        self.handlers.begins();
    }

    /// It ended, for `reason`. `all_queues` is the documented name of the agent's queues together.
    pub(crate) fn job_ended(
        &self,
        all_queues: &str,
        queue: &str,
        reason: &str,
        took: Duration,
        worked: bool,
    ) {
        self.handlers.ends();
        self.ended.count(&[queue, reason]);
        self.handled.done(&[all_queues, "Handle"], took, worked);
    }

    /// How many jobs run.
    pub(crate) fn running(&self) -> usize {
        self.handlers.now()
    }

    /// A command ended whose log entry has this key.
    pub(crate) fn command_done(&self, key: &str, took: Duration, worked: bool) {
        let operation = match key {
            key if key.starts_with(STEP_KEY) => STEP,
            key if key.starts_with(GIT_KEY) => key,
            _ => return,
        };
        self.commands.done(&[operation], took, worked);
    }

    /// A step got its image after so long.
    pub(crate) fn image_came(&self, took: Duration) {
        self.images.observe(&[], took);
    }

    /// A step did not get its image, for `reason`.
    pub(crate) fn image_failed(&self, reason: &str) {
        self.image_failures.count(&[reason]);
    }

    pub(crate) fn heartbeat_failed(&self) {
        self.heartbeats_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted of jobs in this process, which begins anew.
    pub(crate) fn take(&self) -> Counts {
        Counts {
            commands: self.commands.take(),
            queue_calls: self.queue_calls.take(),
            file_calls: self.file_calls.take(),
            images: self.images.take(),
            image_failures: self.image_failures.take(),
            log_delivered: self.log_delivered.swap(0, Ordering::Relaxed),
        }
    }

    /// What was counted of jobs in another process.
    pub(crate) fn add(&self, counts: Counts) {
        self.commands.add(counts.commands);
        self.queue_calls.add(counts.queue_calls);
        self.file_calls.add(counts.file_calls);
        self.images.add(counts.images);
        self.image_failures.add(counts.image_failures);
        self.log_delivered.fetch_add(counts.log_delivered, Ordering::Relaxed);
    }

    /// All of it as text, with `now` and what this process uses.
    pub(crate) fn text(&self, all_queues: &str, version: &str, now: &Now) -> String {
        let mut text = Text::default();
        self.handled.write(&mut text);
        self.handlers.write(&mut text, all_queues);
        for calls in [&self.commands, &self.queue_calls, &self.file_calls] {
            calls.write(&mut text);
        }
        for counter in [&self.started, &self.ended, &self.dequeues, &self.image_failures] {
            counter.write(&mut text);
        }
        self.images.write(&mut text);
        self.write_log(&mut text);
        now.write(&mut text, self);
        text.family("executor_build_info", "Which version runs.", Kind::Gauge);
        text.sample("executor_build_info", &[("version", version)], 1.0);
        process::write(&mut text);
        text.into_string()
    }

    fn write_log(&self, text: &mut Text) {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed) as f64;
        let (failed, delivered) = (of(&self.heartbeats_failed), of(&self.log_delivered));
        text.single("executor_heartbeat_failures_total", "Heartbeats that failed.", Kind::Counter, failed);
        text.single(
            "executor_log_delivered_bytes_total",
            "Log text that the control plane has.",
            Kind::Counter,
            delivered,
        );
        text.single(
            "executor_log_pending_bytes",
            "Log text that waits to be delivered.",
            Kind::Gauge,
            of(&self.log_pending),
        );
    }
}

impl Now {
    fn write(&self, text: &mut Text, metrics: &Metrics) {
        let mut gauge = |name, help, value| text.single(name, help, Kind::Gauge, value);
        gauge("executor_jobs_running", "Jobs that run.", metrics.running() as f64);
        let silent = metrics.silent.load(Ordering::Relaxed);
        gauge("executor_jobs_silent", "Jobs whose supervisor does not answer.", silent as f64);
        gauge("executor_job_slots", "Jobs that may run at the same time.", self.slots as f64);
        gauge("executor_draining", "1 when no more jobs are taken.", f64::from(u8::from(self.draining)));
        gauge("executor_ready", "1 when jobs can be taken.", f64::from(u8::from(self.ready)));
        if let Some(age) = self.heartbeat_age {
            gauge("executor_heartbeat_age_seconds", "Since a heartbeat was answered.", age.as_secs_f64());
        }
        if let Some((free, floor)) = self.disk {
            gauge("executor_disk_free_bytes", "Free on the disk that jobs use.", free as f64);
            gauge("executor_disk_floor_bytes", "What is to stay free there.", floor as f64);
        }
    }
}

#[cfg(test)]
mod tests;
