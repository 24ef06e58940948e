//! Giving jobs to executors.

use super::SqlStore;
use super::database::{Durability, Write};
use super::decided::{self, Decided};
use super::heads::{self, Asked, Taken};
use super::job_rows::Loaded;
use super::lane_rows;
use super::life::{Circumstances, Grant, Life};
use super::secrets;
use super::shared_time;
use super::token;
use crate::error::StoreError;
use crate::model::{Asking, Claimed};
use jiff::Timestamp;
use jobs::{EndReason, Event, JobId, Lease};
use std::collections::{BTreeMap, BTreeSet};

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
/// `passed`: there may be more elsewhere.
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
    let taken = heads::take(store, &mut write, asked, &lanes, most).await?;
    if taken.is_empty() {
        write.roll_back().await;
        passed.extend(lanes.iter().map(|lane| lane.row.id));
        return Ok(Some(Vec::new()));
    }
    let given = give(store, &mut write, asked, taken, passed).await?;
    store.commit(write).await?;
    Ok(Some(given))
}

/// Claims these jobs. Those that can't be read have failed. One that only a newer server can read is in no lane that this one
/// looks at; should it be, it is left there, and the lane is `passed` over, as it is where only other servers can open a job's
/// secrets.
async fn give(
    store: &SqlStore,
    write: &mut Write<'_>,
    asked: &Asked<'_>,
    taken: Vec<Taken>,
    passed: &mut BTreeSet<i64>,
) -> Result<Vec<Claimed>, StoreError> {
    let ids: Vec<JobId> = taken.iter().map(|taken| taken.job.life.id).collect();
    let mut secrets = secrets::load_all(store, write, &ids).await?;
    let (mut decided, mut given) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
    for Taken { job: Loaded { life, fixed }, spec } in taken {
        let id = life.id;
        if matches!(spec, Err(StoreError::NewerSpec(_))) {
            passed.insert(life.lane());
            continue;
        }
        let token = token::generate()?;
        let claimed = claim_one(store, asked, life, &token)?;
        let secrets = secrets.remove(&id).unwrap_or_else(|| Ok(BTreeMap::new()));
        match (fixed.row_of(claimed.life.clone()), spec, secrets) {
            (.., Err(StoreError::UnknownSealingKey { .. })) => {
                passed.insert(claimed.life.lane());
            }
            (Ok(job), Ok(spec), Ok(_)) if secrets::is_for_others(store, write, &job, &spec).await? => {
                passed.insert(claimed.life.lane());
            }
            (Ok(job), Ok(spec), Ok(secrets)) => {
                decided.push(claimed);
                given.push(Claimed { job, spec, secrets, token });
            }
            // Left where it is, it would be found again by every claim, and block its queue for good.
            (Err(fault), ..) | (_, Err(fault), _) | (.., Err(fault)) => {
                let StoreError::Corrupt { .. } = fault else { return Err(fault) };
                decided::store_all(store, write, std::slice::from_ref(&claimed)).await?;
                let failed = fail_unreadable(store, claimed.life, asked.now)?;
                decided::store_all(store, write, &[failed]).await?;
            }
        }
    }
    decided::store_all(store, write, &decided).await?;
    shared_time::check(store, write, asked.now).await?;
    Ok(given)
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
