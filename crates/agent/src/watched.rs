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
        let known = config.queues.contains(&auth.queue);
        let queue = if known { auth.queue.as_str() } else { OTHER_QUEUE };
        config.monitor.metrics().job_begins(queue);
        if let Some(audit) = config.monitor.audit().filter(|audit| audit.is_on()) {
            audit.begins(config, job, &auth.queue, &redactor(job, auth, &config.password));
        }
        Self {
            config: Arc::clone(config),
            job: job.id,
            queue: queue.to_owned(),
            ledger: ledger.clone(),
            began: Instant::now(),
        }
    }

    /// Nothing of it runs any more.
    pub(crate) fn end(self, completed: bool) {
        let account = self.ledger.account();
        let queues = self.config.all_queues();
        let took = self.began.elapsed();
        let monitor = &self.config.monitor;
        monitor.metrics().job_ended(&queues, &self.queue, account.reason(), took, completed);
        if let Some(audit) = monitor.audit() {
            audit.ended(&self.config, self.job, &self.queue, &account, completed, took);
        }
    }
}
