//! A job as those see it who count and write down what jobs there are: from its begin to its end.

use crate::account::Ledger;
use crate::api::JobAuth;
use crate::boot_time::BootTime;
use crate::config::AgentConfig;
use crate::host::Ran;
use crate::job::Assigned;
use crate::supervisor::Record;
use std::sync::Arc;
use std::time::Instant;
use wire::{Job, JobId};

/// What the queue of a job is called whose queue is none of the agent's.
const OTHER_QUEUE: &str = "other";

/// One job.
pub(crate) struct Watched {
    config: Arc<AgentConfig>,
    job: JobId,
    queue: String,
    ledger: Ledger,
    began: Instant,
}

/// The job begins here: its begin is written into the file of the audit log.
pub(crate) fn write_begin(config: &AgentConfig, assigned: &Assigned) {
    if let Some(audit) = config.monitor.audit() {
        audit.begins(config, &assigned.job, &assigned.auth);
    }
}

impl Watched {
    /// The job was taken, and begins; what it does comes into `ledger`.
    pub(crate) fn begin(config: &Arc<AgentConfig>, job: &Job, auth: &JobAuth, ledger: &Ledger) -> Self {
        config.monitor.metrics().job_begins(known(config, &auth.queue));
        if let Some(audit) = config.monitor.audit() {
            audit.taken(config, job, auth);
        }
        Self::of(config, job.id, &auth.queue, ledger, Instant::now())
    }

    /// A job that an earlier agent has begun goes on under this one.
    pub(crate) fn adopt(config: &Arc<AgentConfig>, record: &Record, ledger: &Ledger) -> Self {
        config.monitor.metrics().job_goes_on();
        let began = record.begun.map_or_else(Instant::now, BootTime::instant);
        Self::of(config, record.job, &record.queue, ledger, began)
    }

    fn of(config: &Arc<AgentConfig>, job: JobId, queue: &str, ledger: &Ledger, began: Instant) -> Self {
        let (config, queue, ledger) = (Arc::clone(config), queue.to_owned(), ledger.clone());
        Self { config, job, queue, ledger, began }
    }

    /// Nothing of it runs any more.
    pub(crate) fn end(self, ran: Ran) {
        let mut account = self.ledger.account();
        let queues = self.config.all_queues();
        let took = self.began.elapsed();
        let monitor = &self.config.monitor;
        let queue = known(&self.config, &self.queue);
        monitor.metrics().job_ended(&queues, queue, account.reason(), took, ran.completed);
        monitor.metrics().add(*std::mem::take(&mut account.counts));
        if let Some(audit) = monitor.audit().filter(|_| !ran.written) {
            audit.ended(&self.config, self.job, &self.queue, &account, ran.completed, took);
        }
    }
}

/// What `queue` is counted under.
fn known<'a>(config: &AgentConfig, queue: &'a str) -> &'a str {
    if config.queues.iter().any(|known| known == queue) { queue } else { OTHER_QUEUE }
}
