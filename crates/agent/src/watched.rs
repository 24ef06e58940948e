//! A job as those see it who count and write down what jobs there are: from its begin to its end.

use crate::account::Ledger;
use crate::api::JobAuth;
use crate::config::AgentConfig;
use crate::job::redactor;
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

impl Watched {
    /// The job begins; what it does comes into `ledger`.
    pub(crate) fn begin(config: &Arc<AgentConfig>, job: &Job, auth: &JobAuth, ledger: &Ledger) -> Self {
        let queue = known(config, &auth.queue);
        config.monitor.metrics().job_begins(queue);
        if let Some(audit) = config.monitor.audit().filter(|audit| audit.is_on()) {
            audit.begins(config, job, &auth.queue, &redactor(job, auth, &config.password));
        }
        Self::of(config, job.id, queue, ledger)
    }

    /// A job that an earlier agent has begun goes on under this one.
    pub(crate) fn adopt(config: &Arc<AgentConfig>, job: JobId, queue: &str, ledger: &Ledger) -> Self {
        config.monitor.metrics().job_goes_on();
        Self::of(config, job, known(config, queue), ledger)
    }

    fn of(config: &Arc<AgentConfig>, job: JobId, queue: &str, ledger: &Ledger) -> Self {
        Self {
            config: Arc::clone(config),
            job,
            queue: queue.to_owned(),
            ledger: ledger.clone(),
            began: Instant::now(),
        }
    }

    /// Nothing of it runs any more.
    pub(crate) fn end(self, completed: bool) {
        let mut account = self.ledger.account();
        let queues = self.config.all_queues();
        let took = self.began.elapsed();
        let monitor = &self.config.monitor;
        monitor.metrics().job_ended(&queues, &self.queue, account.reason(), took, completed);
        monitor.metrics().add(*std::mem::take(&mut account.counts));
        if let Some(audit) = monitor.audit() {
            audit.ended(&self.config, self.job, &self.queue, &account, completed, took);
        }
    }
}

/// What `queue` is counted under.
fn known<'a>(config: &AgentConfig, queue: &'a str) -> &'a str {
    if config.queues.iter().any(|known| known == queue) { queue } else { OTHER_QUEUE }
}
