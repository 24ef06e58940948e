//! What every request handler shares.

use crate::attention::Unheard;
use crate::config::Limits;
use crate::executor_api::{Capacities, Claims};
use crate::fairness::Fairness;
use crate::files::Files;
use crate::git::Repositories;
use crate::janitor::SecretJobs;
use crate::site_config::SiteConfig;
use crate::slots::Slots;
use jobs::{Clock, LeasePolicy};
use secrecy::SecretString;
use std::ops::Deref;
use std::sync::Arc;
use store::Store;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A cheap handle on the running server's parts.
#[derive(Clone)]
pub(crate) struct App(pub(crate) Arc<Parts>);

/// The running server's parts.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) site: SiteConfig,
    pub(crate) repositories: Repositories,
    pub(crate) files: Files,
    pub(crate) fairness: Fairness,
    pub(crate) claims: Claims,
    pub(crate) capacities: Capacities,
    pub(crate) secret_jobs: SecretJobs,
    pub(crate) unheard: Unheard,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    /// How long a job stays its executor's.
    pub(crate) leases: LeasePolicy,
    pub(crate) version: String,
    pub(crate) api_token: SecretString,
    /// One per call about a job with a large body.
    pub(crate) large_calls: Slots,
    /// One per submit under way: it may wait for a fetch, with a whole specification in memory.
    pub(crate) submits: Slots,
    /// One per git transfer to an executor.
    pub(crate) git_transfers: Slots,
    /// Fires when the server begins to stop: waits and streams end at once.
    pub(crate) stop: CancellationToken,
    /// Work that outlives the request it came with.
    pub(crate) tasks: TaskTracker,
}

impl Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Runs `work` to its end even if the client hangs up, which drops the handler that waits for it.
    pub(crate) async fn see_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        self.tasks.spawn(work).await
    }
}
