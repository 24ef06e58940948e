//! Finding the jobs that are next.

use super::SqlStore;
use super::database::Write;
use super::lanes::Candidate;
use super::session::Session;
use super::statements::statements;
use super::values::{micros, to_json};
use super::{claim, queues};
use crate::error::StoreError;
use crate::model::Asking;
use jiff::{SignedDuration, Timestamp};
use jobs::JobId;
use jobs::dispatch::Head;

/// The first job of each lane: of those that were never claimed, above the lane's floor, and of those that errored and may be
/// tried again. Others come before the executor that had it last.
macro_rules! heads {
    ($asked:literal) => {
        concat!(
            "WITH asked AS (",
            $asked,
            ") SELECT asked.lane, fresh.id, fresh.rank, again.id, again.rank, \
                 EXISTS (SELECT 1 FROM jobs WHERE lane = asked.lane AND state = 'errored') \
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
        "SELECT id FROM jobs WHERE lane = $1 AND state = 'queued' AND held IS NULL AND rank >= $2 \
         ORDER BY rank, id LIMIT $3"
    };
}

macro_rules! again {
    () => {
        "SELECT id FROM jobs WHERE lane = $1 AND state = 'errored' \
         AND retry_at <= CASE WHEN executor = $4 THEN CAST($3 AS BIGINT) ELSE $2 END ORDER BY rank, id LIMIT 1"
    };
}

statements! {
    LOOK in sqlite = heads!("SELECT value->>0 AS lane, value->>1 AS lowest FROM json_each($1)"),
         in postgres = heads!("SELECT (value->>0)::bigint AS lane, (value->>1)::bigint AS lowest \
                               FROM json_array_elements($1::json)");
    /// The same, and what others are just taking is stepped over: nobody waits for anybody.
    TAKE_FRESH in sqlite = fresh!(), in postgres = concat!(fresh!(), " FOR UPDATE SKIP LOCKED");
    TAKE_AGAIN in sqlite = again!(), in postgres = concat!(again!(), " FOR UPDATE SKIP LOCKED");
}

/// Who asks for jobs, and when.
pub(super) struct Asked<'a> {
    pub(super) asking: &'a Asking,
    pub(super) now: Timestamp,
    /// What its own latest jobs may be tried again from has to be this long ago.
    own: Timestamp,
}

/// What was seen of one lane: the ids and ranks of its first jobs, and whether any of its jobs errored.
type Seen = (i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>, bool);

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

    /// Where there are jobs that may be claimed; who is next comes first.
    pub(super) async fn look(&self, store: &SqlStore) -> Result<Vec<Place>, StoreError> {
        loop {
            let candidates = self.candidates(store);
            if candidates.is_empty() {
                return Ok(Vec::new());
            }
            let seen = self.seen(&mut store.database.lookup().await?, &candidates).await?;
            for (candidate, (_, _, fresh, _, _, errored)) in candidates.iter().zip(&seen) {
                store.lanes.looked(candidate, *fresh, fresh.is_some() || *errored);
            }
            let places = ordered(store, &candidates, &seen);
            // Where there are many lanes, not all were looked at; but those that are empty now are known to be.
            let all_known = seen.iter().all(|(_, _, fresh, _, _, errored)| fresh.is_some() || *errored);
            if !places.is_empty() || all_known {
                return Ok(places);
            }
        }
    }

    /// The same within the transaction that takes some.
    async fn look_again(&self, store: &SqlStore, write: &mut Write<'_>) -> Result<Vec<Place>, StoreError> {
        let candidates = self.candidates(store);
        let seen = self.seen(write, &candidates).await?;
        Ok(ordered(store, &candidates, &seen))
    }

    fn candidates(&self, store: &SqlStore) -> Vec<Candidate> {
        store.lanes.candidates(&self.asking.queues, &self.asking.executor, &self.asking.capacity)
    }

    async fn seen(&self, session: &mut Session, of: &[Candidate]) -> Result<Vec<Seen>, StoreError> {
        let lanes: Vec<(i64, i64)> = of.iter().map(|candidate| (candidate.lane, candidate.floor)).collect();
        let look = session
            .query(LOOK)
            .bind(to_json(&lanes)?)
            .bind(micros(self.now))
            .bind(micros(self.own))
            .bind(&self.asking.executor);
        let mut seen: Vec<Seen> = look.all().await?;
        seen.sort_unstable_by_key(|(lane, ..)| *lane);
        Ok(seen)
    }

    async fn take(
        &self,
        write: &mut Write<'_>,
        place: &Place,
        most: usize,
    ) -> Result<Vec<JobId>, StoreError> {
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
        Ok(taken.all::<(i64,)>().await?.into_iter().map(|(id,)| JobId(id)).collect())
    }
}

/// The first jobs of these lanes in the order in which they are to be given out.
fn ordered(store: &SqlStore, candidates: &[Candidate], seen: &[Seen]) -> Vec<Place> {
    let mut places = Vec::new();
    for (candidate, (_, fresh, fresh_rank, again, again_rank, _)) in candidates.iter().zip(seen) {
        let kinds = [(fresh, fresh_rank, Some(candidate.floor)), (again, again_rank, None)];
        for (job, rank, floor) in kinds {
            let (Some(job), Some(rank)) = (job, rank) else { continue };
            let head =
                Head { lane: candidate.lane, owner: candidate.owner.clone(), rank: *rank, job: JobId(*job) };
            places.push(Place { head, queue: candidate.queue.clone(), floor });
        }
    }
    store.lanes.order(places, |place| &place.head)
}

/// Takes up to `most` jobs that are next and that nobody else is just taking.
pub(super) async fn take(
    store: &SqlStore,
    write: &mut Write<'_>,
    asked: &Asked<'_>,
    most: usize,
) -> Result<Vec<JobId>, StoreError> {
    let places = asked.look_again(store, write).await?;
    let share = claim::share(places.iter().map(|place| place.head.owner.as_str()), most);
    for place in places {
        let room = queues::room(store, write, &place.queue, share).await?;
        if room == 0 {
            continue;
        }
        let taken = asked.take(write, &place, room).await?;
        if !taken.is_empty() {
            store.lanes.took(&place.head.owner);
            return Ok(taken);
        }
    }
    Ok(Vec::new())
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
        sqlx::query("ANALYZE").execute(&mut *connection).await.unwrap();
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
