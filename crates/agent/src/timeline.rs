//! Where a job's time goes: one debug event per stage under one target, for benchmarks.

use crate::account::Ledger;
use crate::trace::JobTrace;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tracing::debug;
use wire::IdText;

/// Counts from the moment the dequeue that brought the job was answered.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    job: IdText,
    began: Instant,
    ledger: Ledger,
    trace: Arc<OnceLock<JobTrace>>,
}

impl Timeline {
    pub(crate) fn begin(job: IdText, answered: Instant) -> Self {
        let timeline = Self { job, began: answered, ledger: Ledger::default(), trace: Arc::default() };
        timeline.reached("dequeue answered");
        timeline
    }

    /// The same where somebody else has seen the job come.
    pub(crate) fn resume(job: IdText, answered: Instant) -> Self {
        Self { job, began: answered, ledger: Ledger::default(), trace: Arc::default() }
    }

    /// What the job did, for those who count.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// From now on the stages become spans of `trace`.
    pub(crate) fn follow(&self, trace: JobTrace) {
        // A job runs once.
        let _ = self.trace.set(trace);
    }

    /// The step that just ended was this one.
    pub(crate) fn step_was(&self, key: impl FnOnce() -> String, image: Duration, exit_code: i32) {
        if let Some(trace) = self.trace.get() {
            trace.step_was(key(), image, exit_code);
        }
    }

    /// The job got to `stage`.
    pub(crate) fn reached(&self, stage: &str) {
        if let Some(trace) = self.trace.get() {
            trace.reached(stage);
        }
        let elapsed_us = self.began.elapsed().as_micros() as u64;
        debug!(target: "executor::timeline", job = %self.job, stage, elapsed_us);
    }
}
