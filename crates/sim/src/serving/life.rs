//! How the server starts and dies, and what it does of its own accord.

use super::Up;
use crate::event::{Doom, Event, NoAnswer, ServerEvent};
use crate::flaw::Flaw;
use crate::invariant::{ONE_HOLDER, Step};
use crate::world::World;
use jiff::Timestamp;
use jobs::attention::{Attention, Look};
use jobs::claims::{OpenClaims, Void};
use jobs::{EndReason, JobId, Judgement, LeasePolicy, State};
use std::collections::BTreeMap;
use std::time::Duration;
use store::Finish;

/// How often jobs are looked for whose time has come.
const RELEASE_DUE_EVERY: Duration = Duration::from_secs(1);
/// How often it is seen to what was left undone.
const TIDY_EVERY: Duration = Duration::from_mins(1);

impl World {
    pub(crate) async fn server_event(&mut self, event: ServerEvent) -> Step {
        if let Some(until) = self.server.still_until(self.now) {
            self.agenda.plan(until, Event::Server(event));
            return Ok(());
        }
        match event {
            ServerEvent::Starts => self.server_starts().await,
            ServerEvent::Moves => {
                self.tell("server", "moves again");
                Ok(())
            }
            ServerEvent::Scan { start, planned } => self.scans(start, planned).await,
            ServerEvent::Due { start } => {
                if self.server.up(start).is_some() {
                    if self.ground.waits_for_time() {
                        self.ground.release_due().await?;
                        self.spread_news().await?;
                    }
                    self.plan(RELEASE_DUE_EVERY, Event::Server(ServerEvent::Due { start }));
                }
                Ok(())
            }
            ServerEvent::Tidies { start } => {
                if self.server.up(start).is_some() {
                    self.ground.tidy().await?;
                    self.spread_news().await?;
                    self.plan(TIDY_EVERY, Event::Server(ServerEvent::Tidies { start }));
                }
                Ok(())
            }
            ServerEvent::LookAgain { start, waiting } => self.looks_again(start, waiting).await,
            ServerEvent::Undelivered { start, job, lease } => {
                if self.server.up(start).is_none() {
                    return Ok(());
                }
                if self.ground.release(job, &lease).await? {
                    self.tell(
                        "server",
                        format_args!("takes back job {job}, epoch {}: undelivered", lease.epoch),
                    );
                    self.nobody_runs(job, lease.epoch)?;
                }
                self.spread_news().await
            }
            ServerEvent::TakeBack { start, void } => self.takes_back(start, void).await,
        }
    }

    async fn server_starts(&mut self) -> Step {
        if self.server.start > 0 {
            self.ground.start(self.server.lease).await?;
        }
        self.server.start += 1;
        let start = self.server.start;
        let lease = self.server.lease;
        self.server.up = Some(Up {
            lease,
            attention: Attention::from(self.ground.watched.now()),
            was_absent: false,
            claims: OpenClaims::default(),
            changes: self.ground.changes()?,
            waiting: BTreeMap::new(),
            next_waiting: 0,
        });
        self.tell("server", format_args!("starts, with leases of {} s", lease.as_secs()));
        self.plan(Duration::ZERO, Event::Server(ServerEvent::Scan { start, planned: self.now }));
        self.plan(Duration::ZERO, Event::Server(ServerEvent::Due { start }));
        self.plan(Duration::ZERO, Event::Server(ServerEvent::Tidies { start }));
        Ok(())
    }

    /// The janitor's turn.
    async fn scans(&mut self, start: u32, planned: Duration) -> Step {
        let (now, set) = self.ground.watched.look();
        let set = set && !self.has(Flaw::SetUnnoticed);
        let late = self.now.saturating_sub(planned);
        let forgets = self.has(Flaw::NoGrace);
        let Some(up) = self.server.up(start) else { return Ok(()) };
        let pause = LeasePolicy::of(up.lease).scan_interval;
        let absence = up.attention.look(Look { now, late, set, unheard: false });
        up.was_absent |= absence.is_some();
        let since_start = forgets && !up.was_absent;
        let attentive_since = if since_start { Timestamp::UNIX_EPOCH } else { up.attention.since() };
        if let Some(why) = absence {
            self.tell("server", why);
        }
        if self.ground.seen.values().any(|seen| seen.record.state == State::Processing) {
            let reset = self.ground.reset_stalled(Judgement { now, attentive_since, era: None }).await?;
            for (job, epoch) in reset {
                let seen = self.ground.seen[&job].to_string();
                self.tell("server", format_args!("epoch {epoch} of job {job} fell silent: {seen}"));
                self.nobody_believes(job, epoch)?;
            }
            self.spread_news().await?;
        }
        let planned = self.now + pause;
        self.plan(pause, Event::Server(ServerEvent::Scan { start, planned }));
        Ok(())
    }

    async fn takes_back(&mut self, start: u32, void: Void) -> Step {
        if self.server.up(start).is_none() {
            return Ok(());
        }
        let (claim, taken, why) = match void {
            Void::Undelivered(claim) => {
                let taken = self.ground.release(claim.job, &claim.lease).await?;
                (claim, taken, "its answer did not arrive")
            }
            Void::Dead(claim) => {
                let reason = EndReason::ExecutorLost { lease: None };
                let finish = Finish::Error { reason, message: String::new() };
                let taken = self.ground.finish(claim.job, &claim.lease, finish).await?;
                (claim, taken, "its agent died before it had begun")
            }
        };
        if taken {
            let (job, epoch) = (claim.job, claim.lease.epoch);
            self.tell("server", format_args!("takes back job {job}, epoch {epoch}: {why}"));
            self.nobody_runs(job, epoch)?;
        }
        self.spread_news().await
    }

    /// It dies now, or with the next request.
    pub(crate) async fn server_is_doomed(&mut self, doom: Doom, away: Duration) -> Step {
        if !self.server.is_up() {
            return Ok(());
        }
        if doom == Doom::Now {
            return self.server_dies(away).await;
        }
        self.server.doom = Some((doom, away));
        Ok(())
    }

    /// What it had written stays; everybody who waited is cut off.
    pub(crate) async fn server_dies(&mut self, away: Duration) -> Step {
        self.server.doom = None;
        let Some(up) = self.server.up.take() else { return Ok(()) };
        self.tell("server", format_args!("dies, for {:.1} s", away.as_secs_f32()));
        self.ground.crash().await?;
        self.server.still_until = Duration::ZERO;
        for waiting in up.waiting.into_values() {
            let answer = Err(NoAnswer::Refused);
            self.plan(Duration::from_millis(1), Event::Returns { call: waiting.call, answer });
        }
        self.plan(away, Event::Server(ServerEvent::Starts));
        Ok(())
    }

    pub(crate) fn server_stands_still(&mut self, lasts: Duration) {
        if !self.server.is_up() {
            return;
        }
        self.tell("server", format_args!("stands still for {:.1} s", lasts.as_secs_f32()));
        let until = self.now + lasts;
        self.server.still_until = self.server.still_until.max(until);
        self.agenda.plan(until, Event::Server(ServerEvent::Moves));
    }

    /// A job is taken from its executor: that must have given it up by then.
    fn nobody_believes(&self, job: JobId, epoch: u32) -> Step {
        for host in &self.hosts {
            let left = host.belief(job, epoch, self.now);
            ONE_HOLDER.check(left.is_none(), || {
                let left = left.unwrap_or_default().as_secs_f64();
                format!("job {job}, epoch {epoch}, was taken from {}, which believed in its lease for {left:.3} s more", host.name)
            })?;
        }
        Ok(())
    }

    /// A claim is taken back: nobody may have it, nor get it any more.
    fn nobody_runs(&self, job: JobId, epoch: u32) -> Step {
        for host in &self.hosts {
            ONE_HOLDER.check(!host.runs(job, epoch), || {
                format!("a claim of job {job}, epoch {epoch}, was taken back, and {} runs it", host.name)
            })?;
        }
        Ok(())
    }
}
