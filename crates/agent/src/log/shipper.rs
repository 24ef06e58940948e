//! Delivers the entries of one job, in the order in which they were opened.

use super::calls::LogCalls;
use super::delivery::Delivery;
use super::entry::Entry;
use crate::api::{ApiError, JobAuth, Patience};
use crate::error::chain;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Entries whose text is under way at a time. The next one waits to be opened.
const MOST_AT_A_TIME: usize = 1_000;

/// Runs until every entry is delivered, or can't be any more. However that goes, it ends no job: the answers to
/// heartbeats do, and those alone. Once `give_up` fires, text that is not taken at once is left out, and entries say so.
pub(super) async fn ship(
    api: Arc<dyn LogCalls>,
    job: JobAuth,
    mut entries: Receiver<Arc<Entry>>,
    give_up: CancellationToken,
) {
    // Entries are opened one after the other; the text of several may be under way. Dropping the
    // set ends them all.
    let mut deliveries: JoinSet<(Result<(), ApiError>, String)> = JoinSet::new();
    let mut more = true;
    loop {
        tokio::select! {
            Some(ended) = deliveries.join_next() => {
                if let Ok((Err(error), key)) = ended {
                    tell(&error, &key, &job);
                }
            }
            entry = entries.recv(), if more && deliveries.len() < MOST_AT_A_TIME => {
                let Some(entry) = entry else {
                    more = false;
                    continue;
                };
                let key = entry.key.clone();
                match Delivery::open(Arc::clone(&api), job.clone(), entry, give_up.clone()).await {
                    Ok(delivery) => {
                        deliveries.spawn(async move { (delivery.run().await, key) });
                    }
                    Err(error) => tell(&error, &key, &job),
                }
            }
            else => return,
        }
    }
}

fn tell(error: &ApiError, key: &str, job: &JobAuth) {
    let what =
        if error.is_lost() { "the entry is not ours to write any more" } else { "it is left as it is" };
    warn!(job = %job.id, key, error = chain(error), "failed to deliver a log entry: {what}");
}

/// How long is waited for the word that text is missing, once there is no more patience: a control plane that takes no
/// text takes that much, and one that is away must not hold up whoever leaves.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Waits for what [`ship`] does for as long as `patience` lasts, and a little longer while it gives up; tells whether all was
/// delivered.
pub(super) async fn wait<T>(
    shipping: impl Future<Output = T>,
    give_up: &CancellationToken,
    patience: &Patience,
) -> Option<T> {
    let mut shipping = std::pin::pin!(shipping);
    tokio::select! {
        ended = &mut shipping => return Some(ended),
        () = patience.over() => {}
    }
    warn!("gave up on delivering the rest of the log");
    give_up.cancel();
    let _ = timeout(LAST_WORDS, shipping).await;
    None
}
