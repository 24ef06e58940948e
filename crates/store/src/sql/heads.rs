//! Finding the jobs that are next.

use super::SqlStore;
use super::database::Write;
use super::job_rows::{Loaded, job_columns};
use super::lanes::{Candidate, LaneRow};
use super::life::life_columns;
use super::session::{Row, Session};
use super::statements::statements;
use super::values::{job_name, micros, to_json};
use super::{claim, queues, versions};
use crate::error::StoreError;
use crate::model::Asking;
use jiff::{SignedDuration, Timestamp};
use jobs::dispatch::Head;
use jobs::{JobId, JobSpec};
use std::collections::{BTreeSet, HashMap};

/// Lanes that the first query of a look is at, and what one claim chooses from.
const FIRST_LOOK: usize = 64;
/// Each further one is at twice as many, up to these.
const LONGEST_LOOK: usize = 1_024;

/// The first job of each lane: of those that were never claimed, above the lane's floor, and of those that errored and may be
/// tried again. Others come before the executor that had it last.
macro_rules! heads {
    ($asked:literal) => {
        concat!(
            "WITH asked AS (",
            $asked,
            ") SELECT asked.lane, fresh.id, fresh.rank, again.id, again.rank, \
                 (SELECT rank FROM jobs WHERE lane = asked.lane AND state = 'errored' ORDER BY rank, id LIMIT 1) \
             FROM asked LEFT JOIN jobs AS fresh ON fresh.id = (SELECT id FROM jobs \
                 WHERE lane = asked.lane AND state = 'queued' AND held IS NULL AND rank >= asked.lowest \
                 ORDER BY rank, id LIMIT 1) \
             LEFT JOIN jobs AS again ON again.id = (SELECT id FROM jobs \
                 WHERE lane = asked.lane AND state = 'errored' \
                 AND retry_at <= CASE WHEN executor = $4 THEN CAST($3 AS BIGINT) ELSE $2 END \
                 ORDER BY rank, id LIMIT 1)"
        )
    };
}

macro_rules! fresh {
    () => {
        concat!(
            "SELECT ", job_columns!(), ", spec FROM jobs LEFT JOIN job_specs ON job_specs.job = jobs.id \
             WHERE lane = $1 AND state = 'queued' AND held IS NULL AND rank >= $2 ORDER BY rank, id LIMIT $3"
        )
    };
}

macro_rules! again {
    () => {
        concat!(
            "SELECT ", job_columns!(), ", spec FROM jobs LEFT JOIN job_specs ON job_specs.job = jobs.id \
             WHERE lane = $1 AND state = 'errored' \
             AND retry_at <= CASE WHEN executor = $4 THEN CAST($3 AS BIGINT) ELSE $2 END ORDER BY rank, id LIMIT 1"
        )
    };
}

statements! {
    LOOK in sqlite = heads!("SELECT value->>0 AS lane, value->>1 AS lowest FROM json_each($1)"),
         in postgres = heads!("SELECT (value->>0)::bigint AS lane, (value->>1)::bigint AS lowest \
                               FROM json_array_elements($1::json)");
    /// The same, and what others are just taking is stepped over: nobody waits for anybody.
    TAKE_FRESH in sqlite = fresh!(), in postgres = concat!(fresh!(), " FOR UPDATE OF jobs SKIP LOCKED");
    TAKE_AGAIN in sqlite = again!(), in postgres = concat!(again!(), " FOR UPDATE OF jobs SKIP LOCKED");
}

/// Who asks for jobs, and when.
pub(super) struct Asked<'a> {
    pub(super) asking: &'a Asking,
    pub(super) now: Timestamp,
    /// What its own latest jobs may be tried again from has to be this long ago.
    own: Timestamp,
}

/// What was seen of one lane: the ids and ranks of its first jobs, and the rank of the first that errored, which may have to
/// wait.
type Seen = (i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

/// The first job of a lane, and how to take it and those after it.
pub(super) struct Place {
    head: Head,
    queue: String,
    /// `None` where it is to be tried again.
    floor: Option<i64>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(store: &SqlStore, asking: &'a Asking) -> Self {
        let now = store.clock.now();
        let later = SignedDuration::try_from(store.retry.same_executor_later).unwrap_or(SignedDuration::MAX);
        Self { asking, now, own: now.saturating_sub(later).unwrap_or(Timestamp::MIN) }
    }

    /// Lanes with jobs that may be claimed, apart from those that were `passed` over; who is next is among them.
    pub(super) async fn look(
        &self,
        store: &SqlStore,
        passed: &BTreeSet<i64>,
    ) -> Result<Vec<Candidate>, StoreError> {
        let Asking { executor, capacity, .. } = self.asking;
        let mut candidates = store.lanes.candidates(&self.asking.queues, executor, capacity);
        candidates.retain(|candidate| !passed.contains(&candidate.row.id));
        store.missing_key.leave_out(&mut candidates, |candidate| candidate.row.id);
        // There is nothing to be had, so nobody is to wait for a turn to write.
        let asked = candidates.iter().map(|candidate| candidate.row.queue.as_str()).collect();
        let full = queues::full(store, asked).await?;
        candidates.retain(|candidate| !full.contains(&candidate.row.queue));
        let (mut left, mut length) = (candidates.as_slice(), FIRST_LOOK);
        let (mut found, mut first) = (Vec::new(), None);
        while let Some(next) = left.first() {
            // What was not looked at comes later.
            if first.is_some_and(|first| first < next.bound()) {
                break;
            }
            let (looked_at, rest) = left.split_at(length.min(left.len()));
            let seen = self.seen(&mut store.database.lookup().await?, looked_at).await?;
            for (candidate, (_, _, fresh, _, again, errored)) in with(looked_at, &seen) {
                store.lanes.looked(candidate, *fresh, *errored);
                if let Some(rank) = fresh.iter().chain(again).min() {
                    found.push((candidate.at(*rank), candidate));
                }
            }
            first = found.iter().map(|(at, _)| *at).min();
            (left, length) = (rest, (length * 2).min(LONGEST_LOOK));
        }
        found.sort_unstable_by_key(|(at, candidate)| (*at, candidate.row.id));
        Ok(found.into_iter().take(FIRST_LOOK).map(|(_, candidate)| candidate.clone()).collect())
    }

    /// The first jobs of these lanes, within the transaction that takes some.
    async fn look_again(
        &self,
        store: &SqlStore,
        write: &mut Write<'_>,
        lanes: &[Candidate],
    ) -> Result<Vec<Place>, StoreError> {
        let lanes = store.lanes.again(lanes);
        let seen = self.seen(write, &lanes).await?;
        Ok(ordered(store, &lanes, &seen))
    }

    async fn seen(&self, session: &mut Session, of: &[Candidate]) -> Result<HashMap<i64, Seen>, StoreError> {
        let lanes: Vec<(i64, i64)> = of.iter().map(|lane| (lane.row.id, lane.floors.fresh)).collect();
        let look = session
            .query(LOOK)
            .bind(to_json(&lanes)?)
            .bind(micros(self.now))
            .bind(micros(self.own))
            .bind(&self.asking.executor);
        let seen: Vec<Seen> = look.all().await?;
        Ok(seen.into_iter().map(|seen| (seen.0, seen)).collect())
    }

    async fn take(
        &self,
        write: &mut Write<'_>,
        place: &Place,
        most: usize,
    ) -> Result<Vec<Taken>, StoreError> {
        let lane = place.head.lane;
        let taken = match place.floor {
            Some(floor) => write.query(TAKE_FRESH).bind(lane).bind(floor).bind(most as i64),
            None => write
                .query(TAKE_AGAIN)
                .bind(lane)
                .bind(micros(self.now))
                .bind(micros(self.own))
                .bind(&self.asking.executor),
        };
        taken.rows().await?.iter().map(Taken::read).collect()
    }
}

/// Jobs of one lane, at least one.
pub(super) struct Batch {
    pub(super) lane: i64,
    pub(super) owner: String,
    pub(super) jobs: Vec<Taken>,
}

/// A job that nobody else is given before the transaction is over.
pub(super) struct Taken {
    pub(super) job: Loaded,
    /// What was asked for, or why that can't be read.
    pub(super) spec: Result<JobSpec, StoreError>,
}

impl Taken {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let job = Loaded::read(row)?;
        let (id, spec): (JobId, Option<String>) = (job.life.id, row.get("spec")?);
        let missing = || StoreError::corrupt(job_name(id), "specification");
        let spec = spec.ok_or_else(missing).and_then(|json| versions::read_spec(id, &json));
        Ok(Self { job, spec })
    }
}

/// Lanes with what was seen of them.
fn with<'c, 's>(
    candidates: &'c [Candidate],
    seen: &'s HashMap<i64, Seen>,
) -> impl Iterator<Item = (&'c Candidate, &'s Seen)> {
    candidates.iter().filter_map(|candidate| Some((candidate, seen.get(&candidate.row.id)?)))
}

/// The first jobs of these lanes in the order in which they are to be given out.
fn ordered(store: &SqlStore, candidates: &[Candidate], seen: &HashMap<i64, Seen>) -> Vec<Place> {
    let mut places = Vec::new();
    for (candidate, (_, fresh, fresh_rank, again, again_rank, _)) in with(candidates, seen) {
        let kinds = [(fresh, fresh_rank, Some(candidate.floors.fresh)), (again, again_rank, None)];
        for (job, rank, floor) in kinds {
            let (Some(job), Some(rank)) = (job, rank) else { continue };
            let LaneRow { id, queue, owner, .. } = &*candidate.row;
            let head = Head { lane: *id, owner: owner.clone(), rank: *rank, job: JobId(*job) };
            places.push(Place { head, queue: queue.clone(), floor });
        }
    }
    store.lanes.order(places, |place| &place.head)
}

/// Takes up to `most` jobs of these lanes that are next and that nobody else is just taking. Their owner has had its turn when
/// something came of it.
pub(super) async fn take(
    store: &SqlStore,
    write: &mut Write<'_>,
    asked: &Asked<'_>,
    lanes: &[Candidate],
    most: usize,
) -> Result<Option<Batch>, StoreError> {
    let places = asked.look_again(store, write, lanes).await?;
    let share = claim::share(places.iter().map(|place| place.head.owner.as_str()), most);
    let queues = places.iter().map(|place| place.queue.as_str()).collect();
    let room = queues::room(store, write, queues, share).await?;
    for place in &places {
        let room = room.get(place.queue.as_str()).copied().unwrap_or_default();
        if room == 0 {
            continue;
        }
        let jobs = asked.take(write, place, room).await?;
        if !jobs.is_empty() {
            let Head { lane, owner, .. } = &place.head;
            return Ok(Some(Batch { lane: *lane, owner: owner.clone(), jobs }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::database::SqliteFile;
    use sqlx::{AssertSqlSafe, Row};

    const FILL: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
                        INSERT INTO jobs (queue, repository, commit_id, queued_at, state, finished_at, lane) \
                        SELECT 'batches', '', '', 0, ?, 0, 1 FROM n";

    /// Every look walks an index in the order it wants, and so stops at the first row.
    #[tokio::test]
    async fn a_long_queue_is_not_searched() {
        let (_dir, database) = SqliteFile::temporary().await;
        let mut connection = database.raw().await;
        for state in ["queued", "errored", "completed"] {
            sqlx::query(FILL).bind(state).execute(&mut *connection).await.unwrap();
        }
        for (sql, searches) in [
            (
                LOOK,
                vec!["jobs_errored (lane=?)", "jobs_claimable (lane=? AND rank>?)", "jobs_errored (lane=?)"],
            ),
            (TAKE_FRESH, vec!["jobs_claimable (lane=? AND rank>?)"]),
            (TAKE_AGAIN, vec!["jobs_errored (lane=?)"]),
        ] {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.sqlite));
            let plan = sqlx::query(explain).bind("[]").bind(0).bind(0).bind("exec-1");
            let plan = plan.fetch_all(&mut *connection).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            let search = |line: &str| {
                let rest = line.strip_prefix("SEARCH jobs USING ")?;
                Some(rest.trim_start_matches("COVERING ").strip_prefix("INDEX ")?.to_owned())
            };
            let mut found: Vec<String> = plan.iter().filter_map(|line| search(line)).collect();
            let mut searches = searches;
            found.sort_unstable();
            searches.sort_unstable();
            assert_eq!(found, searches, "{plan:#?}");
            assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE")), "{plan:#?}");
        }
    }
}
