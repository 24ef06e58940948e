//! Giving jobs to executors.

use super::SqlStore;
use super::database::{Durability, Write};
use super::heads::{self, Asked};
use super::job_rows;
use super::lane_rows;
use super::life::{Circumstances, Grant, Life};
use super::secrets;
use super::token;
use crate::error::StoreError;
use crate::model::{Asking, Claimed, JobRow};
use jiff::Timestamp;
use jobs::{EndReason, Event, JobId, JobSpec, Lease};
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
    while claimed.len() < most {
        // Idle executors ask all the time: they must not queue up with those that have something to write.
        if asked.look(store).await?.is_empty() {
            break;
        }
        let mut write = store.database.write(Durability::PowerLoss).await?;
        let ids = heads::take(store, &mut write, &asked, most - claimed.len()).await?;
        if ids.is_empty() {
            break;
        }
        let given = give(store, &mut write, &asked, ids).await?;
        store.commit(write).await?;
        claimed.extend(given);
    }
    Ok(claimed)
}

/// Claims these jobs. Those that can't be read have failed.
async fn give(
    store: &SqlStore,
    write: &mut Write<'_>,
    asked: &Asked<'_>,
    ids: Vec<JobId>,
) -> Result<Vec<Claimed>, StoreError> {
    let (executor, now) = (&asked.asking.executor, asked.now);
    let mut given = Vec::with_capacity(ids.len());
    for id in ids {
        let token = token::generate()?;
        let event = Event::Claim { executor: executor.clone() };
        let grant = Some(Grant { token: &token, lease: asked.asking.lease });
        let with = Circumstances { now, retry: store.retry, message: None, grant };
        let life = Life::load(write, id).await?.advance(write, event, with).await?;
        match contents(write, id).await {
            Ok((job, spec, secrets)) => given.push(Claimed { job, spec, secrets, token }),
            // Left where it is, it would be found again by every claim, and block its queue for good.
            Err(StoreError::Corrupt { .. }) => fail_unreadable(store, write, life, now).await?,
            Err(error) => return Err(error),
        }
    }
    Ok(given)
}

async fn contents(
    write: &mut Write<'_>,
    id: JobId,
) -> Result<(JobRow, JobSpec, BTreeMap<String, String>), StoreError> {
    let job = job_rows::load(write, id).await?;
    Ok((job, job_rows::load_spec(write, id).await?, secrets::load(write, id).await?))
}

async fn fail_unreadable(
    store: &SqlStore,
    write: &mut Write<'_>,
    life: Life,
    now: Timestamp,
) -> Result<(), StoreError> {
    let id = life.id;
    let executor = life.record.executor.clone().unwrap_or_default();
    let lease = Lease { epoch: life.record.epoch, executor };
    let with = Circumstances { now, retry: store.retry, message: Some(UNREADABLE), grant: None };
    life.advance(write, Event::Fail(lease, EndReason::BadJob), with).await?;
    tracing::error!(job = id.0, "failed a job that can't be read back");
    Ok(())
}

/// How many of `most` jobs one of these owners may have, so that the others get theirs.
pub(super) fn share<'a>(owners: impl Iterator<Item = &'a str>, most: usize) -> usize {
    let owners: BTreeSet<&str> = owners.collect();
    most.div_ceil(owners.len().max(1))
}
