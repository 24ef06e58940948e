//! What is checked of the whole: after every event that nobody shares a job, and in the end that everything came to one.

use crate::ground::{Ground, RETRY, Seen};
use crate::invariant::{COUNTS, ENDS, ONE_HOLDER, SUBMITTED_ONCE, Step};
use crate::plan::QUEUES;
use crate::world::World;
use jobs::explain::{Executor, Facts, Obstacle, obstacles};
use jobs::{Capacity, Clock, JobId, State};
use std::collections::BTreeMap;
use std::time::Duration;
use store::Hold;

/// How long after the last misfortune everything has ended that can: all pauses and leases, several times over, and as long
/// again as clocks may have been set back.
const ENDS_WITHIN: Duration = Duration::from_mins(40);
/// How long the last orders of operators may take.
const ORDERS_TAKE: Duration = Duration::from_secs(15);

impl World {
    /// No two executors run a job while each believes in its lease; nor at all, unless one stood still when its lease ended.
    pub(crate) fn one_holder(&self) -> Step {
        let mut holders = BTreeMap::<JobId, Vec<(&str, u32, bool, bool)>>::new();
        for host in &self.hosts {
            for (job, epoch, believes, excused) in host.at_work(self.now) {
                holders.entry(job).or_default().push((&host.name, epoch, believes, excused));
            }
        }
        for (job, holders) in holders {
            let believe = holders.iter().filter(|(.., believes, _)| *believes).count();
            let at_work = holders.iter().filter(|(.., excused)| !*excused).count();
            ONE_HOLDER.check(believe <= 1 && at_work <= 1, || {
                let told: Vec<String> = holders
                    .iter()
                    .map(|(name, epoch, believes, _)| {
                        format!("{name} in epoch {epoch} (its lease is over: {})", !believes)
                    })
                    .collect();
                format!("job {job} runs at the same time on {}", told.join(" and "))
            })?;
        }
        Ok(())
    }

    /// Whether all has come to an end, or to what it has to wait for; then everything is looked at once more.
    pub(crate) async fn is_done(&mut self) -> Step<bool> {
        let waits: Vec<JobId> =
            self.ground.seen.keys().copied().filter(|id| !self.has_come_to_an_end(*id)).collect();
        let late = self.now > self.plan.heals_at + ENDS_WITHIN;
        if late && let Some(id) = waits.first() {
            let (seen, why) = (&self.ground.seen[id], self.obstacles(*id));
            let why: Vec<String> = why.iter().map(ToString::to_string).collect();
            return Err(
                ENDS.broken(format!("job {id} is still {seen}; an explanation says: {}", why.join("; ")))
            );
        }
        let all_known = self.clients.acknowledged.len() == self.plan.submissions.len();
        ENDS.check(all_known || !late, || "a client still waits for an acknowledgement".to_owned())?;
        let last_orders = self.clients.last_orders_at.unwrap_or_default();
        let ordered = !self.plan.operators || self.now > last_orders + ORDERS_TAKE;
        let (is_up, asks) = (self.server.is_up(), self.agenda.has_requests());
        if !waits.is_empty() || !all_known || !ordered || !is_up || asks {
            // Else a schedule whose looks all come at such a moment would run on for ever.
            let much_too_late = self.now > self.plan.heals_at + 2 * ENDS_WITHIN;
            ENDS.check(!much_too_late, || {
                format!("it comes to no rest: the server is up: {is_up}; a request is on its way: {asks}; orders are through: {ordered}")
            })?;
            return Ok(false);
        }
        self.looks_back().await?;
        Ok(true)
    }

    async fn looks_back(&mut self) -> Step {
        for (submission, id) in &self.clients.acknowledged {
            SUBMITTED_ONCE.check(self.ground.submitted.get(submission) == Some(id), || {
                format!("submission {submission} was acknowledged as job {id}")
            })?;
            let asked = &self.plan.submissions[*submission].job.spec;
            self.ground.asks_for(*id, &asked.steps[0].run).await?;
        }
        let (jobs, submissions) = (self.ground.seen.len(), self.ground.submitted.len());
        SUBMITTED_ONCE
            .check(jobs == submissions, || format!("{submissions} submissions made {jobs} jobs"))?;
        for id in &self.clients.canceled {
            self.ground.is_canceled(*id)?;
        }
        for (id, epoch, text) in &self.ended_logs {
            self.ground.log_is(*id, *epoch, text).await?;
        }
        for queue in QUEUES {
            self.ground.counts(queue).await?;
        }
        Ok(())
    }

    /// It has ended, or waits for what goes on by itself no more.
    fn has_come_to_an_end(&self, id: JobId) -> bool {
        let seen = &self.ground.seen[&id];
        seen.record.state.is_terminal()
            || self.is_blocked(id)
            || (seen.hold == Some(Hold::Key) && self.is_behind(id))
    }

    /// An operator holds it back, or nobody has what it needs.
    fn is_blocked(&self, id: JobId) -> bool {
        let blocks = |obstacle: &Obstacle| matches!(obstacle, Obstacle::Paused(_) | Obstacle::Unmet(_));
        self.obstacles(id).iter().any(blocks)
    }

    /// One with its key is blocked.
    fn is_behind(&self, id: JobId) -> bool {
        let kept = &self.ground.kept[&id];
        let shares = |other: &JobId| {
            let theirs = &self.ground.kept[other];
            *other != id && theirs.owner == kept.owner && theirs.key == kept.key
        };
        self.ground.seen.keys().any(|other| {
            let unfinished = !self.ground.seen[other].record.state.is_terminal();
            shares(other) && unfinished && self.is_blocked(*other)
        })
    }

    /// What an explanation names.
    fn obstacles(&self, id: JobId) -> Vec<Obstacle> {
        let (seen, kept) = (&self.ground.seen[&id], &self.ground.kept[&id]);
        let rules = self.ground.rules.get(&seen.queue).copied().unwrap_or_default();
        let of_queue = |state| move |other: &&Seen| other.queue == seen.queue && other.record.state == state;
        let count = |state| self.ground.seen.values().filter(of_queue(state)).count() as u64;
        let executor = |(name, capacity): (&String, &Capacity)| Executor {
            name: name.clone(),
            active: true,
            in_maintenance: self.ground.away.contains(name),
            capacity: capacity.clone(),
            takes_none: None,
            refused_version: None,
        };
        let executors: Vec<Executor> = self.capacities.iter().map(executor).collect();
        obstacles(&Facts {
            is_for_newer: false,
            state: seen.record.state,
            queue: &seen.queue,
            needs: &kept.needs,
            not_before: kept.not_before.filter(|_| matches!(seen.hold, Some(Hold::Until(_)))),
            key: kept
                .key
                .as_ref()
                .filter(|_| seen.hold == Some(Hold::Key))
                .map(|key| (key.key.as_str(), key.limit)),
            retry_at: seen.retry_at,
            had_last: seen.record.executor.as_deref(),
            same_executor_later: RETRY.same_executor_later,
            own_failures: (0, 0),
            paused_at: rules.paused_at,
            running: (count(State::Processing), rules.max_running),
            waiting: count(State::Queued),
            executors: &executors,
            now: self.ground.clock.now(),
        })
    }
}

impl Ground {
    /// Checks that a queue counts right.
    async fn counts(&self, queue: &str) -> Step {
        let row = self.queue(queue).await?;
        let count = |which: &dyn Fn(&Seen) -> bool| {
            self.seen.values().filter(|seen| seen.queue == queue && which(seen)).count() as u64
        };
        let in_state = |state| count(&|seen| seen.record.state == state);
        let held = count(&|seen| seen.record.state == State::Queued && seen.hold.is_some());
        let counted = [in_state(State::Queued), held, in_state(State::Processing), in_state(State::Errored)];
        let told = [row.queued, row.held, row.running, row.errored];
        COUNTS.check(told == counted, || {
            format!("{queue} says {told:?} of what is queued, held, running, errored: {counted:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ENDS, ENDS_WITHIN};
    use crate::event::{Doom, Event, Misfortune};
    use crate::{Faults, Options, Simulator};
    use std::collections::BTreeSet;
    use std::time::Duration;

    /// Nobody waits for its server, which alone keeps it from being looked back at.
    #[test]
    fn a_schedule_that_never_comes_to_rest_breaks_a_rule() {
        let simulator = Simulator::new().unwrap();
        let options = Options { jobs: 0, faults: Faults(BTreeSet::new()), ..Options::new(1) };
        simulator.runtime.block_on(async {
            let mut world = simulator.world(&options).await.unwrap();
            let dies = Misfortune::ServerDies(Doom::Now, Duration::from_hours(24));
            world.agenda.plan(Duration::from_secs(10), Event::Misfortune(dies));
            let broken = world.run().await.unwrap_err();
            world.ground.close().await;
            assert_eq!(broken.invariant.name, ENDS.name, "{}", broken.detail);
            assert!(broken.detail.contains("the server is up: false"), "{}", broken.detail);
            let at_most = world.plan.heals_at + 2 * ENDS_WITHIN + Duration::from_mins(1);
            assert!(world.now < at_most, "{:?}", world.now);
        });
    }
}
