//! The agent: it asks for jobs, and says which are alive.

use super::Agent;
use super::run::{self, Phase, Run};
use crate::event::{Answer, Asked, Context, Event, Given, HostEvent, NoAnswer, Party, Request};
use crate::flaw::Flaw;
use crate::invariant::Step;
use crate::serving::LONG_POLL;
use crate::world::World;
use jobs::JobId;
use jobs::claims::{Start, Word};
use jobs::tenure::Tenure;
use std::collections::VecDeque;
use std::time::Duration;

/// The pause between two heartbeats, and how many there are at least while a lease lasts.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
const BEATS: u32 = 4;
/// How long a heartbeat may take, unless the next that the lease needs is due before.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
/// How much longer than it is held a dequeue may take.
const DEQUEUE_MARGIN: Duration = Duration::from_secs(15);
/// How many dequeues that failed are told of.
const MOST_LOST: usize = 32;

impl Agent {
    /// For how long it waits for the answer to a heartbeat.
    fn patience(&self) -> Duration {
        self.term.map_or(HEARTBEAT_TIMEOUT, |term| HEARTBEAT_TIMEOUT.min(term / BEATS))
    }

    /// When a pause that it makes is over: as usual, but there are several heartbeats while a lease lasts, however long
    /// the last one took.
    fn next_beat(&self, since: Duration) -> Duration {
        let usual = since + HEARTBEAT_EVERY;
        self.term.map_or(usual, |term| usual.min(self.sent + term / BEATS))
    }
}

impl World {
    pub(crate) fn host_event(&mut self, index: usize, event: HostEvent) {
        if let Some(until) = self.hosts[index].frozen_until(self.now) {
            self.agenda.plan(until, Event::Host(index, event));
            return;
        }
        match event {
            HostEvent::AgentStarts { boot } => self.agent_starts(index, boot),
            HostEvent::Settles { start } => {
                if let Some(agent) = self.hosts[index].agent(start) {
                    agent.settled = true;
                }
            }
            HostEvent::Beats { start, pause } => self.beats(index, start, pause),
            HostEvent::Asks { start } => self.asks(index, start),
            HostEvent::Begins { run } => self.begins(index, run),
            HostEvent::Goes { run } => self.goes(index, run),
            HostEvent::LeaseOver { run } => self.lease_over(index, run),
            HostEvent::Calls { run } => self.makes_call(index, run),
            HostEvent::Ended { run } => self.ended(index, run),
            HostEvent::Moves => {
                let name = self.hosts[index].name.clone();
                self.tell(name, "moves again");
            }
        }
    }

    fn agent_starts(&mut self, index: usize, boot: u32) {
        let forgets = self.has(Flaw::NotAdopted);
        let now = self.now;
        let settles_at_once = self.rng.chance(600);
        let host = &mut self.hosts[index];
        let runs_already = host.agent.as_ref().is_some_and(|agent| !agent.stopping);
        if host.boot != boot || runs_already {
            return;
        }
        host.starts += 1;
        let start = Start { place: host.place(), number: host.starts };
        let number = start.number;
        host.agent = Some(Agent {
            start,
            dequeues: 0,
            dequeuing: false,
            lost: VecDeque::new(),
            term: None,
            sent: Duration::ZERO,
            pauses: 0,
            pausing_since: None,
            settled: settles_at_once,
            stopping: false,
        });
        let clock = host.clock(now);
        let mut orphans = Vec::new();
        for (number, run) in &mut host.runs {
            run.tenure = run.tenure.accompanied(true, clock);
            run.replaced |= forgets;
            if run.orphaned {
                orphans.push(*number);
            }
        }
        let (name, runs) = (host.name.clone(), host.runs.len());
        self.tell(name, format_args!("start {number} of its agent, which finds {runs} jobs"));
        for orphan in orphans {
            self.makes_call(index, orphan);
        }
        self.plan(Duration::ZERO, Event::Host(index, HostEvent::Beats { start: number, pause: 0 }));
        self.plan(Duration::ZERO, Event::Host(index, HostEvent::Asks { start: number }));
        if !settles_at_once {
            let after = self.rng.millis(100, 12_000);
            self.plan(after, Event::Host(index, HostEvent::Settles { start: number }));
        }
    }

    /// Says which jobs run here.
    fn beats(&mut self, index: usize, start: u64, pause: u64) {
        let now = self.now;
        let host = &mut self.hosts[index];
        let sent = host.clock(now);
        let (executor, capacity) = (host.name.clone(), host.capacity.clone());
        let named = host.runs.iter().filter(|(_, run)| !run.replaced);
        let (runs, ids): (Vec<u64>, Vec<JobId>) = named.map(|(number, run)| (*number, run.job)).unzip();
        let Some(agent) = host.agent(start).filter(|agent| agent.pauses == pause) else { return };
        agent.pausing_since = None;
        agent.sent = now;
        let patience = agent.patience();
        let lost = agent.lost.iter().copied().collect();
        let word = Word { start: agent.start.clone(), settled: agent.settled, lost };
        let request = Request::Heartbeat { executor, capacity, ids, word };
        let context = Context::Heartbeat { host: index, start, sent, runs };
        self.call(Party::Host(index), request, context, patience);
    }

    /// Plans the next heartbeat, for a pause that began then.
    fn pauses(&mut self, index: usize, start: u64, since: Duration) {
        let Some(agent) = self.hosts[index].agent(start) else { return };
        agent.pauses += 1;
        agent.pausing_since = Some(since);
        let (until, pause) = (agent.next_beat(since), agent.pauses);
        let at = self.now.max(until);
        self.agenda.plan(at, Event::Host(index, HostEvent::Beats { start, pause }));
    }

    /// The server told how long leases last: the pause that is being made is as long as they demand.
    fn hears_of_term(&mut self, index: usize, start: u64, term: Duration) {
        let Some(agent) = self.hosts[index].agent(start) else { return };
        let since = agent.pausing_since.filter(|_| agent.term != Some(term));
        agent.term = Some(term);
        if let Some(since) = since {
            self.pauses(index, start, since);
        }
    }

    /// Asks for a job, if there is room for one.
    fn asks(&mut self, index: usize, start: u64) {
        let host = &mut self.hosts[index];
        let (sent, has_room) = (host.clock(self.now), host.runs.len() < host.slots);
        let (executor, capacity, queues) = (host.name.clone(), host.capacity.clone(), host.queues.clone());
        let Some(agent) = host.agent(start).filter(|agent| !agent.dequeuing && !agent.stopping) else {
            return;
        };
        if !has_room {
            return;
        }
        let number = agent.dequeues;
        agent.dequeues += 1;
        agent.dequeuing = true;
        let asked = Asked { executor, start: agent.start.clone(), number, capacity, queues };
        let context = Context::Dequeue { host: index, start, number, sent };
        self.call(Party::Host(index), Request::Dequeue(asked), context, LONG_POLL + DEQUEUE_MARGIN);
    }

    /// There may be room for another job.
    pub(super) fn ask_for_more(&mut self, index: usize) {
        if let Some(agent) = &self.hosts[index].agent {
            let start = agent.start.number;
            self.plan(Duration::ZERO, Event::Host(index, HostEvent::Asks { start }));
        }
    }

    /// An answer to a call from a host, or none.
    pub(crate) fn host_hears(&mut self, context: Context, answer: Result<Answer, NoAnswer>) -> Step {
        match context {
            Context::Dequeue { host, start, number, sent } => {
                self.dequeued(host, start, number, sent, answer);
            }
            Context::Heartbeat { host, start, sent, runs } => self.heard(host, start, sent, &runs, answer),
            Context::Run { host, run } => return self.call_answered(host, run, answer),
            Context::Submission(_) | Context::Cancel(_) | Context::Order(_) => {}
        }
        Ok(())
    }

    fn dequeued(
        &mut self,
        index: usize,
        start: u64,
        number: u64,
        sent: Duration,
        answer: Result<Answer, NoAnswer>,
    ) {
        let (from_answer, too_long) = (self.has(Flaw::LeaseFromAnswer), self.has(Flaw::LeaseTooLong));
        let host = &mut self.hosts[index];
        let clock = host.clock(self.now);
        let Some(agent) = host.agent(start) else { return };
        agent.dequeuing = false;
        let mut pause = Duration::ZERO;
        let told = if let Ok(Answer::Job { term, .. }) = &answer { Some(*term) } else { None };
        match answer {
            Ok(Answer::Job { given, term }) => {
                let term = if too_long { term * 5 / 4 } else { term };
                let Given { job, lease, token, held } = given;
                let claimed = Tenure::claimed(sent, Some(held).filter(|_| !from_answer), clock);
                let tenure = Tenure::new(claimed, Some(term));
                let name = host.name.clone();
                self.tell(name, format_args!("gets job {job}, epoch {}", lease.epoch));
                let run = Run::new(&mut self.rng, job, lease, token, tenure);
                self.takes(index, run);
            }
            Ok(_) => {}
            Err(_) => {
                agent.lost.push_back(number);
                if agent.lost.len() > MOST_LOST {
                    agent.lost.pop_front();
                }
                pause = self.rng.millis(250, 5_000);
            }
        }
        if let Some(term) = told {
            self.hears_of_term(index, start, term);
        }
        self.plan(pause, Event::Host(index, HostEvent::Asks { start }));
    }

    fn heard(
        &mut self,
        index: usize,
        start: u64,
        sent: Duration,
        runs: &[u64],
        answer: Result<Answer, NoAnswer>,
    ) {
        if let Ok(Answer::Heard { term, .. }) = &answer {
            self.hears_of_term(index, start, *term);
        }
        self.pauses(index, start, self.now);
        let (from_answer, too_long) = (self.has(Flaw::LeaseFromAnswer), self.has(Flaw::LeaseTooLong));
        let host = &mut self.hosts[index];
        let clock = host.clock(self.now);
        if host.agent(start).is_none() {
            return;
        }
        let Ok(Answer::Heard { known, cancel, term }) = answer else { return };
        let term = if too_long { term * 5 / 4 } else { term };
        let renewed = if from_answer { clock } else { sent };
        let (mut alive, mut unknown, mut canceled) = (Vec::new(), Vec::new(), Vec::new());
        for number in runs {
            let Some(run) = host.runs.get_mut(number).filter(|run| !run.replaced) else { continue };
            if known.contains(&run.job) {
                run.tenure = run.tenure.renewed(renewed, Some(term));
                alive.push(*number);
            } else if !run.told {
                unknown.push(*number);
            }
            if cancel.contains(&run.job) && !run.has_ended() && !matches!(run.phase, Phase::Stopping(_)) {
                canceled.push(*number);
            }
        }
        for number in alive {
            self.watch_lease(index, number);
        }
        for number in unknown {
            self.abandons(index, number);
        }
        for number in canceled {
            self.stop(index, number, Some(run::canceled()));
        }
    }
}
