//! All calls on the store that change something, but claims and logs.

use super::{Ground, Kept, Seen, refused};
use crate::flaw::Flaw;
use crate::invariant::{BUDGETS, CANCELED, CURRENT_EPOCH, SUBMITTED_ONCE, Step};
use jobs::dispatch::rank;
use jobs::{Canceler, Clock, EndReason, Event, JobId, Judgement, Lease, State};
use std::collections::BTreeSet;
use std::time::Duration;
use store::{Finish, HeartbeatAnswer, NewJob, QueueChange, QueueRules, Store, StoreError};
use wire::heartbeat::Telemetry;

impl Ground {
    pub(crate) async fn submit(&mut self, submission: usize, mut job: NewJob) -> Step<JobId> {
        let (spec, owner) = (job.spec.clone(), job.owner.clone());
        if self.has(Flaw::KeyForgotten) {
            job.idempotency_key = None;
        }
        if self.has(Flaw::ConcurrencyIgnored) {
            job.spec.concurrency = None;
        }
        let id = self.store()?.submit(job).await?;
        let changed = self.look().await?;
        let first = self.submitted.insert(submission, id);
        SUBMITTED_ONCE.check(first.is_none_or(|first| first == id), || {
            format!("submission {submission} is job {id} now, and was another: {first:?}")
        })?;
        if first.is_none() {
            let made = changed.get(&id).is_some_and(Option::is_none) && changed.len() == 1;
            SUBMITTED_ONCE.check(made, || format!("submission {submission} did not make job {id} alone"))?;
            let queued_at = self.seen[&id].queued_at;
            let rank = rank(queued_at, spec.priority);
            let (key, needs, not_before) = (spec.concurrency, spec.needs, spec.not_before);
            self.kept.insert(id, Kept { owner, key, needs, not_before, rank });
            return Ok(id);
        }
        SUBMITTED_ONCE
            .check(changed.is_empty(), || format!("submission {submission} made again changed something"))?;
        Ok(id)
    }

    /// Whether there was something to cancel.
    pub(crate) async fn cancel(&mut self, id: JobId) -> Step<bool> {
        let canceler = Canceler::api([192, 0, 2, 7].into(), Some("simulated"));
        if self.has(Flaw::CancelForgotten) && self.seen[&id].record.state == State::Processing {
            return Ok(true);
        }
        let done = refused(self.store()?.cancel(id, canceler.clone()).await)?.is_some();
        let changed = self.look().await?;
        let events = if done { vec![(id, Event::Cancel(canceler))] } else { Vec::new() };
        self.changed_by(&events, changed, "a cancel")?;
        Ok(done)
    }

    /// Checks that an acknowledged cancel is noted.
    pub(crate) fn is_canceled(&self, id: JobId) -> Step {
        let seen = &self.seen[&id];
        let noted = seen.record.cancel_requested() || seen.record.state.is_terminal();
        CANCELED.check(noted, || format!("the cancel of job {id} was acknowledged: {seen}"))
    }

    pub(crate) async fn heartbeat(
        &mut self,
        executor: &str,
        ids: &[JobId],
        lease: Duration,
    ) -> Step<HeartbeatAnswer> {
        let mut answer = self.store()?.heartbeat(executor, ids, lease).await?;
        if self.has(Flaw::HeartbeatOfAnybody) {
            for id in ids.iter().filter(|id| !answer.known.contains(id)).copied().collect::<Vec<_>>() {
                let Some(holder) = self.seen.get(&id).and_then(|seen| seen.record.executor.clone()) else {
                    continue;
                };
                answer.known.extend(self.store()?.heartbeat(&holder, &[id], lease).await?.known);
            }
        }
        let of = |which: &dyn Fn(&Seen) -> bool| {
            let named = ids.iter().copied();
            named.filter(|id| self.seen.get(id).is_some_and(which)).collect::<BTreeSet<JobId>>()
        };
        let held = |seen: &Seen| {
            seen.record.state == State::Processing && seen.record.executor.as_deref() == Some(executor)
        };
        let known = of(&held);
        let cancel = of(&|seen| held(seen) && seen.record.cancel_requested());
        let told = |ids: &[JobId]| ids.iter().copied().collect::<BTreeSet<_>>();
        CURRENT_EPOCH.check(told(&answer.known) == known && told(&answer.cancel) == cancel, || {
            format!("a heartbeat of {executor} for {ids:?} is told {answer:?}; it holds {known:?}, of which {cancel:?} are cancelled")
        })?;
        let now = self.clock.now();
        self.heard.extend(answer.known.iter().map(|id| (*id, now)));
        Ok(answer)
    }

    /// Ends a try; whether that was accepted.
    pub(crate) async fn finish(&mut self, id: JobId, lease: &Lease, finish: Finish) -> Step<bool> {
        let event = match &finish {
            Finish::Complete => Event::Complete(lease.clone()),
            Finish::Error { reason, .. } => Event::Error(lease.clone(), reason.clone()),
            Finish::Fail { reason, .. } => Event::Fail(lease.clone(), reason.clone()),
        };
        let (mut used, mut said) = (lease.clone(), finish);
        if self.has(Flaw::FinishOfOldEpoch) {
            let record = &self.seen[&id].record;
            used = Lease { epoch: record.epoch, executor: record.executor.clone().unwrap_or_default() };
        }
        if let Finish::Error { reason, .. } = &mut said
            && self.has(Flaw::FaultCharged)
            && reason.is_infrastructure()
        {
            *reason = EndReason::ExitCode { step: "0".to_owned(), code: 1 };
        }
        let done = refused(self.store()?.finish(id, &used, said).await)?.is_some();
        self.ended(id, event, done, "an end").await?;
        Ok(done)
    }

    /// Takes back a claim; whether that was accepted.
    pub(crate) async fn release(&mut self, id: JobId, lease: &Lease) -> Step<bool> {
        let done = refused(self.store()?.release(id, lease).await)?.is_some();
        self.ended(id, Event::Release(lease.clone()), done, "a release").await?;
        Ok(done)
    }

    async fn ended(&mut self, id: JobId, event: Event, done: bool, what: &str) -> Step {
        let changed = self.look().await?;
        let events = if done { vec![(id, event)] } else { Vec::new() };
        self.changed_by(&events, changed, what)?;
        self.within_budgets(id)
    }

    /// Takes back what nobody was heard of; gives the jobs with the epochs that were over.
    pub(crate) async fn reset_stalled(&mut self, at: Judgement) -> Step<Vec<(JobId, u32)>> {
        if self.store()?.reset_stalled(at).await?.is_empty() {
            return Ok(Vec::new());
        }
        let changed = self.look().await?;
        let mut events = Vec::new();
        for (id, before) in &changed {
            let Some(before) = before.as_ref().filter(|before| before.record.state == State::Processing)
            else {
                continue;
            };
            let (epoch, lease) = (before.record.epoch, Duration::ZERO);
            events.push((*id, Event::Stall { epoch, lease }));
        }
        self.changed_by(&events, changed, "the janitor")?;
        let mut reset = Vec::new();
        for (id, event) in events {
            self.within_budgets(id)?;
            if let Event::Stall { epoch, .. } = event {
                reset.push((id, epoch));
            }
        }
        Ok(reset)
    }

    /// Whether there are jobs that only time holds back.
    pub(crate) fn waits_for_time(&self) -> bool {
        self.seen.values().any(|seen| matches!(seen.hold, Some(store::Hold::Until(_))))
    }

    pub(crate) async fn release_due(&mut self) -> Step {
        if self.has(Flaw::NeverDue) {
            return Ok(());
        }
        if self.store()?.release_due().await? == 0 {
            return Ok(());
        }
        let changed = self.look().await?;
        self.changed_by(&[], changed, "letting go of what is due")
    }

    /// Sees to what was left undone: it may let go of who waits for a key, and no more.
    pub(crate) async fn tidy(&mut self) -> Step {
        let places = self.store()?.hand_on_places().await?;
        self.store()?.forget_lanes().await?;
        if places == 0 {
            return Ok(());
        }
        let changed = self.look().await?;
        self.changed_by(&[], changed, "tidying up")
    }

    pub(crate) async fn set_rules(&mut self, queue: &str, rules: QueueRules) -> Step {
        let max_running = rules.max_running.filter(|_| !self.has(Flaw::LimitIgnored));
        let change = QueueChange {
            paused: Some(rules.paused_at.is_some() && !self.has(Flaw::PauseIgnored)),
            max_running: Some(max_running.unwrap_or_default()),
        };
        self.store()?.change_queue(queue, change).await?;
        self.rules.insert(queue.to_owned(), rules);
        Ok(())
    }

    /// Whether the executor was known.
    pub(crate) async fn set_away(&mut self, executor: &str, away: bool) -> Step<bool> {
        let since = away.then(|| self.clock.now());
        match self.store()?.set_maintenance(executor, since).await {
            Ok(()) if away => self.away.insert(executor.to_owned()),
            Ok(()) => self.away.remove(executor),
            Err(StoreError::UnknownExecutor(_)) => return Ok(false),
            Err(fault) => return Err(fault.into()),
        };
        Ok(true)
    }

    pub(crate) async fn note_executor(&mut self, name: &str, queues: &[String]) -> Step {
        Ok(self.store()?.upsert_executor(name, queues, &Telemetry::default(), None).await?)
    }

    fn within_budgets(&self, id: JobId) -> Step {
        let (record, most) = (&self.seen[&id].record, super::RETRY);
        let within = record.resets <= most.max_resets
            && record.faults <= most.max_faults
            && record.failures <= most.max_failures.max(1);
        BUDGETS.check(within, || format!("job {id} was tried too often: {}", self.seen[&id]))
    }
}
