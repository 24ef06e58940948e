//! One schedule: everybody in it, and the loop that lets things happen one after the other.

use crate::agenda::Agenda;
use crate::client::Clients;
use crate::event::{ClientEvent, Context, Event, Misfortune, Party, Request, ServerEvent};
use crate::flaw::Flaw;
use crate::ground::Ground;
use crate::host::Host;
use crate::invariant::Step;
use crate::network::Network;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::serving::Server;
use crate::timeline::Timeline;
use jobs::{Capacity, JobId};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

/// How often somebody looks whether all is done, once nothing goes wrong any more.
/// No pause of anybody goes evenly into it: else a heartbeat could be on its way at every look, for ever.
const LOOK_EVERY: Duration = Duration::from_millis(4_987);

/// See above.
pub(crate) struct World {
    pub(crate) flaw: Option<Flaw>,
    pub(crate) plan: Plan,
    pub(crate) rng: Rng,
    pub(crate) now: Duration,
    pub(crate) agenda: Agenda,
    pub(crate) timeline: Timeline,
    pub(crate) network: Network,
    pub(crate) ground: Ground,
    pub(crate) server: Server,
    pub(crate) hosts: Vec<Host>,
    pub(crate) clients: Clients,
    /// Who waits for an answer, by call.
    pub(crate) pending: BTreeMap<u64, (Party, Context)>,
    pub(crate) calls: u64,
    /// What each executor gives a job, once it told.
    pub(crate) capacities: BTreeMap<String, Capacity>,
    /// The logs of tries that ended.
    pub(crate) ended_logs: Vec<(JobId, u32, String)>,
    pub(crate) events: u64,
    /// Nothing goes wrong any more, and it is over.
    pub(crate) healed: bool,
    pub(crate) done: bool,
}

impl World {
    /// Everything as it is at the beginning, with what is to come.
    pub(crate) fn new(
        mut rng: Rng,
        plan: Plan,
        ground: Ground,
        executors: usize,
        flaw: Option<Flaw>,
    ) -> Self {
        let hosts = (0..executors).map(|index| Host::draw(&mut rng, index, plan.drift)).collect();
        let network = Network::new(rng.fork(), &plan);
        let mut world = Self {
            flaw,
            server: Server::new(plan.lease),
            clients: Clients::default(),
            network,
            rng,
            now: Duration::ZERO,
            agenda: Agenda::default(),
            timeline: Timeline::default(),
            ground,
            hosts,
            pending: BTreeMap::new(),
            calls: 0,
            capacities: BTreeMap::new(),
            ended_logs: Vec::new(),
            events: 0,
            healed: false,
            done: false,
            plan,
        };
        world.foresee();
        world
    }

    /// Plans what does not depend on what happens.
    fn foresee(&mut self) {
        self.agenda.plan(Duration::ZERO, Event::Server(ServerEvent::Starts));
        for index in 0..self.hosts.len() {
            let at = self.rng.millis(0, 3_000);
            self.agenda.plan(at, Event::Host(index, crate::event::HostEvent::AgentStarts { boot: 0 }));
        }
        for (number, submission) in self.plan.submissions.iter().enumerate() {
            self.agenda.plan(submission.at, Event::Client(ClientEvent::Submits(number)));
        }
        for (at, misfortune) in std::mem::take(&mut self.plan.misfortunes) {
            self.agenda.plan(at, Event::Misfortune(misfortune));
        }
        self.plan_orders();
        self.agenda.plan(self.plan.heals_at, Event::Heals);
    }

    /// Lets everything happen until all is done, or a rule is broken.
    pub(crate) async fn run(&mut self) -> Step {
        while !self.done {
            let Some((at, event)) = self.agenda.next() else { break };
            self.now = at;
            self.ground.clock.passed(at);
            self.timeline.at(at);
            self.events += 1;
            self.happen(event).await?;
            self.one_holder()?;
        }
        Ok(())
    }

    async fn happen(&mut self, event: Event) -> Step {
        match event {
            Event::Arrives(packet) => self.arrives(*packet).await,
            Event::Returns { call, answer } => self.returns(call, answer),
            Event::Server(event) => self.server_event(event).await,
            Event::Host(index, event) => {
                self.host_event(index, event);
                Ok(())
            }
            Event::Client(event) => {
                self.client_event(event);
                Ok(())
            }
            Event::Misfortune(misfortune) => self.befalls(misfortune).await,
            Event::Heals => {
                self.heals();
                Ok(())
            }
            Event::Looks => {
                self.done = self.is_done().await?;
                self.plan(LOOK_EVERY, Event::Looks);
                Ok(())
            }
        }
    }

    /// Plans an event for a while from now.
    pub(crate) fn plan(&mut self, after: Duration, event: Event) {
        self.agenda.plan(self.now + after, event);
    }

    pub(crate) fn tell(&mut self, who: impl Display, what: impl Display) {
        self.timeline.tell(who, what);
    }

    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Makes a call; who waits gets an answer, or learns that there is none.
    pub(crate) fn call(&mut self, from: Party, request: Request, context: Context, limit: Duration) {
        self.calls += 1;
        let call = self.calls;
        self.pending.insert(call, (from, context));
        self.send(call, from, request);
        let answer = Err(crate::event::NoAnswer::TimedOut);
        self.plan(limit, Event::Returns { call, answer });
    }

    /// An answer, or none, for who still waits for it.
    fn returns(&mut self, call: u64, answer: Result<crate::event::Answer, crate::event::NoAnswer>) -> Step {
        let Some((party, _)) = self.pending.get(&call) else { return Ok(()) };
        if let Party::Host(index) = *party
            && let Some(until) = self.hosts[index].frozen_until(self.now)
        {
            self.agenda.plan(until, Event::Returns { call, answer });
            return Ok(());
        }
        let Some((_, context)) = self.pending.remove(&call) else { return Ok(()) };
        match context {
            Context::Submission(_) | Context::Cancel(_) | Context::Order(_) => {
                self.client_hears(context, answer)
            }
            Context::Dequeue { .. } | Context::Heartbeat { .. } | Context::Run { .. } => {
                self.host_hears(context, answer)
            }
        }
    }

    async fn befalls(&mut self, misfortune: Misfortune) -> Step {
        if self.healed {
            return Ok(());
        }
        match misfortune {
            Misfortune::Partition(party, lasts) => {
                self.network.cut(party, self.now + lasts);
                let seconds = lasts.as_secs_f32();
                let who = match party {
                    Party::Host(index) => self.hosts[index].name.clone(),
                    Party::Client => "the client".to_owned(),
                    Party::Operator => "the operator".to_owned(),
                };
                self.tell("network", format_args!("{who} is cut off for {seconds:.1} s"));
            }
            Misfortune::AgentDies(host) => self.agent_dies(host),
            Misfortune::AgentStops(host) => self.agent_stops(host),
            Misfortune::SupervisorDies(host) => self.supervisor_dies(host),
            Misfortune::HostDies(host) => self.host_dies(host),
            Misfortune::HostFreezes(host, lasts) => self.host_freezes(host, lasts),
            Misfortune::ServerDies(doom, away) => self.server_is_doomed(doom, away).await?,
            Misfortune::ServerStandsStill(lasts) => self.server_stands_still(lasts),
            Misfortune::ClockSet(micros) => {
                self.ground.clock.set_by(micros);
                let seconds = micros as f64 / 1e6;
                self.tell("clock", format_args!("the database's clock is set by {seconds:+.3} s"));
            }
            Misfortune::LeaseChanges(lease, away) => {
                self.server.lease = lease;
                self.server_is_doomed(crate::event::Doom::Now, away).await?;
            }
        }
        Ok(())
    }

    /// Nothing goes wrong any more; operators let everything go, or all but one queue.
    fn heals(&mut self) {
        self.healed = true;
        self.network.heal();
        self.tell("world", "nothing goes wrong any more");
        if self.server.doom.take().is_some() {
            self.tell("server", "is spared");
        }
        self.operators_let_go();
        self.plan(LOOK_EVERY, Event::Looks);
    }
}
