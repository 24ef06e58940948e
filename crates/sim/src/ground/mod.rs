//! The real store, and what is known of it. Each call on it is driven to its end before anything else happens; what it
//! changed is then compared with what it may have changed.

mod claim;
mod crash;
mod logs;
mod seen;
mod time;
mod writes;

pub(crate) use logs::Appended;
pub(crate) use seen::{Kept, Seen};

use crate::clock::SimClock;
use crate::flaw::Flaw;
use crate::invariant::{Broken, CURRENT_EPOCH, END_STAYS, SUBMITTED_ONCE, Step, WORKS};
use jiff::Timestamp;
use jobs::dispatch::Turns;
use jobs::{Clock, JobId, LeasePolicy, RetryPolicy, State, WatchedClock};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{
    Change, DatabaseChoice, JobFilter, Keyring, ObjectsChoice, QueueRow, QueueRules, SqlStore, Store,
    StoreError, StoreOptions,
};
use tokio::sync::broadcast::Receiver;

/// More than a schedule has.
const MOST_JOBS: u32 = 400;

/// How often jobs are tried here: as it is documented, with a retry for the job's own fault.
pub(crate) const RETRY: RetryPolicy = RetryPolicy {
    max_resets: 3,
    max_faults: 3,
    fault_pause: Duration::from_secs(10),
    max_failures: 2,
    retry_after: Duration::from_secs(10),
    same_executor_later: Duration::from_secs(10),
};

/// See above.
pub(crate) struct Ground {
    pub(crate) clock: Arc<SimClock>,
    /// The same, as the server that runs reads it.
    pub(crate) watched: Arc<WatchedClock>,
    flaw: Option<Flaw>,
    dir: tempfile::TempDir,
    /// Each life of the server has a directory of its own: what was left of the last one.
    life: u32,
    store: Option<SqlStore>,
    /// Every job, as it was when somebody looked last.
    pub(crate) seen: BTreeMap<JobId, Seen>,
    /// What does not change of them.
    pub(crate) kept: BTreeMap<JobId, Kept>,
    /// The jobs of submissions that were acknowledged, or would have been.
    pub(crate) submitted: BTreeMap<usize, JobId>,
    pub(crate) rules: BTreeMap<String, QueueRules>,
    pub(crate) away: BTreeSet<String>,
    turns: Turns,
    /// When each job was last claimed or renewed.
    heard: BTreeMap<JobId, Timestamp>,
}

impl Ground {
    /// An empty store in a directory of `place`, which is filled from `template`, for leases of that length.
    pub(crate) async fn open(
        place: &std::path::Path,
        template: &std::path::Path,
        lease: Duration,
        flaw: Option<Flaw>,
    ) -> Result<Self, Broken> {
        let dir = tempfile::tempdir_in(place).map_err(io)?;
        let clock = Arc::<SimClock>::default();
        let mut ground = Self {
            watched: time::watch(&clock, &LeasePolicy::of(lease), flaw),
            clock,
            flaw,
            dir,
            life: 0,
            store: None,
            seen: BTreeMap::new(),
            kept: BTreeMap::new(),
            submitted: BTreeMap::new(),
            rules: BTreeMap::new(),
            away: BTreeSet::new(),
            turns: Turns::default(),
            heard: BTreeMap::new(),
        };
        crash::copy(template, &ground.path())?;
        ground.start(lease).await?;
        Ok(ground)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(self.life.to_string())
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn store(&self) -> Step<&SqlStore> {
        self.store
            .as_ref()
            .ok_or_else(|| WORKS.broken("the simulator asked a server that is down".to_owned()))
    }

    /// Hears of changes from now on.
    pub(crate) fn changes(&self) -> Step<Receiver<Change>> {
        Ok(Store::changes(self.store()?))
    }

    pub(crate) async fn queue(&self, name: &str) -> Step<QueueRow> {
        Ok(self.store()?.queue(name, u64::MAX).await?)
    }

    /// Checks that a job asks for what its submission did.
    pub(crate) async fn asks_for(&self, id: JobId, run: &str) -> Step {
        let spec = self.store()?.spec(id).await?;
        let same = spec.steps.first().is_some_and(|step| step.run == run);
        SUBMITTED_ONCE.check(same, || format!("job {id} is {:?}, and {run:?} was acknowledged", spec.steps))
    }

    /// Looks at all jobs; gives what they were before, of those that changed.
    async fn look(&mut self) -> Step<BTreeMap<JobId, Option<Seen>>> {
        let rows = self.store()?.jobs(JobFilter { limit: MOST_JOBS, ..JobFilter::default() }).await?;
        let mut changed = BTreeMap::new();
        let gone = self.seen.keys().find(|id| !rows.iter().any(|row| row.id == **id));
        if let Some(gone) = gone {
            return Err(END_STAYS.broken(format!("job {gone} is gone")));
        }
        for row in rows {
            let (id, heard_at) = (row.id, row.last_heartbeat_at);
            let now = Seen::from(row);
            let renewed = now.record.state != State::Processing || heard_at == self.heard.get(&id).copied();
            CURRENT_EPOCH.check(renewed, || {
                format!(
                    "job {id} was renewed at {heard_at:?}, and its holder was heard at {:?}",
                    self.heard.get(&id)
                )
            })?;
            let before = self.seen.get(&id);
            if before == Some(&now) {
                continue;
            }
            if let Some(before) = before {
                END_STAYS.check(!before.record.state.is_terminal(), || {
                    format!("job {id} had ended: {before}, and is now {now}")
                })?;
            }
            changed.insert(id, self.seen.insert(id, now));
        }
        Ok(changed)
    }
}

/// How a store is opened.
pub(crate) fn options(dir: PathBuf, clock: Arc<dyn Clock>) -> Step<StoreOptions> {
    let keys = Keyring::parse(&format!("simulated:{}", "5a".repeat(32)));
    Ok(StoreOptions {
        dir,
        database: DatabaseChoice::Embedded,
        objects: ObjectsChoice::Directory,
        clock,
        retry: RETRY,
        keys: Arc::new(keys.map_err(|fault| WORKS.broken(fault.to_string()))?),
        max_log_bytes: 1 << 20,
        max_queued: 10_000,
    })
}

/// A call on the store that was refused, which is an answer, or that failed, which is a fault.
pub(crate) fn refused<T>(result: Result<T, StoreError>) -> Step<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(StoreError::Rejected(_) | StoreError::UnknownJob(_)) => Ok(None),
        Err(fault) => Err(fault.into()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(crate) fn io(fault: std::io::Error) -> Broken {
    WORKS.broken(format!("the simulator's own directory failed: {fault}"))
}
