//! Those who submit and cancel jobs, and those who look after the queues.

use crate::event::{Answer, ClientEvent, Context, Event, NoAnswer, Party, Request};
use crate::invariant::{SUBMITTED_ONCE, Step};
use crate::plan::QUEUES;
use crate::world::World;
use jobs::{Clock, JobId};
use std::collections::BTreeMap;
use std::time::Duration;
use store::QueueRules;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after everything was healed operators give their last orders at the earliest: any order before has arrived by
/// then, unless the server stands still.
const LAST_ORDERS: Duration = Duration::from_secs(35);

/// By then a server that moves again has done what waited for it.
const MOMENT: Duration = Duration::from_secs(1);

/// What clients know.
#[derive(Default)]
pub(crate) struct Clients {
    /// The jobs of submissions that were acknowledged to them.
    pub(crate) acknowledged: BTreeMap<usize, JobId>,
    /// Jobs whose cancel was.
    pub(crate) canceled: Vec<JobId>,
    /// When operators give their last orders, once that is known.
    pub(crate) last_orders_at: Option<Duration>,
}

impl World {
    pub(crate) fn client_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Submits(submission) => {
                let job = self.plan.submissions[submission].job.clone();
                let (queue, owner) = (&job.spec.queue, &job.owner);
                let what = format!("submits submission {submission} of {owner} to {queue}");
                self.tell("client", what);
                let request = Request::Submit { submission, job: Box::new(job) };
                self.call(Party::Client, request, Context::Submission(submission), PATIENCE);
            }
            ClientEvent::Cancels(job) => {
                self.tell("client", format_args!("cancels job {job}"));
                self.call(Party::Client, Request::Cancel(job), Context::Cancel(job), PATIENCE);
            }
            ClientEvent::Orders(request) => {
                self.tell("operator", order(&request));
                self.call(Party::Operator, request.clone(), Context::Order(request), PATIENCE);
            }
        }
    }

    /// Everybody repeats what was not answered, until it is.
    pub(crate) fn client_hears(&mut self, context: Context, answer: Result<Answer, NoAnswer>) -> Step {
        let Ok(answer) = answer else {
            let again = match context {
                Context::Submission(submission) => ClientEvent::Submits(submission),
                Context::Cancel(job) => ClientEvent::Cancels(job),
                Context::Order(request) if self.clients.last_orders_at.is_some_and(|at| self.now >= at) => {
                    ClientEvent::Orders(request)
                }
                // A later order may have been given meanwhile: one that is repeated would undo it.
                _ => return Ok(()),
            };
            let pause = self.rng.millis(100, 5_000);
            self.plan(pause, Event::Client(again));
            return Ok(());
        };
        match (context, answer) {
            (Context::Submission(submission), Answer::Submitted(job)) => {
                self.tell("client", format_args!("hears that submission {submission} is job {job}"));
                let before = self.clients.acknowledged.insert(submission, job);
                SUBMITTED_ONCE.check(before.is_none_or(|before| before == job), || {
                    format!("submission {submission} was acknowledged as two jobs, {before:?} and {job}")
                })?;
                if let (None, Some(after)) = (before, self.plan.submissions[submission].canceled_after) {
                    self.plan(after, Event::Client(ClientEvent::Cancels(job)));
                }
                Ok(())
            }
            (Context::Cancel(job), _) => {
                self.tell("client", format_args!("hears that job {job} is cancelled"));
                self.clients.canceled.push(job);
                self.ground.is_canceled(job)
            }
            _ => Ok(()),
        }
    }

    /// What operators will do.
    pub(crate) fn plan_orders(&mut self) {
        if !self.plan.operators {
            return;
        }
        let window = self.plan.heals_at.as_millis() as u64;
        for _ in 0..self.rng.within(1, 8) {
            let at = self.rng.millis(0, window);
            let request = if self.rng.chance(700) {
                let paused = self.rng.chance(350);
                let paused_at = paused.then(|| self.ground.clock.now());
                let max_running = self.rng.chance(500).then(|| self.rng.within(1, 3) as u32);
                Request::Rules {
                    queue: (*self.rng.pick(&QUEUES)).to_owned(),
                    rules: QueueRules { paused_at, max_running },
                }
            } else {
                let host = self.rng.below(self.hosts.len() as u64) as usize;
                let executor = self.hosts[host].name.clone();
                Request::Maintenance { executor, away: self.rng.chance(600) }
            };
            self.agenda.plan(at, Event::Client(ClientEvent::Orders(request)));
        }
    }

    /// In the end everything is given out again, but perhaps for one queue. These orders are the last.
    pub(crate) fn operators_let_go(&mut self) {
        if !self.plan.operators {
            return;
        }
        let moves_at = self.server.still_until(self.now).unwrap_or_default() + MOMENT;
        let at = moves_at.max(self.now + LAST_ORDERS);
        self.clients.last_orders_at = Some(at);
        let closed = if self.rng.chance(200) { Some(*self.rng.pick(&QUEUES)) } else { None };
        for queue in QUEUES {
            let paused_at = (closed == Some(queue)).then(|| self.ground.clock.now());
            let rules = QueueRules { paused_at, max_running: None };
            let request = Request::Rules { queue: queue.to_owned(), rules };
            self.agenda.plan(at, Event::Client(ClientEvent::Orders(request)));
        }
        for index in 0..self.hosts.len() {
            let executor = self.hosts[index].name.clone();
            let request = Request::Maintenance { executor, away: false };
            self.agenda.plan(at, Event::Client(ClientEvent::Orders(request)));
        }
    }
}

fn order(request: &Request) -> String {
    match request {
        Request::Rules { queue, rules } => {
            let paused = if rules.paused_at.is_some() { "pauses" } else { "resumes" };
            let limit = rules.max_running.map_or("any number".to_owned(), |most| format!("at most {most}"));
            format!("{paused} {queue}, of which {limit} may run")
        }
        Request::Maintenance { executor, away: true } => format!("takes {executor} into maintenance"),
        Request::Maintenance { executor, away: false } => format!("gives {executor} jobs again"),
        _ => String::new(),
    }
}
