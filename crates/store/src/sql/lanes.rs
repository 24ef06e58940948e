//! What this process knows of lanes: enough to look only where jobs may be, and only at what may be first.
//!
//! All of it is a hint. A lane that is thought empty is looked at again when somebody says that it was filled, and each
//! lane every [`LOOK_EVERYWHERE`]. The *floor* of a lane is a rank below which none of its jobs was seen: whoever knows it
//! knows whether a lane may have a job that comes before one that was found elsewhere. That of the jobs that were never
//! claimed is known apart: where a database can't clear away what was taken, because somebody holds an old transaction
//! open, a look need not walk over it again.

use jobs::dispatch::{Head, Turns};
use jobs::{Capacity, Needs};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long what is known is believed.
const LOOK_EVERYWHERE: Duration = Duration::from_secs(30);

/// For how long one look has all of a lane to itself that is to be looked at from its beginning.
const TURN_TO_CHECK: Duration = Duration::from_secs(1);

/// A lane, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LaneRow {
    pub(super) id: i64,
    pub(super) queue: String,
    pub(super) owner: String,
    pub(super) needs: Needs,
    /// What a server has to know to run its jobs: see [`jobs::SPEC_VERSION`].
    pub(super) version: u32,
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
    pub(super) row: Arc<LaneRow>,
    pub(super) floors: Floors,
    /// When its owner had its latest turn.
    turn: u64,
    news: u64,
}

impl Candidate {
    /// What it has comes no earlier than this.
    pub(super) fn bound(&self) -> (u64, i64) {
        (self.turn, self.floors.any())
    }

    /// Where one of its jobs with this rank comes.
    pub(super) const fn at(&self, rank: i64) -> (u64, i64) {
        (self.turn, rank)
    }
}

/// Ranks below which a lane has no jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Floors {
    /// None that were never claimed, or came back at once.
    pub(super) fresh: i64,
    /// None that are to be tried again.
    pub(super) errored: i64,
}

impl Floors {
    const UNKNOWN: Self = Self { fresh: i64::MIN, errored: i64::MIN };

    fn any(self) -> i64 {
        self.fresh.min(self.errored)
    }
}

/// See above.
#[derive(Default)]
pub(super) struct Lanes {
    known: Mutex<Known>,
    /// Whoever has it reads lanes and rules; others wait for what it learns.
    reading: tokio::sync::Mutex<()>,
}

/// What was known at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since {
    doubts: u64,
    added: u64,
}

#[derive(Default)]
struct Known {
    lanes: BTreeMap<i64, Lane>,
    ids: HashMap<(String, String, Needs, u32), i64>,
    /// Lanes that this server can't read, but newer ones, or nobody: whoever says that one was filled says nothing to this one.
    unread: HashSet<i64>,
    turns: Turns,
    rules: Rules,
    /// When lanes and rules were read last; `None` when they are to be read again.
    read: Option<Instant>,
    /// Counted up by whatever makes them so: what was read meanwhile may be older.
    doubts: u64,
    /// Counted up by every lane that is noted.
    added: u64,
}

struct Lane {
    row: Arc<LaneRow>,
    floors: Floors,
    check: Check,
    /// Whether it may have jobs.
    filled: bool,
    /// Counted up by whatever is heard of it.
    news: u64,
}

/// Whether a lane is to be looked at from its beginning, since something may have come back of which nobody heard. One look
/// does that, and others go by what is known: where what was taken can't be cleared away it takes long.
#[derive(Debug, Clone, Copy)]
enum Check {
    Done,
    Due,
    Since(Instant),
}

impl Lane {
    /// From where on it is to be looked at.
    fn floors_to_look_from(&mut self) -> Floors {
        match self.check {
            Check::Done => return self.floors,
            Check::Since(begun) if begun.elapsed() < TURN_TO_CHECK => return self.floors,
            Check::Due | Check::Since(_) => {}
        }
        self.check = Check::Since(Instant::now());
        Floors::UNKNOWN
    }
}

impl Lanes {
    /// Whether lanes and rules are to be read from the database.
    pub(super) fn is_stale(&self) -> bool {
        self.known().read.is_none_or(|read| read.elapsed() > LOOK_EVERYWHERE)
    }

    /// Takes the turn to read them.
    pub(super) async fn turn_to_read(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.reading.lock().await
    }

    /// What there was heard of by now, for [`Self::learn`].
    pub(super) fn since(&self) -> Since {
        let known = self.known();
        Since { doubts: known.doubts, added: known.added }
    }

    /// Takes over what the database says; every lane may have jobs again, but for those that are `unread`. `since` is from before
    /// it was asked.
    pub(super) fn learn(&self, rows: Vec<LaneRow>, unread: HashSet<i64>, rules: Rules, since: Since) {
        let mut known = self.known();
        (known.rules, known.unread) = (rules, unread);
        // What was noted meanwhile need not be among what was read.
        if known.added == since.added {
            let there: HashSet<i64> = rows.iter().map(|row| row.id).collect();
            known.retain(|lane| there.contains(&lane));
        }
        for row in rows {
            known.add(row);
        }
        for lane in known.lanes.values_mut() {
            (lane.check, lane.filled, lane.news) = (Check::Due, true, lane.news + 1);
        }
        known.read = (known.doubts == since.doubts).then(Instant::now);
    }

    /// These are not there any more.
    pub(super) fn forget(&self, lanes: &HashSet<i64>) {
        self.known().retain(|lane| !lanes.contains(&lane));
    }

    /// The id of a lane that is known.
    pub(super) fn find(&self, queue: &str, owner: &str, needs: &Needs, version: u32) -> Option<i64> {
        let name = (queue.to_owned(), owner.to_owned(), needs.clone(), version);
        self.known().ids.get(&name).copied()
    }

    /// Notes a lane that was just made or found.
    pub(super) fn add(&self, row: LaneRow) {
        self.known().add(row);
    }

    /// A lane has a job of `rank` that can be claimed, now or after its pause.
    pub(super) fn filled(&self, lane: i64, rank: i64) {
        let mut known = self.known();
        let is_unread = known.unread.contains(&lane);
        match known.lanes.get_mut(&lane) {
            Some(lane) => {
                let Floors { fresh, errored } = lane.floors;
                lane.floors = Floors { fresh: fresh.min(rank), errored: errored.min(rank) };
                (lane.filled, lane.news) = (true, lane.news + 1);
            }
            None if is_unread => {}
            // Another server made it.
            None => known.doubt(),
        }
    }

    /// What operators say is to be read again.
    pub(super) fn rules_changed(&self) {
        self.known().doubt();
    }

    /// Where there may be jobs for `executor`; what may come first is first.
    pub(super) fn candidates(
        &self,
        queues: &[String],
        executor: &str,
        capacity: &Capacity,
    ) -> Vec<Candidate> {
        let mut known = self.known();
        let Known { lanes, turns, rules, .. } = &mut *known;
        if rules.in_maintenance.contains(executor) {
            return Vec::new();
        }
        let may_have = |lane: &&mut Lane| {
            let row = &lane.row;
            lane.filled
                && queues.contains(&row.queue)
                && !rules.paused.contains(&row.queue)
                && row.needs.unmet(capacity).is_empty()
        };
        let candidate = |lane: &mut Lane| {
            let floors = lane.floors_to_look_from();
            candidate(lane, turns, floors)
        };
        let mut open: Vec<Candidate> = lanes.values_mut().filter(may_have).map(candidate).collect();
        drop(known);
        open.sort_unstable_by_key(|candidate| (candidate.bound(), candidate.row.id));
        open
    }

    /// What is known by now of these lanes.
    pub(super) fn again(&self, candidates: &[Candidate]) -> Vec<Candidate> {
        let known = self.known();
        let lanes = candidates.iter().filter_map(|candidate| known.lanes.get(&candidate.row.id));
        lanes.map(|lane| candidate(lane, &known.turns, lane.floors)).collect()
    }

    /// What a look at `candidate` saw: the ranks of its first job that was never claimed, and of the first that errored.
    pub(super) fn looked(&self, candidate: &Candidate, fresh: Option<i64>, errored: Option<i64>) {
        let mut known = self.known();
        let Some(lane) = known.lanes.get_mut(&candidate.row.id) else { return };
        // Something was heard while the look was under way, or another one began further down: this one may have missed that.
        if lane.news == candidate.news && candidate.floors.fresh <= lane.floors.fresh {
            lane.check = if candidate.floors == Floors::UNKNOWN { Check::Done } else { lane.check };
            let floor = |first: Option<i64>| first.unwrap_or(i64::MAX);
            lane.floors = Floors { fresh: floor(fresh), errored: floor(errored) };
            lane.filled = fresh.is_some() || errored.is_some();
        }
    }

    /// How many jobs of `queue` are given out at once, if that is limited.
    pub(super) fn max_running(&self, queue: &str) -> Option<i64> {
        self.known().rules.max_running.get(queue).copied()
    }

    /// Whether those who wait for a job of `queue` may wait for one of its running jobs to end.
    pub(super) fn may_be_limited(&self, queue: &str) -> bool {
        let known = self.known();
        known.read.is_none() || known.rules.max_running.contains_key(queue)
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
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn candidate(lane: &Lane, turns: &Turns, floors: Floors) -> Candidate {
    Candidate { row: Arc::clone(&lane.row), floors, turn: turns.of(&lane.row.owner), news: lane.news }
}

impl Known {
    /// What is known may be wrong.
    fn doubt(&mut self) {
        self.read = None;
        self.doubts += 1;
    }

    fn retain(&mut self, keep: impl Fn(i64) -> bool) {
        self.lanes.retain(|id, _| keep(*id));
        self.ids.retain(|_, id| keep(*id));
    }

    fn add(&mut self, row: LaneRow) {
        let name = (row.queue.clone(), row.owner.clone(), row.needs.clone(), row.version);
        self.ids.insert(name, row.id);
        self.added += u64::from(!self.lanes.contains_key(&row.id));
        let new = |row| Lane {
            row: Arc::new(row),
            floors: Floors::UNKNOWN,
            check: Check::Done,
            filled: true,
            news: 0,
        };
        self.lanes.entry(row.id).or_insert_with(|| new(row));
    }
}

#[cfg(test)]
mod tests;
