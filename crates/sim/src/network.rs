//! The network between the server and everybody else.

use crate::event::{Answer, Event, Packet, Party, Request};
use crate::plan::Plan;
use crate::rng::Rng;
use crate::world::World;
use std::collections::BTreeMap;
use std::time::Duration;

/// How the network is.
pub(crate) struct Network {
    rng: Rng,
    lost: u64,
    twice: u64,
    slow: u64,
    /// Until when nothing passes between somebody and the server.
    cut: BTreeMap<Party, Duration>,
}

impl Network {
    pub(crate) const fn new(rng: Rng, plan: &Plan) -> Self {
        Self { rng, lost: plan.lost, twice: plan.twice, slow: plan.slow, cut: BTreeMap::new() }
    }

    pub(crate) fn cut(&mut self, party: Party, until: Duration) {
        let cut = self.cut.entry(party).or_default();
        *cut = until.max(*cut);
    }

    pub(crate) fn heal(&mut self) {
        (self.lost, self.twice, self.slow) = (0, 0, 0);
        self.cut.clear();
    }

    fn is_cut(&self, party: Party, now: Duration) -> bool {
        self.cut.get(&party).is_some_and(|until| *until > now)
    }

    fn delay(&mut self) -> Duration {
        if self.rng.chance(self.slow) { self.rng.millis(300, 30_000) } else { self.rng.millis(1, 60) }
    }

    /// Whether the server notices that an answer does not leave: it hangs on how much of it was on its way.
    fn notices(&mut self) -> bool {
        self.rng.chance(500)
    }
}

impl World {
    /// Sends a request on its way.
    pub(crate) fn send(&mut self, call: u64, from: Party, request: Request) {
        let (now, network) = (self.now, &mut self.network);
        let packet = Packet { call, from, request, waits_for: None };
        // Operators watch what they do.
        if network.rng.chance(network.twice) && from != Party::Operator {
            let late = now + network.rng.millis(10, 60_000);
            self.agenda.plan(late, Event::Arrives(Box::new(packet.clone())));
        }
        if network.is_cut(from, now) || network.rng.chance(network.lost) {
            return;
        }
        let at = now + network.delay();
        self.agenda.plan(at, Event::Arrives(Box::new(packet)));
    }

    /// Sends an answer back; whether the server may believe that it left.
    pub(crate) fn send_back(&mut self, call: u64, from: Party, answer: Answer) -> bool {
        let (now, network) = (self.now, &mut self.network);
        let waits = self.pending.contains_key(&call);
        if !waits || network.is_cut(from, now) || network.rng.chance(network.lost) {
            return !network.notices();
        }
        let at = now + network.delay();
        self.agenda.plan(at, Event::Returns { call, answer: Ok(answer) });
        true
    }
}
