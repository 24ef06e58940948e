//! Claims: who gets which job.

use super::{Ground, Kept, Seen};
use crate::flaw::Flaw;
use crate::invariant::{BUDGETS, CANCELED, CLOSED, CURRENT_EPOCH, LIMITS, ORDER, Step};
use jiff::{SignedDuration, Timestamp};
use jobs::{Capacity, Clock, Event, JobId, State, transition};
use store::{Asking, Claimed, Store};

impl Ground {
    /// Claims one job for who asks, and checks that it is the one.
    pub(crate) async fn claim(&mut self, asking: &Asking) -> Step<Option<Claimed>> {
        let expected = self.next_for(asking);
        let mut claimed = self.claim_by_store(asking).await?;
        CURRENT_EPOCH.check(claimed.len() <= 1, || format!("{} jobs instead of one", claimed.len()))?;
        let claimed = claimed.pop();
        let Some(claimed) = claimed else {
            let told = |id| {
                format!("{} got nothing, and could have had job {id}: {}", asking.executor, self.seen[&id])
            };
            return expected.map_or(Ok(None), |id| Err(ORDER.broken(told(id))));
        };
        let (id, executor, now) = (claimed.job.id, &asking.executor, self.clock.now());
        self.heard.insert(id, now);
        let changed = self.look().await?;
        let before = changed.get(&id).cloned().flatten();
        let before = before.ok_or_else(|| CURRENT_EPOCH.broken(format!("job {id} came from nowhere")))?;
        self.may_be_given(id, &before, asking, now)?;
        ORDER.check(expected == Some(id), || {
            let next = expected.map_or("none".to_owned(), |id| format!("job {id}"));
            format!("{executor} got job {id}, and {next} was next")
        })?;
        let event = Event::Claim { executor: executor.clone() };
        self.changed_by(&[(id, event)], changed, "a claim")?;
        self.turns.took(&self.kept[&id].owner);
        Ok(Some(claimed))
    }

    async fn claim_by_store(&mut self, asking: &Asking) -> Step<Vec<Claimed>> {
        let store = self.store()?;
        let mut asking = asking.clone();
        if self.has(Flaw::NeedsIgnored) {
            asking.capacity.labels.insert(crate::plan::LABEL.to_owned());
        }
        if self.has(Flaw::OrderIgnored) {
            asking.most = 2;
        }
        let mut claimed = store.claim(&asking).await?;
        if claimed.len() > 1 {
            let first = claimed.remove(0);
            let executor = asking.executor.clone();
            let lease = jobs::Lease { epoch: first.job.record.epoch, executor };
            store.release(first.job.id, &lease).await?;
        }
        Ok(claimed)
    }

    /// Whether anybody may be given this job, and this executor.
    fn may_be_given(&self, id: JobId, before: &Seen, asking: &Asking, now: Timestamp) -> Step {
        let (kept, executor, queue) = (&self.kept[&id], &asking.executor, &before.queue);
        CANCELED
            .check(!before.record.cancel_requested(), || format!("job {id} was to be cancelled: {before}"))?;
        CLOSED.check(!self.is_closed(queue, executor), || format!("{executor} got job {id} of {queue}"))?;
        LIMITS.check(self.has_room(queue, id), || format!("queue {queue} has no room for job {id}"))?;
        LIMITS.check(self.key_has_room(kept, id), || {
            format!("too many jobs run beside job {id} with its key {:?}", kept.key)
        })?;
        LIMITS.check(before.hold.is_none(), || format!("job {id} was held: {before}"))?;
        ORDER.check(kept.needs.unmet(&asking.capacity).is_empty(), || {
            format!("{executor} got job {id}, and has not what that needs")
        })?;
        BUDGETS.check(is_due(before, executor, now), || format!("job {id} was still to wait: {before}"))
    }

    /// The job that is next of those that can be claimed: owners take turns, and of an owner's the lowest rank is first.
    fn next_for(&self, asking: &Asking) -> Option<JobId> {
        let now = self.clock.now();
        let can = |(id, seen): &(&JobId, &Seen)| {
            asking.queues.contains(&seen.queue)
                && matches!(seen.record.state, State::Queued | State::Errored)
                && (seen.record.state == State::Errored || seen.hold.is_none())
                && is_due(seen, &asking.executor, now)
                && !self.is_closed(&seen.queue, &asking.executor)
                && self.has_room(&seen.queue, **id)
                && fits(&self.kept[*id], &asking.capacity)
        };
        let first = self.seen.iter().filter(can).map(|(id, _)| *id);
        first.min_by_key(|id| (self.turns.of(&self.kept[id].owner), self.kept[id].rank, id.0))
    }

    fn is_closed(&self, queue: &str, executor: &str) -> bool {
        self.away.contains(executor) || self.rules.get(queue).is_some_and(|rules| rules.paused_at.is_some())
    }

    /// Whether fewer jobs of `queue` run than may, this one aside.
    fn has_room(&self, queue: &str, but: JobId) -> bool {
        let Some(most) = self.rules.get(queue).and_then(|rules| rules.max_running) else { return true };
        let runs = |(id, seen): &(&JobId, &Seen)| {
            **id != but && seen.queue == queue && seen.record.state == State::Processing
        };
        (self.seen.iter().filter(runs).count() as u32) < most
    }

    fn key_has_room(&self, kept: &Kept, but: JobId) -> bool {
        let Some(key) = &kept.key else { return true };
        let runs = |(id, seen): &(&JobId, &Seen)| {
            let other = &self.kept[*id];
            **id != but
                && seen.record.state == State::Processing
                && other.owner == kept.owner
                && other.key.as_ref().is_some_and(|other| other.key == key.key)
        };
        (self.seen.iter().filter(runs).count() as u32) < key.limit
    }

    /// Whether each of these events, and nothing else, happened: `changed` is what jobs were before. Who waits for a key
    /// may have been let go.
    pub(super) fn changed_by(
        &self,
        events: &[(JobId, Event)],
        changed: std::collections::BTreeMap<JobId, Option<Seen>>,
        what: &str,
    ) -> Step {
        for (id, before) in changed {
            let now = &self.seen[&id];
            let Some(before) = before else {
                return Err(CURRENT_EPOCH.broken(format!("{what} made job {id}")));
            };
            let Some((_, event)) = events.iter().find(|(of, _)| *of == id) else {
                let let_go = Seen { hold: now.hold, ..before.clone() };
                CURRENT_EPOCH.check(let_go == *now, || {
                    format!("{what} changed job {id}, which it was not about, from {before} to {now}")
                })?;
                continue;
            };
            let outcome = transition(&before.record, event.clone(), super::RETRY);
            let record = outcome.as_ref().ok().map(|outcome| &outcome.record);
            CURRENT_EPOCH.check(record == Some(&now.record), || {
                format!("{what} ({event:?}) made job {id} of {before} {now}; it should be {record:?}")
            })?;
        }
        Ok(())
    }
}

fn fits(kept: &Kept, capacity: &Capacity) -> bool {
    kept.needs.unmet(capacity).is_empty()
}

/// Whether its pause is over, if it has one.
fn is_due(seen: &Seen, executor: &str, now: Timestamp) -> bool {
    let later = SignedDuration::try_from(super::RETRY.same_executor_later).unwrap_or_default();
    let own = seen.record.executor.as_deref() == Some(executor);
    let Some(retry_at) = seen.retry_at.filter(|_| seen.record.state == State::Errored) else { return true };
    let from = if own { retry_at.saturating_add(later).unwrap_or(Timestamp::MAX) } else { retry_at };
    from <= now
}
