//! A job as those see it who count and write down what jobs there are: from its begin to its end.

use crate::account::Ledger;
use crate::api::JobAuth;
use crate::config::AgentConfig;
use std::sync::Arc;
use std::time::Instant;

/// What the queue of a job is called whose queue is none of the agent's.
const OTHER_QUEUE: &str = "other";

/// One job.
pub(crate) struct Watched {
    config: Arc<AgentConfig>,
    queue: String,
    ledger: Ledger,
    began: Instant,
}

impl Watched {
    /// The job begins; what it does comes into `ledger`.
    pub(crate) fn begin(config: &Arc<AgentConfig>, auth: &JobAuth, ledger: &Ledger) -> Self {
        let known = config.queues.contains(&auth.queue);
        let queue = if known { auth.queue.as_str() } else { OTHER_QUEUE };
        config.monitor.metrics().job_begins(queue);
        Self {
            config: Arc::clone(config),
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
        self.config.monitor.metrics().job_ended(&queues, &self.queue, account.reason(), took, completed);
    }
}
