//! How a schedule is: who there is, what they do, and what goes wrong when. Each schedule has some of the faults that it
//! may have, so that each is also seen beside few others.

use crate::clock;
use crate::event::{Doom, Misfortune, Party};
use crate::faults::{Fault, Faults};
use crate::rng::Rng;
use jobs::{Concurrency, JobSpec, Needs, StepSpec};
use std::collections::BTreeSet;
use std::time::Duration;
use store::NewJob;

/// The queues.
pub(crate) const QUEUES: [&str; 2] = ["batches", "codeintel"];
const OWNERS: [&str; 3] = ["ann", "bob", "cyd"];
/// A label that some executors have.
pub(crate) const LABEL: &str = "gpu";
/// A label that no executor has.
const NOWHERE: &str = "quantum";
/// Leases that a server is started with, in seconds: the usual one, the shortest, and some between.
const LEASES: [u64; 6] = [90, 10, 25, 3, 5, 3];
/// By how many microseconds a clock is corrected: short leases bear less of that than others.
const LITTLE: (u64, u64) = (300_000, 1_000_000);
/// For how long things go wrong, in milliseconds.
const WINDOW: (u64, u64) = (30_000, 110_000);

/// What a schedule draws its chances from.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Nothing goes wrong from then on.
    pub(crate) heals_at: Duration,
    pub(crate) lease: Duration,
    /// Of a thousand requests or answers, how many get lost, come twice, take long.
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    pub(crate) slow: u64,
    /// How far the executors' clocks are off, in millionths at most.
    pub(crate) drift: u64,
    pub(crate) operators: bool,
    pub(crate) misfortunes: Vec<(Duration, Misfortune)>,
    pub(crate) submissions: Vec<Submission>,
}

/// A job that a client submits.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    pub(crate) at: Duration,
    pub(crate) job: NewJob,
    /// It is to be cancelled so long after its submission was acknowledged.
    pub(crate) canceled_after: Option<Duration>,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng, faults: &Faults, executors: usize, jobs: usize) -> Self {
        let window = rng.millis(WINDOW.0, WINDOW.1);
        let mut has = |fault| faults.0.contains(&fault) && rng.chance(550);
        let on: BTreeSet<Fault> =
            Fault::ALL.into_iter().map(|(fault, _)| fault).filter(|fault| has(*fault)).collect();
        let mut often = |fault, most| if on.contains(&fault) { rng.within(10, most) } else { 0 };
        let (lost, twice, slow) =
            (often(Fault::Loss, 200), often(Fault::Duplicates, 150), often(Fault::Delays, 150));
        let drift = if on.contains(&Fault::Drift) { 10_000 } else { 0 };
        let misfortunes = Misfortunes { rng, window, executors, drawn: Vec::new() }.draw(&on);
        let submissions = (0..jobs).map(|number| submission(rng, number, window)).collect();
        Self {
            heals_at: window,
            lease: Duration::from_secs(*rng.pick(&LEASES)),
            lost,
            twice,
            slow,
            drift,
            operators: on.contains(&Fault::Operators),
            misfortunes,
            submissions,
        }
    }
}

struct Misfortunes<'a> {
    rng: &'a mut Rng,
    window: Duration,
    executors: usize,
    drawn: Vec<(Duration, Misfortune)>,
}

impl Misfortunes<'_> {
    fn draw(mut self, on: &BTreeSet<Fault>) -> Vec<(Duration, Misfortune)> {
        for fault in on {
            match fault {
                Fault::Partitions => self.some(3, |rng, host| {
                    let party = if rng.chance(850) { Party::Host(host) } else { Party::Client };
                    Misfortune::Partition(party, rng.millis(1_000, 120_000))
                }),
                Fault::Agents => self.some(4, |rng, host| match rng.below(4) {
                    0 => Misfortune::AgentStops(host),
                    _ => Misfortune::AgentDies(host),
                }),
                Fault::Supervisors => self.some(3, |_, host| Misfortune::SupervisorDies(host)),
                Fault::Hosts => self.some(2, |_, host| Misfortune::HostDies(host)),
                Fault::Pauses => {
                    self.some(3, |rng, host| Misfortune::HostFreezes(host, rng.millis(1_000, 180_000)));
                }
                Fault::Servers => {
                    self.some(4, |rng, _| {
                        let doom = *rng.pick(&[Doom::Now, Doom::BeforeCommit, Doom::AfterCommit]);
                        Misfortune::ServerDies(doom, rng.millis(100, 60_000))
                    });
                    if self.rng.chance(300) {
                        self.some(1, |rng, _| {
                            let lease = Duration::from_secs(*rng.pick(&LEASES));
                            Misfortune::LeaseChanges(lease, rng.millis(100, 5_000))
                        });
                    }
                }
                Fault::Stills => {
                    self.some(2, |rng, _| Misfortune::ServerStandsStill(rng.millis(500, 100_000)));
                }
                Fault::Clock => self.some(6, |rng, _| Misfortune::ClockSet(set_by(rng))),
                Fault::Loss | Fault::Duplicates | Fault::Delays | Fault::Drift | Fault::Operators => {}
            }
        }
        if on.contains(&Fault::Clock) {
            self.set_clocks_while_away();
            if self.rng.chance(700) {
                self.correct_clocks();
            }
        }
        self.drawn
    }

    /// A server whose host starts again may find another time there.
    fn set_clocks_while_away(&mut self) {
        let mut set = Vec::new();
        for (at, misfortune) in &self.drawn {
            if let Misfortune::ServerDies(_, away) = misfortune
                && self.rng.chance(400)
            {
                set.push((*at + *away / 2, Misfortune::ClockSet(set_by(self.rng))));
            }
        }
        self.drawn.extend(set);
    }

    /// Two that disagree by a little set the clock in turn, forward and back. That is hard on short leases, and harder when
    /// they become longer.
    fn correct_clocks(&mut self) {
        let anew = self
            .drawn
            .iter()
            .find_map(|(at, misfortune)| matches!(misfortune, Misfortune::LeaseChanges(..)).then_some(*at));
        let mut at = anew.unwrap_or_else(|| self.rng.millis(0, self.window.as_millis() as u64));
        let apart = self.rng.within(LITTLE.0, LITTLE.1) as i64;
        let first = self.rng.below(2);
        for number in first..first + self.rng.within(8, 40) {
            let by = if number % 2 == 0 { apart } else { -apart };
            self.drawn.push((at, Misfortune::ClockSet(by)));
            at += self.rng.millis(100, 4_000);
        }
    }

    /// Draws from one to `most`.
    fn some(&mut self, most: u64, mut draw: impl FnMut(&mut Rng, usize) -> Misfortune) {
        for _ in 0..self.rng.within(1, most) {
            let at = self.rng.millis(0, self.window.as_millis() as u64);
            let host = self.rng.below(self.executors as u64) as usize;
            self.drawn.push((at, draw(self.rng, host)));
        }
    }
}

/// By how many microseconds a clock is set: by a little, which nobody may notice, by what only short leases can't bear, or
/// by much.
fn set_by(rng: &mut Rng) -> i64 {
    let micros = match rng.below(10) {
        0..3 => rng.within(1, 4_999_999),
        3..6 => rng.within(LITTLE.0, LITTLE.1),
        _ => rng.within(5_000_000, 180_000_000),
    };
    let micros = micros as i64;
    if rng.chance(600) { micros } else { -micros }
}

fn submission(rng: &mut Rng, number: usize, window: Duration) -> Submission {
    let step = StepSpec { image: "alpine:3".to_owned(), run: format!("job {number}"), ..StepSpec::default() };
    let mut needs = Needs::default();
    if rng.chance(250) {
        needs.labels.insert(if rng.chance(900) { LABEL } else { NOWHERE }.to_owned());
    }
    let owner = (*rng.pick(&OWNERS)).to_owned();
    let concurrency = rng.chance(350).then(|| {
        let limit = rng.within(1, 2) as u32;
        Concurrency { key: format!("key-{limit}"), limit }
    });
    // Most come early, so that some have to wait for others.
    let latest = if rng.chance(700) { 5_000 } else { window.as_millis() as u64 * 3 / 4 };
    let at = rng.millis(0, latest);
    let spec = JobSpec {
        not_before: rng.chance(150).then(|| clock::moment(at + rng.millis(500, 60_000))),
        queue: (*rng.pick(&QUEUES)).to_owned(),
        steps: vec![step],
        priority: *rng.pick(&[0, 0, 0, -1, 1, 5, 10]),
        concurrency,
        needs,
        ..JobSpec::default()
    };
    let idempotency_key = Some(format!("submission-{number}"));
    Submission {
        at,
        job: NewJob { spec, commit: String::new(), owner, idempotency_key },
        canceled_after: rng.chance(200).then(|| rng.millis(0, 60_000)),
    }
}
