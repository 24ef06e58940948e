//! Two agents of one name at two places, which die and are started again, in front of a control plane that hears their
//! words late, twice, in any order or not at all.

use super::*;
use proptest::prelude::*;
use proptest::sample::Index;

const EXECUTOR: &str = "executor-1";

fn claim(job: i64, place: &str, number: u64, dequeue: u64) -> OpenClaim {
    let lease = Lease { epoch: 1, executor: EXECUTOR.to_owned() };
    OpenClaim { job: JobId(job), lease, start: start(place, number), dequeue }
}

fn start(place: &str, number: u64) -> Start {
    Start { place: place.to_owned(), number }
}

fn word(place: &str, number: u64, settled: bool, lost: &[u64]) -> Word {
    Word { start: start(place, number), settled, lost: lost.to_vec() }
}

fn jobs_of(void: Vec<Void>) -> Vec<i64> {
    let job = |void: Void| match void {
        Void::Undelivered(claim) | Void::Dead(claim) => claim.job.0,
    };
    void.into_iter().map(job).collect()
}

#[test]
fn only_a_later_start_at_the_same_place_closes_a_claim_and_only_once() {
    let mut claims = OpenClaims::default();
    claims.note(claim(1, "a", 5, 0));
    let mut heard = |word: Word| jobs_of(claims.heard(EXECUTOR, &[], Some(&word)));
    assert!(heard(word("a", 5, true, &[1])).is_empty(), "it may be on its way");
    assert!(heard(word("a", 4, true, &[0])).is_empty(), "the last words of an earlier one");
    assert!(heard(word("b", 9, true, &[0])).is_empty(), "of another host");
    assert!(heard(word("a", 6, false, &[0])).is_empty(), "a sandbox may be left");
    assert_eq!(heard(word("a", 6, true, &[])), [1]);
    assert!(heard(word("a", 6, true, &[])).is_empty());
}

#[test]
fn a_lost_answer_is_its_own_start_s_to_tell() {
    let mut claims = OpenClaims::default();
    (0..3).for_each(|n| claims.note(claim(n, "a", 5, n as u64)));
    let void = claims.heard(EXECUTOR, &[JobId(2)], Some(&word("a", 5, false, &[1, 2])));
    assert_eq!(void, [Void::Undelivered(claim(1, "a", 5, 1))], "who names a job has it");
    assert!(claims.heard("another", &[], Some(&word("a", 6, true, &[]))).is_empty());
    assert_eq!(jobs_of(claims.heard(EXECUTOR, &[], Some(&word("a", 6, true, &[])))), [0]);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut claims = OpenClaims::default();
    (0..MOST_OF_ONE as i64 + 3).for_each(|n| claims.note(claim(n, "a", 1, n as u64)));
    let void = claims.heard(EXECUTOR, &[], Some(&word("a", 2, true, &[])));
    assert_eq!((void.len(), jobs_of(void)[0]), (MOST_OF_ONE, 3));
    for n in 0..MOST_EXECUTORS + 3 {
        let lease = Lease { epoch: 1, executor: n.to_string() };
        claims.note(OpenClaim { lease, ..claim(1, "a", 1, 0) });
    }
    assert_eq!(claims.by_executor.len(), MOST_EXECUTORS);
}

/// Where a job that was claimed really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whereabouts {
    /// The answer is under way.
    UnderWay,
    /// In the agent's memory; it is named.
    Taken,
    /// Its agent died, and it lies where a spare supervisor may find it.
    Buffered,
    /// Under a supervisor.
    Runs,
    /// Nothing of it is anywhere, nor will be.
    Nowhere,
}

#[derive(Default)]
struct Place {
    number: u64,
    lives: bool,
    settled: bool,
    dequeues: u64,
    lost: Vec<u64>,
}

#[derive(Default)]
struct World {
    claims: OpenClaims,
    places: [Place; 2],
    /// By number of the job.
    truth: Vec<(OpenClaim, Whereabouts)>,
    said: Vec<(Vec<JobId>, Word)>,
}

const NAMES: [&str; 2] = ["a", "b"];

impl World {
    /// Moves a job of `place` that is `from`: of its latest start, unless it runs.
    fn change(&mut self, place: usize, at: Index, from: Whereabouts, to: Whereabouts) -> Option<OpenClaim> {
        let number = self.places[place].number;
        let fits = |(claim, is): &&mut (OpenClaim, Whereabouts)| {
            let of_start = claim.start.number == number || from == Whereabouts::Runs;
            *is == from && claim.start.place == NAMES[place] && of_start
        };
        let mut candidates: Vec<_> = self.truth.iter_mut().filter(fits).collect();
        let count = candidates.len();
        let (claim, is) = candidates.get_mut(at.index(count.max(1)))?;
        *is = to;
        Some(claim.clone())
    }

    fn act(&mut self, what: u8, place: usize, at: Index) {
        use Whereabouts::{Buffered, Nowhere, Runs, Taken, UnderWay};
        let lives = self.places[place].lives;
        match what {
            // A dequeue of a start that lives, or was held for one that died.
            0..=2 => {
                let of = &mut self.places[place];
                let dequeue = of.dequeues;
                of.dequeues += 1;
                let claim = claim(self.truth.len() as i64, NAMES[place], of.number, dequeue);
                self.claims.note(claim.clone());
                self.truth.push((claim, if lives { UnderWay } else { Nowhere }));
            }
            3 if lives => drop(self.change(place, at, UnderWay, Taken)),
            4 if lives => {
                if let Some(claim) = self.change(place, at, UnderWay, Nowhere) {
                    self.places[place].lost.push(claim.dequeue);
                }
            }
            5 if lives => drop(self.change(place, at, Taken, Runs)),
            6 => drop(self.change(place, at, Runs, Nowhere)),
            7 if lives => {
                self.places[place].lives = false;
                let number = self.places[place].number;
                for (claim, is) in &mut self.truth {
                    if claim.start == start(NAMES[place], number) {
                        *is = match *is {
                            UnderWay => Nowhere,
                            Taken => Buffered,
                            other => other,
                        };
                    }
                }
            }
            8 if !lives => {
                let of = &mut self.places[place];
                *of = Place { number: of.number + 1, lives: true, ..Place::default() };
            }
            // Every spare has found its job by now, or never will.
            9 if lives && !self.places[place].settled => {
                self.places[place].settled = true;
                for (n, (claim, is)) in self.truth.iter_mut().enumerate() {
                    if claim.start.place == NAMES[place] && *is == Buffered {
                        *is = if at.index(n + 2).is_multiple_of(2) { Runs } else { Nowhere };
                    }
                }
            }
            10..=12 if lives => {
                let of = &self.places[place];
                let ours = |(claim, is): &&(OpenClaim, Whereabouts)| {
                    claim.start.place == NAMES[place] && matches!(is, Taken | Runs)
                };
                let named = self.truth.iter().filter(ours).map(|(claim, _)| claim.job).collect();
                self.said.push((named, word(NAMES[place], of.number, of.settled, &of.lost)));
            }
            13.. if !self.said.is_empty() => {
                let (named, word) = self.said[at.index(self.said.len())].clone();
                for job in jobs_of(self.claims.heard(EXECUTOR, &named, Some(&word))) {
                    let is = self.truth[usize::try_from(job).unwrap()].1;
                    assert_eq!(is, Nowhere, "job {job} is given away after {word:?}");
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_job_is_given_away_that_runs_or_may_begin(
        acts in prop::collection::vec((0_u8..18, 0_usize..2, any::<Index>()), 0..120)
    ) {
        let mut world = World::default();
        for (what, place, at) in acts {
            world.act(what, place, at);
        }
    }
}
