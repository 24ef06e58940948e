//! Giving jobs to executors.

use super::SqlStore;
use super::database::{Durability, Write};
use super::decided::{self, Decided};
use super::heads::{self, Asked, Batch, Taken};
use super::job_rows::Loaded;
use super::lane_rows;
use super::life::{Circumstances, Grant, Life};
use super::secrets;
use super::session::Session;
use super::shared_time;
use super::token;
use crate::error::StoreError;
use crate::model::{Asking, Claimed, JobRow};
use jiff::Timestamp;
use jobs::{EndReason, Event, JobId, JobSpec, Lease};
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};

type Secrets = BTreeMap<String, SecretString>;

/// What a job is told that can't be given to anybody.
const UNREADABLE: &str = "the stored job can't be read: it was damaged, or written by another version";
/// Jobs that one claim gives at most.
const MOST_AT_ONCE: usize = 256;

pub(super) async fn claim(store: &SqlStore, asking: &Asking) -> Result<Vec<Claimed>, StoreError> {
    lane_rows::refresh(store).await?;
    let asked = Asked::new(store, asking);
    let most = (asking.most as usize).min(MOST_AT_ONCE);
    let mut claimed = Vec::new();
    let mut passed = BTreeSet::new();
    while claimed.len() < most {
        match claim_more(store, &asked, &mut passed, most - claimed.len()).await {
            Ok(Some(more)) => claimed.extend(more),
            Ok(None) => break,
            Err(fault) if claimed.is_empty() => return Err(fault),
            // Those that were given out already would be delivered to nobody.
            Err(fault) => {
                let error = &fault as &dyn std::error::Error;
                tracing::warn!(error, "gave out fewer jobs than there may be");
                break;
            }
        }
    }
    Ok(claimed)
}

/// Claims up to `most` jobs of one lane; `None` where there is nothing. Lanes of which others are just taking all are noted as
/// `passed`, and so is one that has what only other servers can give: there may be more elsewhere.
async fn claim_more(
    store: &SqlStore,
    asked: &Asked<'_>,
    passed: &mut BTreeSet<i64>,
    most: usize,
) -> Result<Option<Vec<Claimed>>, StoreError> {
    // Idle executors ask all the time: they must not queue up with those that have something to write.
    let lanes = asked.look(store, passed).await?;
    if lanes.is_empty() {
        return Ok(None);
    }
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let Some(Batch { lane, owner, jobs }) = heads::take(store, &mut write, asked, &lanes, most).await? else {
        write.roll_back().await;
        passed.extend(lanes.iter().map(|lane| lane.row.id));
        return Ok(Some(Vec::new()));
    };
    let Given { jobs, are_all_left, is_one_left } = give(store, &mut write, asked, jobs).await?;
    if is_one_left {
        passed.insert(lane);
    }
    if are_all_left {
        write.roll_back().await;
        store.missing_key.pass_over(lane);
        return Ok(Some(Vec::new()));
    }
    store.lanes.took(&owner);
    store.commit(write).await?;
    Ok(Some(jobs))
}

/// What came of jobs that were taken.
struct Given {
    jobs: Vec<Claimed>,
    /// Whether one was left where it is, and whether all were, so that nothing was written.
    is_one_left: bool,
    are_all_left: bool,
}

/// Claims these jobs. Those that can't be read have failed. One that only a newer server can read is in no lane that this one
/// looks at; should it be, it is left there, and so is one whose secrets only other servers can open.
async fn give(
    store: &SqlStore,
    write: &mut Write<'_>,
    asked: &Asked<'_>,
    taken: Vec<Taken>,
) -> Result<Given, StoreError> {
    let ids: Vec<JobId> = taken.iter().map(|taken| taken.job.life.id).collect();
    let mut secrets = secrets::load_all(store, write, &ids).await?;
    let (mut decided, mut given) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
    let mut left = 0;
    for Taken { job: Loaded { life, fixed }, spec } in taken {
        let id = life.id;
        if matches!(spec, Err(StoreError::NewerSpec(_))) {
            left += 1;
            continue;
        }
        let token = token::generate()?;
        let claimed = claim_one(store, asked, life, &token)?;
        let secrets = secrets.remove(&id).unwrap_or_else(|| Ok(BTreeMap::new()));
        match opened(store, write, fixed.row_of(claimed.life.clone()), spec, secrets).await {
            Ok(None) => left += 1,
            Ok(Some((job, spec, secrets))) => {
                decided.push(claimed);
                given.push(Claimed { job, spec, secrets, token });
            }
            // Left where it is, it would be found again by every claim, and block its queue for good.
            Err(StoreError::Corrupt { .. }) => {
                decided::store_all(store, write, std::slice::from_ref(&claimed)).await?;
                let failed = fail_unreadable(store, claimed.life, asked.now)?;
                decided::store_all(store, write, &[failed]).await?;
            }
            Err(fault) => return Err(fault),
        }
    }
    decided::store_all(store, write, &decided).await?;
    shared_time::check(store, write, asked.now).await?;
    Ok(Given { jobs: given, is_one_left: left > 0, are_all_left: left == ids.len() })
}

/// A job with what it asked for and its own secrets.
type Opened = (JobRow, JobSpec, Secrets);

/// What is given out of a job, or why that can't be read; `None` where only other servers can open its secrets.
async fn opened(
    store: &SqlStore,
    session: &mut Session,
    job: Result<JobRow, StoreError>,
    spec: Result<JobSpec, StoreError>,
    secrets: Result<Secrets, StoreError>,
) -> Result<Option<Opened>, StoreError> {
    if matches!(secrets, Err(StoreError::UnknownSealingKey { .. })) {
        return Ok(None);
    }
    let (job, spec, secrets) = (job?, spec?, secrets?);
    let is_for_others = secrets::is_for_others(store, session, &job, &spec).await?;
    Ok((!is_for_others).then_some((job, spec, secrets)))
}

fn claim_one(store: &SqlStore, asked: &Asked<'_>, life: Life, token: &str) -> Result<Decided, StoreError> {
    let event = Event::Claim { executor: asked.asking.executor.clone() };
    let grant = Some(Grant { token, lease: asked.asking.lease });
    life.decide(event, &Circumstances { now: asked.now, retry: store.retry, message: None, grant })
}

fn fail_unreadable(store: &SqlStore, life: Life, now: Timestamp) -> Result<Decided, StoreError> {
    tracing::error!(job = life.id.0, "failed a job that can't be read back");
    let executor = life.record.executor.clone().unwrap_or_default();
    let lease = Lease { epoch: life.record.epoch, executor };
    let with = Circumstances { now, retry: store.retry, message: Some(UNREADABLE), grant: None };
    life.decide(Event::Fail(lease, EndReason::BadJob), &with)
}

/// How many of `most` jobs one of these owners may have, so that the others get theirs.
pub(super) fn share<'a>(owners: impl Iterator<Item = &'a str>, most: usize) -> usize {
    let owners: BTreeSet<&str> = owners.collect();
    most.div_ceil(owners.len().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Store as _;
    use crate::model::NewJob;
    use crate::sql::database::Database;
    use jobs::{State, StepSpec};
    use std::time::Duration;
    use tokio::time::timeout;

    struct World {
        _dir: tempfile::TempDir,
        store: SqlStore,
    }

    impl World {
        async fn open() -> Self {
            let (dir, store, _) = SqlStore::temporary().await;
            Self { _dir: dir, store }
        }

        async fn submit(&self, owner: &str, change: impl FnOnce(&mut JobSpec)) -> JobId {
            let step = StepSpec { image: "a".to_owned(), run: "true".to_owned(), ..StepSpec::default() };
            let mut spec = JobSpec { queue: "batches".to_owned(), steps: vec![step], ..JobSpec::default() };
            change(&mut spec);
            let (owner, commit) = (owner.to_owned(), String::new());
            self.store.submit(NewJob { spec, commit, owner, idempotency_key: None }).await.unwrap()
        }

        async fn claim(&self) -> Option<JobId> {
            let (queues, executor) = (vec!["batches".to_owned()], "exec-1".to_owned());
            let lease = Duration::from_secs(25);
            let asking = Asking { queues, executor, capacity: jobs::Capacity::default(), lease, most: 1 };
            let claimed = timeout(Duration::from_secs(20), self.store.claim(&asking)).await;
            claimed.expect("it waits for a writer").unwrap().pop().map(|claimed| claimed.job.id)
        }

        async fn write(&self, statement: &'static str) {
            let Database::Sqlite(file) = &self.store.database else { unreachable!() };
            sqlx::query(statement).execute(&mut *file.raw().await).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_damaged_owner_blocks_no_queue_while_a_key_is_missing() {
        let world = World::open().await;
        let damaged = world.submit("", |_| {}).await;
        let sound = world.submit("", |_| {}).await;
        world.write("UPDATE jobs SET namespace = '?' WHERE id = 1").await;
        world.store.missing_key.note(&StoreError::UnknownSealingKey { key: "other".to_owned() });
        assert_eq!(world.claim().await, Some(sound));
        let record = world.store.job(damaged).await.unwrap().record;
        assert_eq!(record.state, State::Failed);
    }

    /// Nor does it make writers of those who ask after that.
    #[tokio::test]
    async fn a_job_for_other_servers_costs_its_owner_no_turn() {
        let world = World::open().await;
        let for_others = world
            .submit("user:ann", |spec| {
                spec.needs.memory = Some(1 << 30);
                spec.secrets.insert("KEY".to_owned(), "hunter2".to_owned());
            })
            .await;
        let of_ann = world.submit("user:ann", |_| {}).await;
        let of_bob = world.submit("user:bob", |_| {}).await;
        world.write("UPDATE job_secrets SET key_id = 'other'").await;
        assert_eq!(world.claim().await, Some(of_ann));
        assert_eq!(world.claim().await, Some(of_bob));

        let writer = world.store.database.write(Durability::Crash).await.unwrap();
        assert_eq!(world.claim().await, None);
        writer.roll_back().await;
        world.write("UPDATE job_secrets SET key_id = 'test'").await;
        world.store.missing_key.found();
        assert_eq!(world.claim().await, Some(for_others));
    }
}
