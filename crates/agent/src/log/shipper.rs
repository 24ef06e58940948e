//! Delivers the entries of one job, in the order in which they were opened.

use super::calls::LogCalls;
use super::delivery::Delivery;
use super::entry::Entry;
use crate::api::{ApiError, JobAuth};
use crate::error::chain;
use crate::job::{JobStop, StopCause};
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tracing::warn;

/// Entries whose text is under way at a time. The next one waits to be opened.
const MOST_AT_A_TIME: usize = 1_000;

/// The job belongs to somebody else now: nothing more can be delivered.
struct Lost;

/// Runs until every entry is delivered, or none can be any more: then the job is stopped.
pub(super) async fn ship(
    api: Arc<dyn LogCalls>,
    job: JobAuth,
    entries: Receiver<Arc<Entry>>,
    stop: Arc<JobStop>,
) {
    if let Err(Lost) = deliver(api, job, entries).await {
        stop.fire(StopCause::Abandoned);
    }
}

async fn deliver(
    api: Arc<dyn LogCalls>,
    job: JobAuth,
    mut entries: Receiver<Arc<Entry>>,
) -> Result<(), Lost> {
    // Entries are opened one after the other; the text of several may be under way. Dropping the
    // set ends them all.
    let mut deliveries: JoinSet<(Result<(), ApiError>, String)> = JoinSet::new();
    let mut more = true;
    loop {
        tokio::select! {
            Some(ended) = deliveries.join_next() => {
                if let Ok((Err(error), key)) = ended {
                    judge(&error, &key, &job)?;
                }
            }
            entry = entries.recv(), if more && deliveries.len() < MOST_AT_A_TIME => {
                let Some(entry) = entry else {
                    more = false;
                    continue;
                };
                let key = entry.key.clone();
                match Delivery::open(Arc::clone(&api), job.clone(), entry).await {
                    Ok(delivery) => {
                        deliveries.spawn(async move { (delivery.run().await, key) });
                    }
                    Err(error) => judge(&error, &key, &job)?,
                }
            }
            else => return Ok(()),
        }
    }
}

fn judge(error: &ApiError, key: &str, job: &JobAuth) -> Result<(), Lost> {
    let error_text = chain(error);
    if error.is_lost() {
        warn!(job = %job.id, error = error_text, "the job's log is not ours to write any more");
        return Err(Lost);
    }
    warn!(job = %job.id, key, error = error_text, "failed to deliver a log entry");
    Ok(())
}
