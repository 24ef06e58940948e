//! What every request handler shares.

use crate::answers::Answers;
use crate::attention::Unheard;
use crate::auth::attempts::Attempts;
use crate::auth::first::FirstCode;
use crate::auth::old_secret::OldSecret;
use crate::auth::passwords::Passwords;
use crate::bodies::Bodies;
use crate::checkpoint::SecretJobs;
use crate::config::Limits;
use crate::disk_floor::DiskFloor;
use crate::executor_api::{Capacities, Claims};
use crate::fairness::Fairness;
use crate::files::Files;
use crate::fleet::Fleet;
use crate::git::Repositories;
use crate::listener::Tls;
use crate::metrics::{Depths, Forwarded, Metrics};
use crate::public_api::Readiness;
use crate::site_config::SiteConfig;
use crate::slots::{InTurn, Slots};
use ipnet::IpNet;
use jobs::{LeasePolicy, WatchedClock};
use secrecy::SecretString;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
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
    pub(crate) fleet: Fleet,
    pub(crate) claims: Claims,
    pub(crate) capacities: Capacities,
    pub(crate) secret_jobs: SecretJobs,
    pub(crate) unheard: Unheard,
    pub(crate) clock: Arc<WatchedClock>,
    pub(crate) limits: Limits,
    /// How long a job stays its executor's.
    pub(crate) leases: LeasePolicy,
    /// How much longer a job that errored waits for whoever had it last.
    pub(crate) same_executor_later: Duration,
    /// Proxies that are believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) version: String,
    /// Where everything is kept.
    pub(crate) data_dir: PathBuf,
    /// What connections are made safe with; without it they are plain.
    pub(crate) tls: Option<Tls>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) depths: Depths,
    pub(crate) readiness: Readiness,
    /// What stays free on the disk of the data directory.
    pub(crate) disk_floor: Arc<DiskFloor>,
    pub(crate) forwarded: Forwarded,
    pub(crate) api_token: SecretString,
    /// Who has failed to prove who they are.
    pub(crate) attempts: Attempts,
    /// Hashes people's passwords.
    pub(crate) passwords: Passwords,
    /// What signs in where nobody has an account yet.
    pub(crate) first_code: FirstCode,
    /// Who still shows the shared secret before the present one.
    pub(crate) old_secret: OldSecret,
    /// Room for the bodies of the public API, of calls about jobs, and of what executors say of themselves: whoever submits keeps no
    /// log waiting, and no job keeps a heartbeat.
    pub(crate) submitted: Bodies,
    pub(crate) about_jobs: Bodies,
    pub(crate) of_executors: Bodies,
    /// One per submit under way: it may wait for a fetch, with a whole specification in memory.
    pub(crate) submits: Slots,
    /// One per list that is being made.
    pub(crate) reads: Slots,
    /// One per page that is being made, and room for the forms that are sent from them.
    pub(crate) pages: InTurn,
    pub(crate) forms: Bodies,
    /// For what is being sent of the public API's answers.
    pub(crate) answers: Answers,
    /// For what is being sent of the files that jobs bring along.
    pub(crate) files_out: Answers,
    /// One per index or artifact that is being uploaded.
    pub(crate) results_in: InTurn,
    /// One per git transfer to an executor.
    pub(crate) git_transfers: InTurn,
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
