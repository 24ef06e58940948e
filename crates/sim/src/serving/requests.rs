//! What the server does with requests, as its handlers do it: one after the other, each driven to its end.

use super::{Up, Waiting};
use crate::event::{Answer, Asked, Doom, Event, Given, NoAnswer, Packet, Party, Request, ServerEvent};
use crate::flaw::Flaw;
use crate::ground::Appended;
use crate::invariant::{CURRENT_EPOCH, Step};
use crate::world::World;
use jobs::claims::{OpenClaim, Word};
use jobs::{Capacity, EndReason, JobId, Lease};
use std::time::Duration;
use store::{Asking, Change, Finish};
use tokio::sync::broadcast::error::TryRecvError;

/// For how long a dequeue is held open.
pub(crate) const LONG_POLL: Duration = Duration::from_secs(20);
/// How often those who wait may wake each other at one moment.
const MOST_ROUNDS: usize = 20;
/// How often one that is held looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl World {
    /// A request arrives at the server, if that is there.
    pub(crate) async fn arrives(&mut self, mut packet: Packet) -> Step {
        let is_lost = packet.waits_for.is_some_and(|start| start != self.server.start);
        if let Some(until) = self.server.still_until(self.now)
            && !is_lost
        {
            packet.waits_for = Some(self.server.start);
            self.agenda.plan(until, Event::Arrives(Box::new(packet)));
            return Ok(());
        }
        if is_lost || !self.server.is_up() {
            let answer = Err(NoAnswer::Refused);
            self.plan(Duration::from_millis(1), Event::Returns { call: packet.call, answer });
            return Ok(());
        }
        match self.server.doom {
            Some((Doom::BeforeCommit, away)) => {
                self.server_dies(away).await?;
                let answer = Err(NoAnswer::Refused);
                self.plan(Duration::from_millis(1), Event::Returns { call: packet.call, answer });
                Ok(())
            }
            Some((Doom::AfterCommit, away)) => {
                let (call, from) = (packet.call, packet.from);
                self.serve(call, from, packet.request).await?;
                self.server_dies(away).await?;
                let answer = Err(NoAnswer::Refused);
                self.plan(Duration::from_millis(1), Event::Returns { call, answer });
                Ok(())
            }
            Some((Doom::Now, _)) | None => {
                let Packet { call, from, request, .. } = packet;
                if let Some(answer) = self.serve(call, from, request).await? {
                    self.send_back(call, from, answer);
                }
                self.spread_news().await
            }
        }
    }

    /// The answer, unless it comes later.
    async fn serve(&mut self, call: u64, from: Party, request: Request) -> Step<Option<Answer>> {
        let answer = match request {
            Request::Submit { submission, job } => {
                Answer::Submitted(self.ground.submit(submission, *job).await?)
            }
            Request::Cancel(job) => {
                self.ground.cancel(job).await?;
                Answer::Done
            }
            Request::Rules { queue, rules } => {
                self.ground.set_rules(&queue, rules).await?;
                Answer::Done
            }
            Request::Maintenance { executor, away } => {
                self.ground.set_away(&executor, away).await?;
                Answer::Done
            }
            Request::Dequeue(asked) => {
                let waiting = Waiting { call, from, asked, arrived: self.now };
                self.look_for(waiting).await?;
                return Ok(None);
            }
            Request::Heartbeat { executor, capacity, ids, word } => {
                self.hear(&executor, &capacity, &ids, &word).await?
            }
            Request::AddEntry { job, lease, token, started } => {
                let holds = self.ground.holds(job, &lease, &token).await?;
                let entry = self.ground.add_entry(job, &lease, started).await?;
                self.is_guarded_twice(holds, entry.is_some(), job)?;
                entry.map_or(Answer::NotYours, Answer::Entry)
            }
            Request::Append { job, lease, token, entry, offset, text } => {
                let holds = self.ground.holds(job, &lease, &token).await?;
                let appended = self.ground.append(job, &lease, entry, offset, &text).await?;
                self.is_guarded_twice(holds, !matches!(appended, Appended::Refused), job)?;
                match appended {
                    Appended::Length(length) => Answer::Length(length),
                    Appended::Gap(length) => Answer::Gap(length),
                    Appended::Refused => Answer::NotYours,
                }
            }
            Request::Finish { job, lease, token, run, finish } => {
                let holds = self.ground.holds(job, &lease, &token).await?;
                let lost = matches!(&finish, Finish::Error { reason: EndReason::ExecutorLost { .. }, .. });
                let done = self.ground.finish(job, &lease, finish).await?;
                if done {
                    let seen = self.ground.seen[&job].to_string();
                    self.tell(
                        "server",
                        format_args!("job {job}, epoch {} of {} ends: {seen}", lease.epoch, lease.executor),
                    );
                }
                self.is_guarded_twice(holds, done, job)?;
                if done && !lost {
                    self.log_is_whole(job, &lease, run).await?;
                }
                if done { Answer::Done } else { Answer::NotYours }
            }
        };
        Ok(Some(answer))
    }

    /// Who has no token any more is refused by the store as well.
    fn is_guarded_twice(&self, holds: bool, done: bool, job: JobId) -> Step {
        CURRENT_EPOCH.check(holds == done, || {
            format!(
                "job {job}: the token counts: {holds}, the lease counts: {done}; it is {}",
                self.ground.seen[&job]
            )
        })
    }

    /// What an executor wrote of the log until it said that the job ended.
    async fn log_is_whole(&mut self, job: JobId, lease: &Lease, run: u64) -> Step {
        let written = self.hosts.iter().find(|host| host.name == lease.executor);
        let Some(text) = written.and_then(|host| host.text(run)) else { return Ok(()) };
        self.ground.log_is(job, lease.epoch, &text).await?;
        self.ended_logs.push((job, lease.epoch, text));
        Ok(())
    }

    async fn hear(
        &mut self,
        executor: &str,
        capacity: &Capacity,
        ids: &[JobId],
        word: &Word,
    ) -> Step<Answer> {
        let Some(up) = &self.server.up else { return Ok(Answer::NotYours) };
        let (lease, start) = (up.lease, self.server.start);
        if self.server.introduce(executor) {
            let queues = crate::plan::QUEUES.map(str::to_owned);
            self.ground.note_executor(executor, &queues).await?;
            self.capacities.insert(executor.to_owned(), capacity.clone());
        }
        let answer = self.ground.heartbeat(executor, ids, lease).await?;
        let named: &[JobId] = if self.has(Flaw::SettledTooSoon) { &[] } else { ids };
        let Some(up) = &mut self.server.up else { return Ok(Answer::NotYours) };
        for void in up.claims.heard(executor, named, Some(word)) {
            let after = self.rng.millis(0, 20);
            self.plan(after, Event::Server(ServerEvent::TakeBack { start, void }));
        }
        Ok(Answer::Heard { known: answer.known, cancel: answer.cancel, term: lease })
    }

    /// Looks for a job; where there is none, the dequeue waits.
    async fn look_for(&mut self, waiting: Waiting) -> Step {
        let start = self.server.start;
        if self.try_to_give(&waiting).await? {
            return Ok(());
        }
        if self.now.saturating_sub(waiting.arrived) >= LONG_POLL {
            self.send_back(waiting.call, waiting.from, Answer::Nothing);
            return Ok(());
        }
        let Some(up) = self.server.up(start) else { return Ok(()) };
        let number = up.next_waiting;
        up.next_waiting += 1;
        up.waiting.insert(number, waiting);
        self.plan(LOOK_AGAIN, Event::Server(ServerEvent::LookAgain { start, waiting: number }));
        Ok(())
    }

    pub(super) async fn looks_again(&mut self, start: u32, number: u64) -> Step {
        let Some(waiting) = self.server.up(start).and_then(|up| up.waiting.remove(&number)) else {
            return Ok(());
        };
        // Its client has hung up.
        if !self.pending.contains_key(&waiting.call) {
            return Ok(());
        }
        self.look_for(waiting).await?;
        self.spread_news().await
    }

    /// Whether there was a job.
    async fn try_to_give(&mut self, waiting: &Waiting) -> Step<bool> {
        let start = self.server.start;
        let Some(lease) = self.server.up(start).map(|up| up.lease) else { return Ok(true) };
        let Asked { executor, capacity, queues, start: of, number } = waiting.asked.clone();
        let mut queues = queues;
        self.rng.shuffle(&mut queues);
        for queue in queues {
            let asking = Asking {
                queues: vec![queue],
                executor: executor.clone(),
                capacity: capacity.clone(),
                lease,
                most: 1,
            };
            let Some(claimed) = self.ground.claim(&asking).await? else { continue };
            let job = claimed.job.id;
            let lease = Lease { epoch: claimed.job.record.epoch, executor: executor.clone() };
            let claim = OpenClaim { job, lease: lease.clone(), start: of, dequeue: number };
            if let Some(up) = self.server.up(start) {
                up.claims.note(claim);
            }
            self.tell("server", format_args!("gives job {job}, epoch {}, to {executor}", lease.epoch));
            self.give(waiting, job, lease, claimed.token);
            return Ok(true);
        }
        Ok(false)
    }

    fn give(&mut self, waiting: &Waiting, job: JobId, lease: Lease, token: String) {
        let start = self.server.start;
        let term = self.server.up(start).map(|up| up.lease).unwrap_or_default();
        // Never more than it was, to the millisecond.
        let held = Duration::from_millis(self.now.saturating_sub(waiting.arrived).as_millis() as u64);
        let given = Given { job, lease: lease.clone(), token, held };
        let left = self.send_back(waiting.call, waiting.from, Answer::Job { given, term });
        let confused = self.has(Flaw::ReleaseDelivered) && self.rng.chance(200);
        if !left || confused {
            let after = self.rng.millis(0, 200);
            self.plan(after, Event::Server(ServerEvent::Undelivered { start, job, lease }));
        }
    }

    /// Wakes the dequeues that wait for what changed.
    pub(super) async fn spread_news(&mut self) -> Step {
        for _ in 0..MOST_ROUNDS {
            let Some(up) = &mut self.server.up else { return Ok(()) };
            let mut woken = up.heard();
            if woken.is_empty() {
                return Ok(());
            }
            // They are tasks of their own: any of them may be first.
            self.rng.shuffle(&mut woken);
            for number in woken {
                let start = self.server.start;
                let waiting = self.server.up(start).and_then(|up| up.waiting.remove(&number));
                let Some(waiting) = waiting.filter(|waiting| self.pending.contains_key(&waiting.call)) else {
                    continue;
                };
                self.look_for(waiting).await?;
            }
        }
        Ok(())
    }
}

impl Up {
    /// The dequeues that the latest changes are news for.
    fn heard(&mut self) -> Vec<u64> {
        let mut woken = std::collections::BTreeSet::new();
        loop {
            let of = |queue: &dyn Fn(&Waiting) -> bool| -> Vec<u64> {
                self.waiting.iter().filter(|(_, waiting)| queue(waiting)).map(|(number, _)| *number).collect()
            };
            match self.changes.try_recv() {
                Ok(Change::Queued(queue)) => {
                    woken.extend(of(&|waiting| waiting.asked.queues.contains(&queue)));
                }
                Ok(Change::Rules) | Err(TryRecvError::Lagged(_)) => woken.extend(of(&|_| true)),
                Ok(Change::Job(_) | Change::Log(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return woken.into_iter().collect(),
            }
        }
    }
}
