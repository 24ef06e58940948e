//! Jobs that this server can't run, since it was not given the key that their secrets are sealed with. They are left to the
//! servers that have it: another one took up a new key before all of them knew it, and that the operator left a key out costs
//! no job its life.

use super::super::SqlStore;
use super::super::session::Session;
use super::super::statements::statements;
use super::super::values::{job_name, to_json};
use super::stored::{namespace_of, scope_of};
use crate::error::StoreError;
use crate::model::JobRow;
use jobs::JobSpec;
use jobs::secrets::DOCKER_AUTH_CONFIG;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

statements! {
    KEYS in sqlite = "SELECT DISTINCT key_id FROM secrets WHERE scope = $1 \
                      AND namespace IN ('', $2) AND key IN (SELECT value FROM json_each($3))",
         in postgres = "SELECT DISTINCT key_id FROM secrets WHERE scope = $1 \
                        AND namespace IN ('', $2) AND key IN (SELECT json_array_elements_text($3::json))";
}

/// How long lanes are passed over at most: whoever has the key takes what is first in them meanwhile.
const PASSED_FOR: Duration = Duration::from_secs(5);

/// Whether something was met that is sealed with a key which is not known here. As long as nothing was, claims need not ask
/// what the kept secrets of a job are sealed with.
#[derive(Default)]
pub(in crate::sql) struct MissingKey {
    is_met: AtomicBool,
    passed: Mutex<Passed>,
}

/// Lanes that begin with jobs for other servers: looked at each time, they would have every claim write.
#[derive(Default)]
struct Passed {
    /// When the first of them was noted: all are forgotten together.
    since: Option<Instant>,
    lanes: HashSet<i64>,
}

impl Passed {
    fn forget_old(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= PASSED_FOR) {
            *self = Self::default();
        }
    }
}

impl MissingKey {
    /// What was met: told in the log when it begins.
    pub(in crate::sql) fn note(&self, fault: &StoreError) {
        let StoreError::UnknownSealingKey { key } = fault else { return };
        if !self.is_met.swap(true, Ordering::Relaxed) {
            tracing::error!(
                key,
                "secrets are sealed with a key that this server was not given: jobs that are given them are left to servers \
                 that have it"
            );
        }
    }

    /// All keys are there.
    pub(in crate::sql) fn found(&self) {
        self.is_met.store(false, Ordering::Relaxed);
        *self.passed() = Passed::default();
    }

    /// Notes a lane of which nothing could be given, for those claims that come next.
    pub(in crate::sql) fn pass_over(&self, lane: i64) {
        if self.is_met() {
            let mut passed = self.passed();
            passed.forget_old();
            passed.since.get_or_insert_with(Instant::now);
            passed.lanes.insert(lane);
        }
    }

    /// Leaves out what is passed over, each told by its lane.
    pub(in crate::sql) fn leave_out<T>(&self, items: &mut Vec<T>, lane: impl Fn(&T) -> i64) {
        if self.is_met() {
            let mut passed = self.passed();
            passed.forget_old();
            items.retain(|item| !passed.lanes.contains(&lane(item)));
        }
    }

    fn is_met(&self) -> bool {
        self.is_met.load(Ordering::Relaxed)
    }

    fn passed(&self) -> MutexGuard<'_, Passed> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a job is given kept secrets that only other servers can open.
pub(in crate::sql) async fn is_for_others(
    store: &SqlStore,
    session: &mut Session,
    job: &JobRow,
    spec: &JobSpec,
) -> Result<bool, StoreError> {
    if !store.missing_key.is_met() {
        return Ok(false);
    }
    let (scope, owner) =
        (scope_of(&job.queue, || job_name(job.id))?, namespace_of(&job.owner, || job_name(job.id))?);
    let given: Vec<&str> = spec.asked_secrets().into_iter().chain([DOCKER_AUTH_CONFIG]).collect();
    let keys = session.query(KEYS).bind(scope.name()).bind(scope.of_job(&owner).key());
    let keys: Vec<(String,)> = keys.bind(to_json(&given)?).all().await?;
    Ok(keys.iter().any(|(key,)| !store.keys.knows(key)))
}
