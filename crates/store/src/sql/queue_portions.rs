//! How much of a queue namespaces may have, so that none fills it for all.
//!
//! One namespace other than the global one has half at most, and the last tenth is the global one's alone: as `portions` has it
//! of what is rare, but that a queue says nothing of whose its jobs are. To count a namespace's takes longer the more it has, so
//! that is done only where more than half of the queue is taken, since else nobody can have too much; before there is a
//! transaction; each namespace's by one call at a time; and what was counted is believed for a while. In PostgreSQL that half is
//! taken goes by such a count as well: see `room`, which has it of whole queues.

use super::SqlStore;
use super::room;
use super::session::Session;
use super::statements::statements;
use super::submissions::Known;
use super::values::namespace;
use crate::error::StoreError;
use crate::model::NewJob;
use std::collections::BTreeMap;

/// The part of a queue that is the global namespace's alone.
const RESERVED: u64 = 10;

/// Jobs that wait in the lanes of one owner in a queue, held or not: what indexes say without a look at the jobs. Lane by lane,
/// so that no database thinks of another way where it does not know how many there are.
macro_rules! in_lanes {
    ($claimable:literal, $held:literal) => {
        concat!(
            "SELECT CAST(COALESCE(SUM((SELECT COUNT(*) FROM ",
            $claimable,
            " WHERE lane = lanes.id AND state = 'queued' AND held IS NULL) + (SELECT COUNT(*) FROM ",
            $held,
            " WHERE lane = lanes.id AND state = 'queued' AND held IS NOT NULL)), 0) AS BIGINT) \
             FROM lanes WHERE queue = $1 AND owner = $2"
        )
    };
}

statements! {
    /// Those of an owner, which is the second argument.
    QUEUED_OF in sqlite = in_lanes!("jobs INDEXED BY jobs_claimable", "jobs INDEXED BY jobs_held"),
              in postgres = in_lanes!("jobs", "jobs");
}

/// How many jobs of a queue for so many all namespaces but the global one may have together.
pub(super) const fn shared(total: u64) -> u64 {
    total - total / RESERVED
}

/// New jobs by queue and owner, where that is not the global namespace.
type Parts<'j> = BTreeMap<(&'j str, &'j str), u64>;

/// What is told of a queue that has no room but for the global namespace.
pub(super) fn reserved(queue: &str, total: u64) -> StoreError {
    StoreError::QueueReserved { queue: queue.to_owned(), limit: shared(total), total }
}

/// Takes room in the portions of those whose jobs these are, or refuses them.
pub(super) async fn take(store: &SqlStore, jobs: &[NewJob]) -> Result<(), StoreError> {
    let (total, limit) = (store.max_queued, store.max_queued / 2);
    let parts = parts(jobs.iter());
    let crowded = crowded(store, &parts, limit).await?;
    for ((queue, owner), more) in parts {
        // What was counted of those while it was crowded may be believed still.
        if !crowded.contains_key(queue) {
            store.portions.add(&name(queue, owner), more);
        }
    }
    if crowded.is_empty() {
        return Ok(());
    }
    let new = new_ones(store, jobs, &crowded).await?;
    // Whoever adds them has the last word on this. But here they are refused alone, and not with others' in one transaction.
    for (queue, more) in by_queue(&new) {
        if crowded.get(queue).is_some_and(|length| length + more > shared(total)) {
            return Err(reserved(queue, total));
        }
    }
    for ((queue, owner), more) in new {
        let full = || match namespace(owner, || "a new job".to_owned()) {
            Ok(namespace) => StoreError::QueuePortion { queue: queue.to_owned(), namespace, limit, total },
            Err(fault) => fault,
        };
        let count = async || queued_of(&mut store.database.lookup().await?, queue, owner).await;
        store.portions.take(&name(queue, owner), limit, more, count, full).await?;
    }
    Ok(())
}

/// What a part of a queue is counted under.
fn name(queue: &str, owner: &str) -> String {
    format!("{queue} {owner}")
}

fn parts<'j>(jobs: impl Iterator<Item = &'j NewJob>) -> Parts<'j> {
    let mut parts = Parts::new();
    for job in jobs.filter(|job| !job.owner.is_empty()) {
        *parts.entry((job.spec.queue.as_str(), job.owner.as_str())).or_default() += 1;
    }
    parts
}

fn by_queue<'j>(parts: &Parts<'j>) -> BTreeMap<&'j str, u64> {
    let mut queues = BTreeMap::new();
    for ((queue, _), more) in parts {
        *queues.entry(*queue).or_default() += more;
    }
    queues
}

/// Queues in which a namespace could have too many jobs with these, and how many each of them has.
async fn crowded<'j>(
    store: &SqlStore,
    parts: &Parts<'j>,
    limit: u64,
) -> Result<BTreeMap<&'j str, u64>, StoreError> {
    let mut crowded = BTreeMap::new();
    for (queue, more) in by_queue(parts) {
        let length = room::length(store, queue, shared(store.max_queued), more).await?;
        if length + more > limit {
            crowded.insert(queue, length);
        }
    }
    Ok(crowded)
}

/// Those of jobs in these queues that were not submitted before.
async fn new_ones<'j>(
    store: &SqlStore,
    jobs: &'j [NewJob],
    queues: &BTreeMap<&str, u64>,
) -> Result<Parts<'j>, StoreError> {
    let known = Known::of(&mut store.database.lookup().await?, jobs).await?;
    let new = known.new_ones(jobs)?.into_iter();
    Ok(parts(new.filter(|job| queues.contains_key(job.spec.queue.as_str()))))
}

/// How many jobs of a queue are an owner's.
async fn queued_of(session: &mut Session, queue: &str, owner: &str) -> Result<u64, StoreError> {
    let (queued,): (i64,) = session.query(QUEUED_OF).bind(queue).bind(owner).one().await?;
    Ok(queued.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::DatabaseChoice;
    use crate::sql::submit;
    use jobs::JobSpec;
    use testkit::Postgres;

    /// Not even where nothing was counted yet: then that is how many jobs the queue has.
    #[tokio::test]
    async fn what_a_namespace_has_of_a_queue_is_counted_only_where_it_is_crowded() {
        let test = "what_a_namespace_has_of_a_queue_is_counted_only_where_it_is_crowded";
        let Some(postgres) = Postgres::start(test) else { return };
        let (_dir, store, _) = SqlStore::temporary_in(DatabaseChoice::Postgres { url: postgres.url() }).await;
        let spec = JobSpec { queue: "batches".to_owned(), ..JobSpec::default() };
        let job = |owner: &str| NewJob {
            spec: spec.clone(),
            commit: String::new(),
            owner: owner.to_owned(),
            idempotency_key: None,
        };
        submit::submit(&store, job("org:acme")).await.unwrap();
        assert_eq!((store.room.names(), store.portions.names()), (vec!["batches".to_owned()], Vec::new()));
        submit::all(&store, &vec![job(""); 50]).await.unwrap();
        submit::submit(&store, job("org:acme")).await.unwrap();
        assert_eq!(store.portions.names(), ["batches org:acme"]);
    }
}
