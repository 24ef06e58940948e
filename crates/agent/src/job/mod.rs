//! One job from its dequeue to its final call.

mod artifacts;
mod credentials;
mod ending;
mod phases;
mod skip;
mod src_steps;
mod steps;
mod stop;

pub(crate) use credentials::check as check_credentials;
pub(crate) use ending::{Failure, final_call};
pub(crate) use stop::{EndTold, JobStop, StopCause};

use crate::account::Account;
use crate::api::{Api, Final, JobAuth, Patience, retry};
use crate::config::AgentConfig;
use crate::error::chain;
use crate::lease::Lease;
use crate::log::JobLog;
use crate::supervisor::{JobDir, KeptEnd};
use crate::text::begin;
use crate::timeline::Timeline;
use crate::trace;
use jobs::{EndReason, Redactor};
use phases::Claimed;
use runtimes::Runtime;
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};
use wire::Job;

/// What a redacted credential of the agent itself is replaced by.
const REMOVED: &str = "SECRET_REMOVED";
/// The most of a message that is sent; parts of it come from payloads and programs.
const LONGEST_MESSAGE: usize = 8 << 10;

/// How long the final call waits for the disk that the job's end is kept on.
const LONGEST_KEEPING: Duration = Duration::from_secs(10);

/// What jobs share.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) api: Api,
    pub(crate) runtime: Arc<dyn Runtime>,
    /// The agent has to leave at once.
    pub(crate) hurry: CancellationToken,
}

/// A job that was assigned to us.
pub(crate) struct Assigned {
    pub(crate) job: Job,
    pub(crate) auth: JobAuth,
    pub(crate) stop: Arc<JobStop>,
    pub(crate) lease: Arc<Lease>,
    /// When its dequeue was answered.
    pub(crate) at: Instant,
    pub(crate) timeline: Timeline,
    /// Where its end is kept until the control plane knows it; `None` where nobody would look.
    pub(crate) kept: Option<JobDir>,
}

/// Runs a job and makes its final call; tells whether it completed.
pub(crate) async fn run(around: Surroundings, assigned: Assigned) -> bool {
    let followed = trace::follow(around.api.config(), &assigned);
    let completed = Box::pin(run_to_its_end(around, assigned)).await;
    if let Some(followed) = followed {
        followed.end();
    }
    completed
}

async fn run_to_its_end(around: Surroundings, assigned: Assigned) -> bool {
    let Assigned { job, auth, stop, lease, at, timeline, kept } = assigned;
    let config = around.api.config();
    let patience = Patience { limit: config.patience, hurry: around.hurry.clone() };
    let redactor = redactor(&job, &auth, config);
    let log = JobLog::start(around.api.clone(), auth.clone(), redactor);
    info!(job = %job.id, queue = auth.queue, repository = job.repository_name, steps = job.docker_steps.len(), "job begins");

    let watch = AbortOnDropHandle::new(tokio::spawn(watch(around.clone(), Arc::clone(&stop), lease, at)));
    let claimed =
        Claimed { around: &around, job: &job, auth: &auth, stop: &stop, log: &log, timeline: &timeline };
    let result = claimed.run_to_the_end().await;
    // From here on the job has ended, whatever the clock says.
    drop(watch);

    let Some((reason, mut last)) = final_call(&result, &stop, config.max_runtime) else {
        timeline.ledger().dropped();
        warn!(job = %job.id, "the job was dropped without a final call: it is not ours any more");
        return false;
    };
    if let Final::Errored { message, .. } | Final::Failed { message, .. } = &mut last {
        let clean = log.redact(message);
        begin(&clean, LONGEST_MESSAGE).clone_into(message);
    }
    let telling = async {
        let keeping = keep_end(kept.as_ref(), &last, &reason, &around.api, &log, &timeline);
        // The one hides behind the other.
        let (delivered, ()) = tokio::join!(log.flush(&patience), keeping);
        if let Some(dir) = kept.as_ref().filter(|_| delivered) {
            // At worst the log is delivered again.
            let _ = dir.note_log_delivered();
        }
        timeline.reached("log delivered");
        if stop.cause() != Some(StopCause::Abandoned) {
            stop.tell_end().await;
            mark(&around.api, &auth, &last, &patience).await;
        }
        timeline.reached("marked");
    };
    // What is told of a job that is not ours any more is refused; another copy may wait for our end.
    if stop.abandoned().run_until_cancelled(telling).await.is_none() {
        timeline.ledger().dropped();
        warn!(job = %job.id, %reason, "the job's end was not told: the control plane took it back");
        return false;
    }
    timeline.ledger().ended(reason.detail());
    let seconds = at.elapsed().as_secs_f64();
    match &last {
        Final::Complete => info!(job = %job.id, seconds, "job completed"),
        Final::Errored { message, .. } | Final::Failed { message, .. } => {
            info!(job = %job.id, seconds, %reason, message, "job did not complete");
        }
    }
    last == Final::Complete
}

/// Keeps how the job ended, so that nobody runs it again should this process die before the control plane knows it.
/// What can't be kept is told all the same.
fn keep_end(
    dir: Option<&JobDir>,
    last: &Final,
    reason: &EndReason,
    api: &Api,
    log: &JobLog,
    timeline: &Timeline,
) -> impl Future<Output = ()> + use<> {
    let undelivered = log.undelivered();
    let account = Account { end: Some(Box::new(reason.detail())), ..timeline.ledger().account() };
    let (last, appends, entries) = (last.clone(), api.can_append(), undelivered.entries());
    let end = KeptEnd { last, account, appends, entries };
    let dir = dir.cloned();
    async move {
        let Some(dir) = dir else { return };
        let keeping = tokio::task::spawn_blocking(move || dir.keep_end(&end, &undelivered));
        match timeout(LONGEST_KEEPING, keeping).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(fault))) => warn!(%fault, "failed to keep how a job ended until that is told"),
            Ok(Err(panic)) => warn!(%panic, "failed to keep how a job ended until that is told"),
            Err(_) => warn!("it takes long to keep how a job ended; it is told without that"),
        }
    }
}

/// Makes a final call, again and again while there is patience.
pub(crate) async fn mark(api: &Api, auth: &JobAuth, last: &Final, patience: &Patience) {
    let marked = tokio::select! {
        marked = retry("mark a job", || api.mark(auth, last)) => marked,
        () = patience.over() => {
            warn!(job = %auth.id, "gave up on telling how the job ended; its lease will run out");
            return;
        }
    };
    if let Err(error) = marked {
        warn!(job = %auth.id, error = chain(&error), "the control plane did not take the job's end");
    }
}

/// Stops the job when its time is over, when it is not ours for longer, or when the agent has to leave.
async fn watch(around: Surroundings, stop: Arc<JobStop>, lease: Arc<Lease>, at: Instant) {
    let deadline = async {
        match around.api.config().max_runtime {
            Some(limit) => sleep(limit.saturating_sub(at.elapsed())).await,
            None => std::future::pending().await,
        }
    };
    let cause = tokio::select! {
        () = deadline => StopCause::Timeout,
        () = around.hurry.cancelled() => StopCause::ExecutorStopped,
        () = lease.lost() => {
            warn!("no heartbeat has renewed the job's lease for too long: it is ended before it is given to somebody else");
            StopCause::Abandoned
        }
    };
    stop.fire(cause);
}

/// Everything that may not be shown; the job's own words for a secret win over ours.
pub(crate) fn redactor(job: &Job, auth: &JobAuth, config: &AgentConfig) -> Redactor {
    let logins = credentials::secrets(&job.docker_auth_config, config);
    let ours = [config.password.expose_secret(), auth.token.expose_secret()];
    let ours = ours.into_iter().chain(logins.iter().map(ExposeSecret::expose_secret));
    let ours = ours.filter(|secret| !job.redacted_values.contains_key(*secret));
    let theirs = job.redacted_values.iter().map(|(secret, word)| (secret.as_str(), word.as_str()));
    Redactor::new(ours.map(|secret| (secret, REMOVED)).chain(theirs).filter(|(secret, _)| !secret.is_empty()))
}
