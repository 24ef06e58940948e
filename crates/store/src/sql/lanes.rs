//! What this process knows of lanes: enough to look only where jobs may be, and only at what may be first.
//!
//! All of it is a hint. A lane that is thought empty is looked at again when somebody says that it was filled, and each
//! lane every [`LOOK_EVERYWHERE`]. The *floor* of a lane is a rank below which no queued job was seen: where a database
//! can't clear away what was taken, because somebody holds an old transaction open, a look need not walk over it again.

use jobs::dispatch::{Head, Turns};
use jobs::{Capacity, Needs};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long what is known is believed.
const LOOK_EVERYWHERE: Duration = Duration::from_secs(30);
/// Lanes that one look is at.
const MOST_LOOKED_AT: usize = 64;

/// A lane, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LaneRow {
    pub(super) id: i64,
    pub(super) queue: String,
    pub(super) owner: String,
    pub(super) needs: Needs,
}

/// What operators say, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// Queues whose jobs are not given out.
    pub(super) paused: BTreeSet<String>,
    /// By queue, how many of its jobs are given out at once.
    pub(super) max_running: BTreeMap<String, i64>,
    /// Executors that are given nothing.
    pub(super) in_maintenance: BTreeSet<String>,
}

/// A lane to look at.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) lane: i64,
    pub(super) queue: String,
    pub(super) owner: String,
    pub(super) floor: i64,
    news: u64,
}

/// See above.
#[derive(Default)]
pub(super) struct Lanes(Mutex<Known>);

#[derive(Default)]
struct Known {
    lanes: BTreeMap<i64, Lane>,
    ids: HashMap<(String, String, Needs), i64>,
    turns: Turns,
    rules: Rules,
    /// When lanes and rules were read last; `None` when they are to be read again.
    read: Option<Instant>,
    /// Counted up by whatever makes them so: what was read meanwhile may be older.
    doubts: u64,
}

struct Lane {
    row: LaneRow,
    floor: i64,
    /// Whether it may have jobs.
    filled: bool,
    /// Counted up by whatever is heard of it.
    news: u64,
}

impl Lanes {
    /// Whether lanes and rules are to be read from the database.
    pub(super) fn is_stale(&self) -> bool {
        self.known().read.is_none_or(|read| read.elapsed() > LOOK_EVERYWHERE)
    }

    /// What there was heard of by now, for [`Self::learn`].
    pub(super) fn doubts(&self) -> u64 {
        self.known().doubts
    }

    /// Takes over what the database says; every lane may have jobs again. `doubts` is from before it was asked.
    pub(super) fn learn(&self, rows: Vec<LaneRow>, rules: Rules, doubts: u64) {
        let mut known = self.known();
        known.rules = rules;
        for row in rows {
            known.add(row);
        }
        for lane in known.lanes.values_mut() {
            (lane.floor, lane.filled, lane.news) = (i64::MIN, true, lane.news + 1);
        }
        known.read = (known.doubts == doubts).then(Instant::now);
    }

    /// The id of a lane that is known.
    pub(super) fn find(&self, queue: &str, owner: &str, needs: &Needs) -> Option<i64> {
        let name = (queue.to_owned(), owner.to_owned(), needs.clone());
        self.known().ids.get(&name).copied()
    }

    /// Notes a lane that was just made or found.
    pub(super) fn add(&self, row: LaneRow) {
        self.known().add(row);
    }

    /// A lane has a job of `rank` that can be claimed, now or after its pause.
    pub(super) fn filled(&self, lane: i64, rank: i64) {
        let mut known = self.known();
        match known.lanes.get_mut(&lane) {
            Some(lane) => {
                (lane.floor, lane.filled, lane.news) = (lane.floor.min(rank), true, lane.news + 1);
            }
            // Another server made it.
            None => known.doubt(),
        }
    }

    /// What operators say is to be read again.
    pub(super) fn rules_changed(&self) {
        self.known().doubt();
    }

    /// Where there may be jobs for `executor`, by id. Of very many those whose turn it is.
    pub(super) fn candidates(
        &self,
        queues: &[String],
        executor: &str,
        capacity: &Capacity,
    ) -> Vec<Candidate> {
        let known = self.known();
        if known.rules.in_maintenance.contains(executor) {
            return Vec::new();
        }
        let open = |lane: &&Lane| {
            let row = &lane.row;
            lane.filled
                && queues.contains(&row.queue)
                && !known.rules.paused.contains(&row.queue)
                && row.needs.unmet(capacity).is_empty()
        };
        let mut open: Vec<&Lane> = known.lanes.values().filter(open).collect();
        if open.len() > MOST_LOOKED_AT {
            open.sort_by_key(|lane| known.turns.of(&lane.row.owner));
            open.truncate(MOST_LOOKED_AT);
            open.sort_by_key(|lane| lane.row.id);
        }
        let candidate = |lane: &Lane| Candidate {
            lane: lane.row.id,
            queue: lane.row.queue.clone(),
            owner: lane.row.owner.clone(),
            floor: lane.floor,
            news: lane.news,
        };
        open.into_iter().map(candidate).collect()
    }

    /// What a look at `candidate` saw: the rank of its first queued job, and whether it has any job that waits.
    pub(super) fn looked(&self, candidate: &Candidate, first: Option<i64>, any: bool) {
        let mut known = self.known();
        let Some(lane) = known.lanes.get_mut(&candidate.lane) else { return };
        // Something was heard while the look was under way: it may have missed that.
        if lane.news == candidate.news {
            lane.floor = first.unwrap_or(i64::MAX);
            lane.filled = any;
        }
    }

    /// How many jobs of `queue` are given out at once, if that is limited.
    pub(super) fn max_running(&self, queue: &str) -> Option<i64> {
        self.known().rules.max_running.get(queue).copied()
    }

    /// The order in which these heads are to be given out.
    pub(super) fn order<T>(&self, items: Vec<T>, head: impl Fn(&T) -> &Head) -> Vec<T> {
        self.known().turns.order(items, head)
    }

    /// A job of `owner` was given out.
    pub(super) fn took(&self, owner: &str) {
        self.known().turns.took(owner);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What is known may be wrong.
    fn doubt(&mut self) {
        self.read = None;
        self.doubts += 1;
    }

    fn add(&mut self, row: LaneRow) {
        let name = (row.queue.clone(), row.owner.clone(), row.needs.clone());
        self.ids.insert(name, row.id);
        self.lanes.entry(row.id).or_insert(Lane { row, floor: i64::MIN, filled: true, news: 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, owner: &str, needs: &str) -> LaneRow {
        let needs = serde_json::from_str(needs).unwrap();
        LaneRow { id, queue: "batches".to_owned(), owner: owner.to_owned(), needs }
    }

    fn lanes(rules: Rules) -> Lanes {
        let lanes = Lanes::default();
        let rows = vec![row(1, "ann", "{}"), row(2, "bob", r#"{"cpus":8}"#)];
        lanes.learn(rows, rules, lanes.doubts());
        lanes
    }

    fn open(lanes: &Lanes, capacity: &Capacity) -> Vec<(i64, i64)> {
        let queues = ["batches".to_owned()];
        let candidates = lanes.candidates(&queues, "exec-1", capacity);
        candidates.iter().map(|candidate| (candidate.lane, candidate.floor)).collect()
    }

    fn look(lanes: &Lanes, lane: i64) -> Candidate {
        let all = lanes.candidates(&["batches".to_owned()], "exec-1", &Capacity::default());
        all.into_iter().find(|candidate| candidate.lane == lane).unwrap()
    }

    #[test]
    fn only_what_fits_and_is_not_paused_is_looked_at() {
        let known = lanes(Rules::default());
        assert!(!known.is_stale());
        let small = Capacity { cpus: Some(4), ..Capacity::default() };
        assert_eq!(open(&known, &small), [(1, i64::MIN)]);
        assert_eq!(open(&known, &Capacity::default()).len(), 2);
        let paused = Rules { paused: BTreeSet::from(["batches".to_owned()]), ..Rules::default() };
        assert_eq!(open(&lanes(paused), &Capacity::default()), []);
        let away = Rules { in_maintenance: BTreeSet::from(["exec-1".to_owned()]), ..Rules::default() };
        assert_eq!(open(&lanes(away), &Capacity::default()), []);
    }

    #[test]
    fn an_empty_lane_is_looked_at_again_when_it_is_filled() {
        let known = lanes(Rules::default());
        let capacity = Capacity { cpus: Some(1), ..Capacity::default() };
        known.looked(&look(&known, 1), Some(70), true);
        assert_eq!(open(&known, &capacity), [(1, 70)]);
        known.looked(&look(&known, 1), None, false);
        assert_eq!(open(&known, &capacity), []);
        known.filled(1, 80);
        assert_eq!(open(&known, &capacity), [(1, 80)]);
        known.filled(1, 60);
        assert_eq!(open(&known, &capacity), [(1, 60)], "what comes back may be older");
    }

    /// The news came after the look, and what came may be below its floor.
    #[test]
    fn a_look_that_was_overtaken_by_news_changes_nothing() {
        let known = lanes(Rules::default());
        let looking = look(&known, 1);
        known.filled(1, 5);
        known.looked(&looking, None, false);
        assert_eq!(open(&known, &Capacity { cpus: Some(1), ..Capacity::default() }), [(1, i64::MIN)]);
    }

    /// Else the older rules would be believed for long.
    #[test]
    fn what_was_read_while_it_changed_is_read_again() {
        let known = Lanes::default();
        let doubts = known.doubts();
        known.rules_changed();
        known.learn(Vec::new(), Rules::default(), doubts);
        assert!(known.is_stale());
        known.learn(Vec::new(), Rules::default(), known.doubts());
        assert!(!known.is_stale());
    }

    #[test]
    fn what_is_heard_of_an_unknown_lane_is_read() {
        let known = lanes(Rules::default());
        known.filled(9, 5);
        assert!(known.is_stale());
    }
}
