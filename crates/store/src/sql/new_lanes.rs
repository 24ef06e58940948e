//! The lanes of new jobs, of which no namespace takes the places that others need.
//!
//! A server knows all lanes, so there may be only so many. Whose they are is asked only where somebody could have too many, and
//! then by one transaction at a time, whichever server's it is, while none makes any unasked. A job that needs nothing in particular finds a lane all the
//! same: of those each namespace has one in each queue, and one more for each version of what jobs can ask for.

use super::SqlStore;
use super::database::CONNECTIONS;
use super::lanes::LaneRow;
use super::portions::{self, Counts, count};
use super::session::Session;
use super::statements::statements;
use super::values::namespace;
use super::versions;
use crate::error::{Countable, StoreError};
use crate::model::NewJob;
use jobs::{Namespace, Needs};
use std::collections::{BTreeMap, BTreeSet};

/// Lanes that there may be: who invents ever new needs must not fill our memory.
const MAX_LANES: i64 = 100_000;
/// Lanes for which there is room besides, where what comes needs nothing in particular.
const MAX_PLAIN: i64 = 100_000;
/// Up to so many nobody has too many, not even with those that others make at this moment, for whom nobody has to wait then:
/// provided that each of them makes a [`FEW`] only, and that there are no more than so many [`SERVERS`].
const FREE: i64 = MAX_LANES / 4;
/// Whoever makes more at once counts whose they are, however many there are.
const FEW: i64 = 100;
/// Each of which makes lanes on all of its connections: 25,000 + 15 * 16 * 100 are 49,000, and one namespace has 50,000 at most.
const SERVERS: i64 = 15;
const _: () = assert!(FREE + SERVERS * CONNECTIONS as i64 * FEW <= MAX_LANES / 2);

statements! {
    FIND = "SELECT id FROM lanes WHERE queue = $1 AND owner = $2 AND needs = $3";
    /// One that another server makes at this moment is waited for.
    MAKE = "INSERT INTO lanes (queue, owner, needs) VALUES ($1, $2, $3) \
            ON CONFLICT (queue, owner, needs) DO NOTHING RETURNING id";
    TOTAL = "SELECT COUNT(*) FROM lanes";
    COUNT = count!("(SELECT owner AS namespace FROM lanes) AS lanes");
    /// Nobody else makes one of those that have to be counted before this transaction is over, and whoever was just making some
    /// is waited for. SQLite has one writer anyway.
    LOCK in sqlite = "SELECT 1",
         in postgres = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(1700, 4)) AS locked";
    /// The same but for those who make a few, who don't wait for each other.
    LOCK_SHARED in sqlite = "SELECT 1",
                in postgres = "SELECT 1 FROM (SELECT pg_advisory_xact_lock_shared(1700, 4)) AS locked";
}

/// A lane by what makes it one: its queue, its owner, and what its jobs need, as it is stored.
pub(super) type LaneName<'j> = (&'j str, &'j str, String);

pub(super) fn name_of(job: &NewJob) -> Result<LaneName<'_>, StoreError> {
    Ok((&job.spec.queue, &job.owner, versions::needs_to_store(&job.spec.needs, job.spec.version())?))
}

/// The lanes of these new jobs, which are made where there are none yet. Remembered by the caller, once that is committed.
pub(super) async fn of<'j>(
    store: &SqlStore,
    session: &mut Session,
    jobs: &[&'j NewJob],
) -> Result<BTreeMap<LaneName<'j>, LaneRow>, StoreError> {
    let mut names = BTreeMap::new();
    for job in jobs {
        names.insert(name_of(job)?, *job);
    }
    let (mut lanes, mut new) = (BTreeMap::new(), Vec::new());
    for (name, job) in names {
        let known = store.lanes.find(&job.spec.queue, &job.owner, &job.spec.needs, job.spec.version());
        let there = match known {
            Some(id) => Some(id),
            None => find(session, &name).await?,
        };
        match there {
            Some(id) => _ = lanes.insert(name, row(id, job)),
            None => new.push((name, job)),
        }
    }
    if !new.is_empty() {
        let jobs: Vec<&NewJob> = new.iter().map(|(_, job)| *job).collect();
        check(session, &jobs).await?;
    }
    // In one order, so that nobody waits in a circle.
    for (name, job) in new {
        let id = make(session, &name).await?;
        lanes.insert(name, row(id, job));
    }
    Ok(lanes)
}

fn row(id: i64, NewJob { spec, owner, .. }: &NewJob) -> LaneRow {
    let (queue, needs, version) = (spec.queue.clone(), spec.needs.clone(), spec.version());
    LaneRow { id, queue, owner: owner.clone(), needs, version }
}

async fn find(
    session: &mut Session,
    (queue, owner, needs): &LaneName<'_>,
) -> Result<Option<i64>, StoreError> {
    let found: Option<(i64,)> = session.query(FIND).bind(*queue).bind(*owner).bind(needs).optional().await?;
    Ok(found.map(|(id,)| id))
}

async fn make(session: &mut Session, name: &LaneName<'_>) -> Result<i64, StoreError> {
    let (queue, owner, needs) = name;
    let made: Option<(i64,)> = session.query(MAKE).bind(*queue).bind(*owner).bind(needs).optional().await?;
    match made {
        Some((id,)) => Ok(id),
        None => find(session, name).await?.ok_or(StoreError::Outdated),
    }
}

/// Refuses new lanes, one of each of these jobs, for which there is no place. None is made before: whoever waits here is not
/// waited for.
async fn check(session: &mut Session, new: &[&NewJob]) -> Result<(), StoreError> {
    const OF: Countable = Countable::Lanes;
    let is_plain = |job: &&&NewJob| job.spec.needs == Needs::default();
    let (all,): (i64,) = session.query(TOTAL).one().await?;
    let plain = new.iter().filter(is_plain).count();
    if plain > 0 {
        let with_others = (all + plain as i64 - 1, 0, 0);
        portions::check(OF, &Namespace::Global, MAX_LANES + MAX_PLAIN, with_others)?;
    }
    let more = new.len() as i64;
    if plain == new.len() {
        return Ok(());
    }
    if more <= FEW && all + more <= FREE {
        session.query(LOCK_SHARED).execute().await?;
        let (all,): (i64,) = session.query(TOTAL).one().await?;
        // Where others made too many while it waited, it begins anew and counts: nobody waits for a lock whose part they have.
        return if all + more <= FREE { Ok(()) } else { Err(StoreError::Outdated) };
    }
    session.query(LOCK).execute().await?;
    let of_namespaces = new.iter().filter(|job| !job.owner.is_empty()).count() as i64;
    let owners: BTreeSet<&str> =
        new.iter().filter(|job| !is_plain(job)).map(|job| job.owner.as_str()).collect();
    for owner in owners {
        let (all, own, namespaced): Counts = session.query(COUNT).bind(owner).one().await?;
        let own_more = new.iter().filter(|job| job.owner == owner).count() as i64;
        let with_others = (all + more - 1, own + own_more - 1, namespaced + of_namespaces - 1);
        let namespace = namespace(owner, || "a new lane".to_owned())?;
        portions::check(OF, &namespace, MAX_LANES, with_others)?;
    }
    Ok(())
}
