//! A job on an executor, from when it is assigned to when its end is told.

use super::Host;
use crate::event::{Event, HostEvent, Party};
use crate::flaw::Flaw;
use crate::rng::Rng;
use crate::world::World;
use jobs::tenure::Tenure;
use jobs::{Canceler, EndReason, JobId, Lease};
use std::time::Duration;
use store::Finish;

/// The longest margin before a lease's end, and the part of the term that it is at most: what [`jobs::tenure`] leaves for
/// a job to end in. It does so in two fifths of it here, so
/// that clocks may differ by the rest.
const MARGIN: (Duration, u32) = (Duration::from_secs(5), 5);

/// See above.
pub(crate) struct Run {
    pub(crate) job: JobId,
    pub(crate) lease: Lease,
    pub(super) token: String,
    pub(crate) tenure: Tenure<Duration>,
    pub(super) phase: Phase,
    /// How it will end, if nothing comes between, and how many lines it writes until then.
    outcome: Finish,
    lines: u64,
    /// When its log entry begins, its number once it is known, its text, and how much of that is delivered.
    pub(super) started: Duration,
    pub(super) entry: Option<i64>,
    pub(crate) text: String,
    pub(super) delivered: usize,
    pub(crate) lost_log: bool,
    pub(super) calling: bool,
    pub(super) failures: u32,
    /// Its end was said at least once.
    pub(super) told: bool,
    /// Another run of the same job took its place: heartbeats don't mean it.
    pub(super) replaced: bool,
    /// Its process died: the agent makes its calls.
    pub(super) orphaned: bool,
    /// It was frozen when its lease ended.
    pub(super) overdue: bool,
}

/// How far it is.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// Only the agent knows of it.
    Assigned,
    Working,
    /// It was told to end; then this is to be said of it, if anything.
    Stopping(Option<Finish>),
    Ended(Finish),
}

impl Run {
    pub(super) fn new(
        rng: &mut Rng,
        job: JobId,
        lease: Lease,
        token: String,
        tenure: Tenure<Duration>,
    ) -> Self {
        let exit = || EndReason::ExitCode { step: "0".to_owned(), code: 3 };
        let message = String::new();
        let outcome = match rng.below(100) {
            0..70 => Finish::Complete,
            70..80 => Finish::Error { reason: exit(), message },
            80..95 => Finish::Error { reason: EndReason::Sandbox, message },
            _ => Finish::Fail { reason: EndReason::BadJob, message },
        };
        Self {
            job,
            lease,
            token,
            tenure,
            phase: Phase::Assigned,
            outcome,
            lines: rng.within(0, 4),
            started: Duration::ZERO,
            entry: None,
            text: String::new(),
            delivered: 0,
            lost_log: false,
            calling: false,
            failures: 0,
            told: false,
            replaced: false,
            orphaned: false,
            overdue: false,
        }
    }

    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Whether processes of the job run.
    pub(super) const fn is_at_work(&self) -> bool {
        matches!(self.phase, Phase::Working | Phase::Stopping(_))
    }

    fn write_line(&mut self) {
        let number = self.text.lines().count();
        let line = format!("job {} epoch {} line {number}\n", self.job, self.lease.epoch);
        self.text.push_str(&line);
    }

    fn stop_limit(&self) -> Duration {
        let term = self.tenure.term.unwrap_or(MARGIN.0);
        MARGIN.0.min(term / MARGIN.1) * 2 / 5
    }
}

/// What is said of a job that somebody cancelled.
pub(super) fn canceled() -> Finish {
    Finish::Fail { reason: EndReason::Canceled(Canceler::control_plane()), message: String::new() }
}

/// What is said of a job whose process died.
pub(super) fn lost() -> Finish {
    Finish::Error { reason: EndReason::ExecutorLost { lease: None }, message: String::new() }
}

impl World {
    /// The agent got a job.
    pub(super) fn takes(&mut self, index: usize, run: Run) {
        let host = &mut self.hosts[index];
        let (number, job) = (host.next_run, run.job);
        host.next_run += 1;
        // Two copies of a job never run beside each other on one host.
        let old: Vec<u64> = host.runs.iter().filter(|(_, run)| run.job == job).map(|(old, _)| *old).collect();
        host.runs.insert(number, run);
        for old in old {
            self.hosts[index].runs.entry(old).and_modify(|run| run.replaced = true);
            self.stop(index, old, None);
        }
        let after = self.rng.millis(1, 400);
        self.plan(after, Event::Host(index, HostEvent::Begins { run: number }));
        self.watch_lease(index, number);
    }

    /// A process of its own has the job from now on.
    pub(super) fn begins(&mut self, index: usize, number: u64) {
        let (now, never_ends) = (self.now, self.has(Flaw::LeaseNeverEnds));
        let host = &mut self.hosts[index];
        let Some(run) = host.runs.get(&number).filter(|run| matches!(run.phase, Phase::Assigned)) else {
            return;
        };
        let (job, epoch) = (run.job, run.lease.epoch);
        if host.runs.iter().any(|(other, run)| *other < number && run.job == job) {
            let again = Duration::from_millis(100);
            return self.plan(again, Event::Host(index, HostEvent::Begins { run: number }));
        }
        if host.belief(job, epoch, now).is_none() && !never_ends {
            return self.is_gone(index, number);
        }
        let name = host.name.clone();
        if let Some(run) = self.hosts[index].runs.get_mut(&number) {
            run.phase = Phase::Working;
            run.started = now;
        }
        self.tell(name, format_args!("begins job {job}, epoch {epoch}"));
        self.goes_on(index, number);
        self.makes_call(index, number);
    }

    fn goes_on(&mut self, index: usize, number: u64) {
        let pause = self.rng.millis(200, 9_000);
        self.plan(pause, Event::Host(index, HostEvent::Goes { run: number }));
    }

    /// The job writes its next line, or ends.
    pub(super) fn goes(&mut self, index: usize, number: u64) {
        let Some(run) = self.hosts[index].runs.get_mut(&number) else { return };
        if !matches!(run.phase, Phase::Working) {
            return;
        }
        run.write_line();
        if run.lines == 0 {
            run.phase = Phase::Ended(run.outcome.clone());
            let (job, epoch) = (run.job, run.lease.epoch);
            let how = match &run.outcome {
                Finish::Complete => "well".to_owned(),
                Finish::Error { reason, .. } | Finish::Fail { reason, .. } => reason.to_string(),
            };
            let name = self.hosts[index].name.clone();
            self.tell(name, format_args!("has run job {job}, epoch {epoch}: {how}"));
        } else {
            run.lines -= 1;
            self.goes_on(index, number);
        }
        self.makes_call(index, number);
    }

    /// The job is to end; then this is said of it, if anything.
    pub(super) fn stop(&mut self, index: usize, number: u64, then: Option<Finish>) {
        let Some(run) = self.hosts[index].runs.get_mut(&number) else { return };
        match (&mut run.phase, then) {
            (Phase::Working, then) => {
                run.phase = Phase::Stopping(then);
                let limit = run.stop_limit().as_millis() as u64;
                let after = self.rng.millis(0, limit);
                self.plan(after, Event::Host(index, HostEvent::Ended { run: number }));
            }
            (Phase::Stopping(said), None) => *said = None,
            (Phase::Stopping(_) | Phase::Ended(_), Some(_)) => {}
            (Phase::Assigned, Some(finish)) => {
                run.phase = Phase::Ended(finish);
                run.lost_log = true;
                self.makes_call(index, number);
            }
            (Phase::Assigned | Phase::Ended(_), None) => self.is_gone(index, number),
        }
    }

    /// What was told to end has ended.
    pub(super) fn ended(&mut self, index: usize, number: u64) {
        let Some(run) = self.hosts[index].runs.get_mut(&number) else { return };
        let Phase::Stopping(then) = &run.phase else { return };
        match then.clone() {
            None => self.is_gone(index, number),
            Some(finish) => {
                run.phase = Phase::Ended(finish);
                self.makes_call(index, number);
            }
        }
    }

    /// Nothing is left of it.
    pub(super) fn is_gone(&mut self, index: usize, number: u64) {
        self.hosts[index].runs.remove(&number);
        self.forget_calls(Party::Host(index), |context| context.is_of_run(number));
        self.ask_for_more(index);
    }

    /// Looks again when the lease may be over.
    pub(super) fn watch_lease(&mut self, index: usize, number: u64) {
        let host: &Host = &self.hosts[index];
        let end = host.runs.get(&number).and_then(|run| run.tenure.end());
        if let Some(end) = end {
            let after = host.until(end, self.now);
            self.plan(after, Event::Host(index, HostEvent::LeaseOver { run: number }));
        }
    }

    pub(super) fn lease_over(&mut self, index: usize, number: u64) {
        let never = self.has(Flaw::LeaseNeverEnds);
        let host = &mut self.hosts[index];
        let clock = host.clock(self.now);
        let Some(run) = host.runs.get_mut(&number) else { return };
        // It was renewed meanwhile, and is watched until then.
        let Some(end) = run.tenure.end().filter(|end| *end <= clock) else { return };
        if run.has_ended() || never {
            return;
        }
        run.overdue = clock.saturating_sub(end) > Duration::from_millis(50);
        let (job, epoch, name) = (run.job, run.lease.epoch, host.name.clone());
        self.tell(name, format_args!("gives up job {job}, epoch {epoch}: its lease is over"));
        self.stop(index, number, None);
    }
}
