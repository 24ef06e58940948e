//! Telling the control plane at once of a job whose supervisor died, rather than letting its lease run
//! out.

use crate::api::{Final, JobAuth, Patience};
use crate::boot_time::BootTime;
use crate::error::chain;
use crate::job::{self, Failure, JobStop, StopCause, Surroundings};
use crate::supervisor::{JobDir, Record};
use jobs::EndReason;
use secrecy::SecretString;
use std::io;
use std::time::Duration;
use tokio::time::sleep;
use tracing::{error, warn};
use wire::additions::EndDetail;

/// How often what is left of a sandbox is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long what is left may take to go. A job that may still run somewhere is not handed back: its lease
/// runs out.
const REMOVE_LIMIT: Duration = Duration::from_secs(15);

/// What is said of a job whose supervisor died.
pub(super) struct LastCall {
    reason: EndReason,
    call: Final,
}

impl LastCall {
    pub(super) fn end(&self) -> EndDetail {
        self.reason.detail()
    }
}

/// A job that was to end anyway has ended, for that reason; any other is lost. `limit` is how long it might
/// take.
pub(super) fn last_call(stop: &JobStop, limit: Option<Duration>) -> LastCall {
    let stopped = stop.cause().and_then(|_| job::final_call(&Err(Failure::Stopped), stop, limit));
    let (reason, call) = stopped.unwrap_or_else(|| {
        let message = "the process that ran the job was killed on its executor".to_owned();
        let reason = EndReason::ExecutorLost { lease: None };
        let end = reason.detail();
        (reason, Final::Errored { message, end })
    });
    LastCall { reason, call }
}

/// Removes what the supervisor left of the job's sandbox, and then says that the job is lost.
pub(super) async fn hand_back(
    around: &Surroundings,
    dir: &JobDir,
    record: &Record,
    stop: &JobStop,
    last: &LastCall,
) {
    let job = record.job;
    warn!(%job, supervisor = record.pid, "the supervisor of a job died: the job is handed back");
    if !is_removed(around, record).await {
        error!(%job, "what a supervisor left of a job can't be removed: the job is not handed back");
        return;
    }
    if stop.cause() == Some(StopCause::Abandoned) {
        return;
    }
    let auth = match auth_of(dir, record) {
        Ok(auth) => auth,
        Err(fault) => return warn!(%job, %fault, "a job can't be handed back without its token"),
    };
    stop.note_end_told();
    let patience = Patience { limit: around.api.config().patience, hurry: around.hurry.clone() };
    job::mark(&around.api, &auth, &last.call, &patience).await;
}

/// What calls about the job are made with.
pub(super) fn auth_of(dir: &JobDir, record: &Record) -> io::Result<JobAuth> {
    let token = SecretString::from(dir.token()?);
    Ok(JobAuth { id: record.job, queue: record.queue.clone(), token })
}

/// Removes what the supervisor left of the job's sandbox; whether it is gone.
pub(super) async fn is_removed(around: &Surroundings, record: &Record) -> bool {
    let Some(instance) = &record.instance else { return true };
    let deadline = BootTime::now() + REMOVE_LIMIT;
    while around.runtime.is_left(instance) {
        if BootTime::now() > deadline {
            if let Some(start) = &around.api.config().start {
                start.spoil();
            }
            return false;
        }
        // Its guardian may be at it as well.
        if let Err(fault) = around.runtime.reap().await {
            warn!(fault = chain(&fault), "failed to remove what a supervisor left");
        }
        sleep(LOOK_AGAIN).await;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_was_to_end_anyway_is_not_lost() {
        let limit = Some(Duration::from_mins(2));
        for (cause, reason, is_final) in [
            (None, "executor_lost", false),
            (Some(StopCause::Abandoned), "executor_lost", false),
            (Some(StopCause::Canceled), "canceled", true),
            (Some(StopCause::Timeout), "timeout", false),
            (Some(StopCause::ExecutorStopped), "executor_stopped", false),
        ] {
            let stop = JobStop::default();
            if let Some(cause) = cause {
                stop.fire(cause);
            }
            let last = last_call(&stop, limit);
            assert_eq!(
                (last.end().reason.as_str(), matches!(last.call, Final::Failed { .. })),
                (reason, is_final)
            );
        }
    }
}
