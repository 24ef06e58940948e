//! Delivers the entries of one job, in the order in which they were opened.

use super::delivery::Delivery;
use super::entry::Entry;
use crate::api::{Api, ApiError, JobAuth};
use crate::error::chain;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tracing::warn;

/// The job belongs to somebody else now: nothing more can be delivered.
struct Lost;

/// Runs until every entry is delivered, or none can be any more.
pub(super) async fn ship(api: Api, job: JobAuth, mut entries: UnboundedReceiver<Arc<Entry>>) {
    // Entries are opened one after the other; the text of several may be under way. Dropping the
    // set ends them all.
    let mut deliveries = JoinSet::new();
    while let Some(entry) = entries.recv().await {
        let key = entry.key.clone();
        let delivered = match Delivery::open(api.clone(), job.clone(), entry).await {
            Ok(delivery) => {
                deliveries.spawn(async move { (delivery.run().await, key) });
                collect(&mut deliveries, &job)
            }
            Err(error) => judge(&error, &key, &job),
        };
        if delivered.is_err() {
            return;
        }
    }
    while let Some(ended) = deliveries.join_next().await {
        if let Ok((Err(error), key)) = ended
            && judge(&error, &key, &job).is_err()
        {
            return;
        }
    }
}

/// Takes note of the deliveries that have ended.
fn collect(deliveries: &mut JoinSet<(Result<(), ApiError>, String)>, job: &JobAuth) -> Result<(), Lost> {
    while let Some(ended) = deliveries.try_join_next() {
        if let Ok((Err(error), key)) = ended {
            judge(&error, &key, job)?;
        }
    }
    Ok(())
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
