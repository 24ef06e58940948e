//! Where a job's time goes: one debug event per stage under one target, for benchmarks.

use crate::account::Ledger;
use std::time::Instant;
use tracing::debug;
use wire::IdText;

/// Counts from the moment the dequeue that brought the job was answered.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    job: IdText,
    began: Instant,
    ledger: Ledger,
}

impl Timeline {
    pub(crate) fn begin(job: IdText, answered: Instant) -> Self {
        let timeline = Self { job, began: answered, ledger: Ledger::default() };
        timeline.reached("dequeue answered");
        timeline
    }

    /// The same where somebody else has seen the job come.
    pub(crate) fn resume(job: IdText, answered: Instant) -> Self {
        Self { job, began: answered, ledger: Ledger::default() }
    }

    /// What the job did, for those who count.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The job got to `stage`.
    pub(crate) fn reached(&self, stage: &str) {
        let elapsed_us = self.began.elapsed().as_micros() as u64;
        debug!(target: "executor::timeline", job = %self.job, stage, elapsed_us);
    }
}
