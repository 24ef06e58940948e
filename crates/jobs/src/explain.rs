//! Why a job waits.

mod obstacle;

pub use obstacle::{MOST_COUNTED, Obstacle};

use crate::Capacity;
use crate::needs::Needs;
use crate::state::State;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use wire::additions::TakesNone;

/// What is known of a job and of who might run it.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Where the job is.
    pub state: State,
    /// Its queue.
    pub queue: &'a str,
    /// What it needs.
    pub needs: &'a Needs,
    /// Whether it asks for what only newer servers know.
    pub is_for_newer: bool,
    /// It waits for this time.
    pub not_before: Option<Timestamp>,
    /// It waits for jobs with this concurrency key, of which so many may run at once.
    pub key: Option<(&'a str, u32)>,
    /// It waits for another try until then.
    pub retry_at: Option<Timestamp>,
    /// Who had it last.
    pub had_last: Option<&'a str>,
    /// How much longer it waits for that one: [`crate::RetryPolicy::same_executor_later`].
    pub same_executor_later: Duration,
    /// How often it failed by its own fault, and how often it may be tried again after that.
    pub own_failures: (u32, u32),
    /// Since when its queue is paused.
    pub paused_at: Option<Timestamp>,
    /// How many jobs of its queue run, and how many may.
    pub running: (u64, Option<u32>),
    /// Jobs of its queue that wait and can be given out, itself included.
    pub waiting: u64,
    /// Everybody who serves its queue.
    pub executors: &'a [Executor],
    /// When that was so.
    pub now: Timestamp,
}

/// An executor that serves the job's queue.
#[derive(Debug, Clone)]
pub struct Executor {
    /// Its name.
    pub name: String,
    /// Whether it was heard of lately.
    pub active: bool,
    /// Whether it is given no jobs.
    pub in_maintenance: bool,
    /// Why it asks for none, though it is there.
    pub takes_none: Option<TakesNone>,
    /// What it gives a job.
    pub capacity: Capacity,
    /// The version that it says it has, where it is given no jobs because of that.
    pub refused_version: Option<String>,
}

impl Executor {
    /// Whether it is given jobs that need this.
    fn takes(&self, needs: &Needs) -> bool {
        let is_given_jobs = self.active && !self.in_maintenance && self.refused_version.is_none();
        is_given_jobs && self.takes_none.is_none() && needs.unmet(&self.capacity).is_empty()
    }
}

/// What stands between a job and an executor, what has to go first before the rest; nothing for a job that does not wait.
pub fn obstacles(facts: &Facts<'_>) -> Vec<Obstacle> {
    if !matches!(facts.state, State::Queued | State::Errored) {
        return Vec::new();
    }
    let mut found = Vec::new();
    found.extend(facts.is_for_newer.then_some(Obstacle::NewerServer));
    found.extend(facts.not_before.map(Obstacle::NotBefore));
    found.extend(facts.key.map(|(key, limit)| Obstacle::Key(key.to_owned(), limit)));
    let retry_at = facts.retry_at.filter(|at| facts.state == State::Errored && *at > facts.now);
    let (used, of) = facts.own_failures;
    let retries = (used > 0 && of > 0).then_some((used, of));
    found.extend(retry_at.map(|at| Obstacle::Retry(at, retries)));
    found.extend(others_first(facts));
    found.extend(facts.paused_at.map(Obstacle::Paused));
    if let (running, Some(limit)) = facts.running
        && running >= u64::from(limit)
    {
        found.push(Obstacle::QueueLimit(limit));
    }
    found.extend(nobody_takes_it(facts));
    if found.is_empty() {
        found.push(Obstacle::Busy {
            waiting: facts.waiting.max(1),
            running: facts.running.0,
            executors: facts.executors.iter().filter(|executor| executor.takes(facts.needs)).count(),
        });
    }
    found
}

/// Others come before the executor that had it last, though there are none: it waits as long as for them.
fn others_first(facts: &Facts<'_>) -> Option<Obstacle> {
    let (retry_at, last) = (facts.retry_at?, facts.had_last?);
    let later = SignedDuration::try_from(facts.same_executor_later).unwrap_or(SignedDuration::MAX);
    let at = retry_at.saturating_add(later).unwrap_or(Timestamp::MAX);
    let waits = facts.state == State::Errored && facts.now < at;
    let mut takers = facts.executors.iter().filter(|executor| executor.takes(facts.needs)).peekable();
    let is_alone = takers.peek().is_some() && takers.all(|executor| executor.name == last);
    (waits && is_alone).then(|| Obstacle::RetryElsewhere(last.to_owned(), at))
}

/// Why no executor could take it, however much room there is.
fn nobody_takes_it(facts: &Facts<'_>) -> Option<Obstacle> {
    if facts.executors.is_empty() {
        return Some(Obstacle::NoExecutor);
    }
    let fits = |executor: &&Executor| facts.needs.unmet(&executor.capacity).is_empty();
    let fitting: Vec<&Executor> = facts.executors.iter().filter(fits).collect();
    if fitting.is_empty() {
        // Of those that are gone nobody wants to know what they lacked, while there are others.
        let (here, gone): (Vec<_>, Vec<_>) = facts.executors.iter().partition(|executor| executor.active);
        let asked = if here.is_empty() { gone } else { here };
        let lacks =
            asked.iter().map(|executor| (executor.name.clone(), facts.needs.unmet(&executor.capacity)));
        return Some(Obstacle::Unmet(lacks.collect()));
    }
    let names = |of: &[&Executor]| of.iter().map(|executor| executor.name.clone()).collect();
    let active: Vec<&Executor> = fitting.iter().copied().filter(|executor| executor.active).collect();
    if active.is_empty() {
        return Some(Obstacle::Silent(names(&fitting)));
    }
    let told: Vec<&Executor> =
        active.iter().copied().filter(|executor| executor.refused_version.is_none()).collect();
    if told.is_empty() {
        let said = |executor: &&Executor| Some((executor.name.clone(), executor.refused_version.clone()?));
        return Some(Obstacle::Versions(active.iter().filter_map(said).collect()));
    }
    let asked: Vec<&Executor> = told.iter().copied().filter(|executor| !executor.in_maintenance).collect();
    if asked.is_empty() {
        return Some(Obstacle::InMaintenance(names(&told)));
    }
    let why = |executor: &&Executor| Some((executor.name.clone(), executor.takes_none?));
    // All of them have one, or none is told.
    asked.iter().map(why).collect::<Option<_>>().map(Obstacle::TakeNone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::Isolation;

    const ALONE: Obstacle = Obstacle::Busy { waiting: 1, running: 0, executors: 1 };

    fn executor(name: &str) -> Executor {
        let capacity = Capacity { cpus: Some(2), ..Capacity::default() };
        Executor {
            name: name.to_owned(),
            active: true,
            in_maintenance: false,
            takes_none: None,
            capacity,
            refused_version: None,
        }
    }

    fn facts<'a>(needs: &'a Needs, executors: &'a [Executor]) -> Facts<'a> {
        Facts {
            state: State::Queued,
            queue: "batches",
            needs,
            is_for_newer: false,
            not_before: None,
            key: None,
            retry_at: None,
            had_last: None,
            same_executor_later: Duration::from_secs(10),
            own_failures: (0, 0),
            paused_at: None,
            running: (0, None),
            waiting: 1,
            executors,
            now: Timestamp::from_second(1_000).unwrap(),
        }
    }

    fn told(facts: &Facts<'_>) -> Vec<String> {
        obstacles(facts).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_this_server_does_not_know_waits_for_one_that_does() {
        let (needs, executors) = (Needs::default(), [executor("e1")]);
        let newer = Facts { is_for_newer: true, ..facts(&needs, &executors) };
        assert_eq!(obstacles(&newer), [Obstacle::NewerServer]);
    }

    #[test]
    fn a_job_that_could_run_waits_for_room() {
        let (needs, executors) = (Needs::default(), [executor("e1")]);
        let alone = facts(&needs, &executors);
        let next =
            "whichever has room next takes the next job, and when that is depends on the jobs that run";
        let one = "1 executor has what it needs";
        let first = format!("it is the only one of its queue that waits, none runs, and {one}: {next}");
        assert_eq!(told(&alone), [first]);
        let away = Executor { active: false, ..executor("e3") };
        let executors = [executor("e1"), executor("e2"), away];
        let many = Facts { waiting: 12, running: (3, None), executors: &executors, ..alone };
        let two = "2 executors have what it needs";
        assert_eq!(told(&many), [format!("12 jobs of its queue wait, 3 run, and {two}: {next}")]);
        let countless = Facts { waiting: 1_001, running: (1_001, None), ..many };
        let all = format!("more than 1000 jobs of its queue wait, more than 1000 run, and {two}: {next}");
        assert_eq!(told(&countless), [all]);
    }

    #[test]
    fn everything_that_holds_it_back_is_told() {
        let (needs, later) = (Needs::default(), Timestamp::from_second(2_000).unwrap());
        let all = Facts {
            not_before: Some(later),
            key: Some(("deploy", 1)),
            paused_at: Some(later),
            running: (3, Some(3)),
            ..facts(&needs, &[])
        };
        let codes: Vec<_> = obstacles(&all).iter().map(Obstacle::code).collect();
        assert_eq!(codes, ["not_before", "concurrency_limit", "queue_paused", "queue_limit", "no_executor"]);
        let below = Facts { running: (2, Some(3)), ..facts(&needs, &[]) };
        assert_eq!(obstacles(&below), [Obstacle::NoExecutor]);
    }

    #[test]
    fn versions_that_are_none_are_told_while_nobody_else_is_there() {
        let needs = Needs::default();
        let odd = Executor { refused_version: Some("built by hand".to_owned()), ..executor("e1") };
        let expected = "version skew: whoever has what it needs says a version that can't be read, as 6.1.0 can, and so is given no \
                        jobs: e1 (\"built by hand\")";
        assert_eq!(told(&facts(&needs, std::slice::from_ref(&odd))), [expected]);
        let resting = Executor { in_maintenance: true, ..executor("e2") };
        assert_eq!(obstacles(&facts(&needs, &[odd.clone(), resting]))[0].code(), "executors_in_maintenance");
        assert_eq!(obstacles(&facts(&needs, &[odd, executor("e3")])), [ALONE]);
    }

    #[test]
    fn a_pause_before_a_retry_is_told_until_it_is_over() {
        let (needs, executors) = (Needs::default(), [executor("e1")]);
        let at = |second| Facts {
            state: State::Errored,
            retry_at: Some(Timestamp::from_second(second).unwrap()),
            ..facts(&needs, &executors)
        };
        assert_eq!(obstacles(&at(1_005))[0].code(), "retry_pause");
        assert_eq!(told(&at(1_005)), ["it is tried again from 1970-01-01T00:16:45Z on"]);
        let own = Facts { own_failures: (1, 3), ..at(1_005) };
        let expected = "it is tried again from 1970-01-01T00:16:45Z on, and has used 1 of 3 retries for failures of its own";
        assert_eq!(told(&own), [expected]);
        assert_eq!(obstacles(&at(1_000)), [ALONE]);
        let last = |second| Facts { had_last: Some("e1"), ..at(second) };
        let first = "others come first, and no other that has what it needs takes jobs now: e1, which had it last, may have it from 1970-01-01T00:16:45Z on";
        assert_eq!(told(&last(995)), [first]);
        let codes: Vec<_> = obstacles(&last(1_005)).iter().map(Obstacle::code).collect();
        assert_eq!(codes, ["retry_pause", "retry_elsewhere"]);
        assert!(!obstacles(&last(995))[0].without_names().contains("e1"), "some may not know who there is");
        assert_eq!(obstacles(&last(990)), [ALONE]);
        let queued = Facts { state: State::Queued, ..last(995) };
        assert_eq!(obstacles(&queued), [ALONE], "it was taken back, and is anybody's");
        let others = [executor("e1"), executor("e2")];
        assert_eq!(obstacles(&Facts { executors: &others, ..last(995) })[0].code(), "executors_busy");
        let resting = [executor("e1"), Executor { in_maintenance: true, ..executor("e2") }];
        assert_eq!(obstacles(&Facts { executors: &resting, ..last(995) })[0].code(), "retry_elsewhere");
        let gone = [Executor { active: false, ..executor("e1") }];
        assert_eq!(obstacles(&Facts { executors: &gone, ..last(995) })[0].code(), "executors_silent");
        let running = Facts { state: State::Processing, ..facts(&needs, &[]) };
        assert_eq!(obstacles(&running), []);
    }

    #[test]
    fn whoever_takes_none_is_told_with_the_reason_while_nobody_else_is_there() {
        let needs = Needs::default();
        let leaves = Executor { takes_none: Some(TakesNone::Draining), ..executor("e1") };
        let full = Executor { takes_none: Some(TakesNone::DiskFloor), ..executor("e2") };
        let resting = Executor { in_maintenance: true, ..full.clone() };
        let both = [leaves.clone(), full.clone()];
        let expected = "whoever has what it needs takes no jobs for now: e1 is draining, e2 has less room on its disk than its floor";
        assert_eq!(told(&facts(&needs, &both)), [expected]);
        let unnamed = obstacles(&facts(&needs, &both))[0].without_names();
        assert_eq!(unnamed, "whoever has what it needs takes no jobs for now: 2 executors");
        let codes = |of: &[Executor]| obstacles(&facts(&needs, of))[0].code();
        assert_eq!(codes(&[leaves.clone(), resting.clone()]), "executors_take_none");
        assert_eq!(codes(&[resting]), "executors_in_maintenance");
        assert_eq!(codes(&[Executor { active: false, ..leaves.clone() }]), "executors_silent");
        assert_eq!(obstacles(&facts(&needs, &[leaves, full, executor("e3")])), [ALONE]);
    }

    #[test]
    fn who_could_run_it_and_does_not_is_named() {
        let needs = Needs { cpus: Some(4), isolation: Some(Isolation::Vm), ..Needs::default() };
        let gone = Executor { active: false, ..executor("gone") };
        assert_eq!(
            told(&facts(&needs, &[gone.clone(), executor("e1")])),
            [
                "no executor has what it needs: e1: it needs 4 CPUs of 2, it needs the isolation vm, which is not told"
            ]
        );
        let crowd: Vec<Executor> = (0..50).map(|n| executor(&format!("e{n}"))).collect();
        assert!(told(&facts(&needs, &crowd))[0].ends_with("which is not told; and 30 more"));
        let none = Needs::default();
        assert_eq!(
            told(&facts(&none, std::slice::from_ref(&gone))),
            ["whoever has what it needs was not heard of lately: gone"]
        );
        let away = Executor { in_maintenance: true, ..executor("away") };
        let odd = Executor { refused_version: Some("mine".to_owned()), ..executor("odd") };
        for (needs, of, expected) in [
            (&needs, &crowd[..], "no executor has what it needs, of 50 that serve its queue"),
            (
                &none,
                std::slice::from_ref(&gone),
                "whoever has what it needs was not heard of lately: 1 executor",
            ),
            (
                &none,
                &[away.clone(), away.clone()],
                "whoever has what it needs is in maintenance: 2 executors",
            ),
            (
                &none,
                std::slice::from_ref(&odd),
                "version skew: whoever has what it needs says a version that can't be read, and so is given no jobs: 1 executor",
            ),
            (&none, &[], "no executor serves its queue"),
        ] {
            let unnamed: Vec<_> = obstacles(&facts(needs, of)).iter().map(Obstacle::without_names).collect();
            assert_eq!(unnamed, [expected]);
        }
        assert_eq!(told(&facts(&none, &[gone, away])), ["whoever has what it needs is in maintenance: away"]);
    }
}
