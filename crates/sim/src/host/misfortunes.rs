//! What befalls executors.

use super::run::{self, Phase};
use crate::event::{Context, Event, HostEvent, Party};
use crate::world::World;
use jobs::EndReason;
use std::time::Duration;
use store::Finish;

impl World {
    /// Its jobs go on, but for those that it had not handed on yet.
    pub(crate) fn agent_dies(&mut self, index: usize) {
        let now = self.now;
        let host = &mut self.hosts[index];
        if host.agent.take().is_none() {
            return;
        }
        let (clock, boot, name) = (host.clock(now), host.boot, host.name.clone());
        host.runs.retain(|_, run| !matches!(run.phase, Phase::Assigned));
        for run in host.runs.values_mut() {
            run.tenure = run.tenure.accompanied(false, clock);
            run.calling &= !run.orphaned;
        }
        let orphans: Vec<u64> =
            host.runs.iter().filter(|(_, run)| run.orphaned).map(|(number, _)| *number).collect();
        let alive: Vec<u64> = host.runs.keys().copied().collect();
        self.forget_calls(Party::Host(index), |context| match context {
            Context::Run { run, .. } => orphans.contains(run) || !alive.contains(run),
            _ => true,
        });
        let after = self.rng.millis(100, 30_000);
        self.tell(name, format_args!("its agent dies, for {:.1} s", after.as_secs_f32()));
        self.plan(after, Event::Host(index, HostEvent::AgentStarts { boot }));
    }

    /// It ends its jobs, and is started again later; it says until then which of them are alive.
    pub(crate) fn agent_stops(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let (boot, name) = (host.boot, host.name.clone());
        let Some(agent) = host.agent.as_mut().filter(|agent| !agent.stopping) else { return };
        agent.stopping = true;
        let runs: Vec<u64> = host.runs.keys().copied().collect();
        self.tell(name, "its agent is told to stop");
        self.forget_calls(Party::Host(index), |context| matches!(context, Context::Dequeue { .. }));
        for number in runs {
            let reason = EndReason::ExecutorStopped;
            self.stop(index, number, Some(Finish::Error { reason, message: String::new() }));
        }
        let after = self.rng.millis(1_000, 30_000);
        self.plan(after, Event::Host(index, HostEvent::AgentStarts { boot }));
    }

    /// The process dies that runs a job, with what it had not delivered of the log; one that has ended is told by the agent.
    pub(crate) fn supervisor_dies(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let able = |run: &super::Run| !run.orphaned && !matches!(run.phase, Phase::Assigned);
        let all: Vec<u64> =
            host.runs.iter().filter(|(_, run)| able(run)).map(|(number, _)| *number).collect();
        if all.is_empty() {
            return;
        }
        let number = *self.rng.pick(&all);
        let Some(run) = host.runs.get_mut(&number) else { return };
        run.orphaned = true;
        run.calling = false;
        if !run.has_ended() {
            let canceled = matches!(&run.phase, Phase::Stopping(Some(_)));
            let gone = matches!(&run.phase, Phase::Stopping(None));
            run.lost_log = true;
            run.phase = Phase::Ended(if canceled { run::canceled() } else { run::lost() });
            if gone {
                run.replaced = true;
            }
        }
        let (job, epoch, name, gone) = (run.job, run.lease.epoch, host.name.clone(), run.replaced);
        self.tell(name, format_args!("the process dies that runs job {job}, epoch {epoch}"));
        self.forget_calls(Party::Host(index), |context| context.is_of_run(number));
        if gone {
            return self.is_gone(index, number);
        }
        let after = self.rng.millis(20, 3_000);
        self.plan(after, Event::Host(index, HostEvent::Calls { run: number }));
    }

    /// Everything on it is gone; an agent starts when it is up again.
    pub(crate) fn host_dies(&mut self, index: usize) {
        let now = self.now;
        let host = &mut self.hosts[index];
        if host.frozen_until(now).is_some() {
            return;
        }
        host.boot += 1;
        host.agent = None;
        host.runs.clear();
        let (boot, name) = (host.boot, host.name.clone());
        self.forget_calls(Party::Host(index), |_| true);
        let after = self.rng.millis(1_000, 60_000);
        self.tell(name, format_args!("loses its power, for {:.1} s", after.as_secs_f32()));
        self.plan(after, Event::Host(index, HostEvent::AgentStarts { boot }));
    }

    /// Nothing on it moves; its clock goes on.
    pub(crate) fn host_freezes(&mut self, index: usize, lasts: Duration) {
        let until = self.now + lasts;
        let host = &mut self.hosts[index];
        host.frozen_until = host.frozen_until.max(until);
        // Whatever they should have ended meanwhile they end only then.
        host.runs.values_mut().for_each(|run| run.overdue = true);
        let name = host.name.clone();
        self.tell(name, format_args!("stands still for {:.1} s", lasts.as_secs_f32()));
        self.agenda.plan(until, Event::Host(index, HostEvent::Moves));
    }

    /// Nobody waits for these answers any more.
    pub(super) fn forget_calls(&mut self, party: Party, which: impl Fn(&Context) -> bool) {
        self.pending.retain(|_, (of, context)| *of != party || !which(context));
    }
}

impl Context {
    /// Whether this is a call of that run of a host.
    pub(super) const fn is_of_run(&self, number: u64) -> bool {
        matches!(self, Self::Run { run, .. } if *run == number)
    }
}
