//! An executor: a host with a clock of its own, an agent on it that comes and goes, and a process for each job that goes
//! on without the agent. For how long a job is theirs, [`jobs::tenure`] tells.

mod agent;
mod calls;
mod misfortunes;
mod run;

pub(crate) use run::Run;

use crate::plan::{LABEL, QUEUES};
use crate::rng::Rng;
use jobs::claims::Start;
use jobs::{Capacity, JobId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What a host's clock shows when the schedule begins.
const BOOTED_AGO: Duration = Duration::from_secs(1_000);

/// See above.
pub(crate) struct Host {
    pub(crate) name: String,
    capacity: Capacity,
    queues: Vec<String>,
    slots: usize,
    /// By how many millionths its clock is too fast.
    off_by: i64,
    /// Counted up with each start of the host, and of an agent on it.
    boot: u32,
    starts: u64,
    agent: Option<Agent>,
    runs: BTreeMap<u64, Run>,
    next_run: u64,
    frozen_until: Duration,
}

/// An agent that runs.
struct Agent {
    start: Start,
    dequeues: u64,
    dequeuing: bool,
    lost: VecDeque<u64>,
    /// How long leases last, once it was told.
    term: Option<Duration>,
    /// When it sent its latest heartbeat.
    sent: Duration,
    /// Counted up with each pause between heartbeats, and since when it makes one.
    pauses: u64,
    pausing_since: Option<Duration>,
    /// Of earlier starts nothing is left but what is named.
    settled: bool,
    /// It takes no more jobs.
    stopping: bool,
}

impl Host {
    pub(crate) fn draw(rng: &mut Rng, index: usize, drift: u64) -> Self {
        let mut labels = BTreeSet::new();
        // The first has it, so that no job waits for ever.
        if index == 0 || rng.chance(300) {
            labels.insert(LABEL.to_owned());
        }
        let all = QUEUES.map(str::to_owned);
        let queues = if index == 0 || rng.chance(700) { all.to_vec() } else { vec![rng.pick(&all).clone()] };
        Self {
            name: format!("exec-{index}"),
            capacity: Capacity { labels, ..Capacity::default() },
            queues,
            slots: rng.within(1, 3) as usize,
            off_by: rng.within(0, 2 * drift) as i64 - drift as i64,
            boot: 0,
            starts: 0,
            agent: None,
            runs: BTreeMap::new(),
            next_run: 0,
            frozen_until: Duration::ZERO,
        }
    }

    /// Until when it stands still, if it does.
    pub(crate) fn frozen_until(&self, now: Duration) -> Option<Duration> {
        (self.frozen_until > now).then_some(self.frozen_until)
    }

    /// What its clock shows.
    fn clock(&self, now: Duration) -> Duration {
        let micros = i128::try_from(now.as_micros()).unwrap_or_default();
        let shown = micros * (1_000_000 + i128::from(self.off_by)) / 1_000_000;
        BOOTED_AGO + Duration::from_micros(shown as u64)
    }

    /// How long it takes until its clock shows that.
    fn until(&self, shown: Duration, now: Duration) -> Duration {
        let left = shown.saturating_sub(self.clock(now)).as_micros() as i128;
        Duration::from_micros((left * 1_000_000 / (1_000_000 + i128::from(self.off_by))) as u64 + 1)
    }

    /// For how much longer it believes that a job is its own, of this epoch; `None` where it does not, or where it does
    /// not run it.
    pub(crate) fn belief(&self, job: JobId, epoch: u32, now: Duration) -> Option<Duration> {
        self.running(job, epoch)?.tenure.end().and_then(|end| {
            let left = end.saturating_sub(self.clock(now));
            (!left.is_zero()).then_some(left)
        })
    }

    /// Whether it runs a job in this epoch, or is about to.
    pub(crate) fn runs(&self, job: JobId, epoch: u32) -> bool {
        self.running(job, epoch).is_some()
    }

    fn running(&self, job: JobId, epoch: u32) -> Option<&Run> {
        let is_it = |run: &&Run| run.job == job && run.lease.epoch == epoch && !run.has_ended();
        self.runs.values().find(is_it)
    }

    /// What a run has written, unless some of it died with its process.
    pub(crate) fn text(&self, run: u64) -> Option<String> {
        self.runs.get(&run).filter(|run| !run.lost_log).map(|run| run.text.clone())
    }

    /// The jobs that run here at this moment, each with whether it believes in its lease, and whether it is late because
    /// it could not know better.
    pub(crate) fn at_work(&self, now: Duration) -> impl Iterator<Item = (JobId, u32, bool, bool)> + '_ {
        let frozen = self.frozen_until(now).is_some();
        let clock = self.clock(now);
        self.runs.values().filter(|run| run.is_at_work()).map(move |run| {
            let believes = run.tenure.end().is_none_or(|end| end > clock);
            (run.job, run.lease.epoch, believes, frozen || run.overdue)
        })
    }

    fn place(&self) -> String {
        format!("{}-{}", self.name, self.boot)
    }

    /// Whether it is this start of its agent.
    fn agent(&mut self, start: u64) -> Option<&mut Agent> {
        self.agent.as_mut().filter(|agent| agent.start.number == start)
    }
}
