//! Telling the control plane how a job ended whose supervisor was killed before it had done so.

use super::hand_back::{auth_of, is_removed};
use crate::account::Ledger;
use crate::api::{Final, JobAuth, Patience};
use crate::job::{self, JobStop, Surroundings};
use crate::log::deliver_kept;
use crate::supervisor::{JobDir, KeptEnd, KeptTexts, Record};
use tracing::{info, warn};

/// Delivers what is left of the job's log and makes the final call, as its supervisor would have; tells whether the
/// job completed.
pub(super) async fn tell(
    around: &Surroundings,
    dir: &JobDir,
    record: &Record,
    stop: &JobStop,
    ledger: &Ledger,
    (end, texts): (KeptEnd, KeptTexts),
) -> bool {
    let job = record.job;
    warn!(%job, supervisor = record.pid, "the supervisor of a job died before it had told the job's end: it is told now");
    if !is_removed(around, record).await {
        // It had ended all the same.
        warn!(%job, "what a supervisor left of a job that had ended can't be removed");
    }
    let auth = match auth_of(dir, record) {
        Ok(auth) => auth,
        Err(fault) => {
            warn!(%job, %fault, "a job's end can't be told without its token");
            ledger.dropped();
            return false;
        }
    };
    let (last, account) = (end.last.clone(), end.account.clone());
    let telling = async {
        deliver(around, &auth, end, texts).await;
        dir.note_log_delivered().unwrap_or_else(|fault| warn!(%job, %fault, "a log may be delivered again"));
        stop.note_end_told();
        job::mark(&around.api, &auth, &last, &patience(around)).await;
    };
    if stop.abandoned().run_until_cancelled(telling).await.is_none() {
        ledger.dropped();
        warn!(%job, "the job's end was not told: the control plane took it back");
        return false;
    }
    info!(%job, reason = account.reason(), "the end of a job was told");
    ledger.take_over(account);
    last == Final::Complete
}

async fn deliver(around: &Surroundings, auth: &JobAuth, end: KeptEnd, texts: KeptTexts) {
    if end.appends {
        around.api.assume_append(true);
    }
    let texts = (texts.file, texts.at);
    deliver_kept(&around.api, auth, end.entries, texts, &patience(around)).await;
}

fn patience(around: &Surroundings) -> Patience {
    Patience { limit: around.api.config().patience, hurry: around.hurry.clone() }
}
