//! Schedules of the real queue, and flaws that they find.

use sim::{Fault, Flaw, Options, Simulator, invariant};
use std::time::Instant;

/// Schedules that every test run tries.
const USUAL: u64 = 500;
/// Schedules within which each flaw has to be found.
const ENOUGH: u64 = 300;
/// The last lines that are shown of a schedule.
const LAST: usize = 60;

#[test]
fn no_schedule_breaks_a_rule() {
    let simulator = Simulator::new().unwrap();
    let begun = Instant::now();
    let mut events = 0;
    for seed in 0..USUAL {
        let outcome = simulator.run(&Options::new(seed));
        events += outcome.events;
        if let Some(broken) = outcome.broken {
            let shown = outcome.timeline.len().saturating_sub(LAST);
            panic!("seed {seed}: {broken:?}\n{}", outcome.timeline[shown..].join("\n"));
        }
    }
    println!("{USUAL} schedules, {events} events, {:.1?}", begun.elapsed());
}

#[test]
fn a_seed_repeats_its_schedule_byte_for_byte() {
    let (one, other) = (Simulator::new().unwrap(), Simulator::new().unwrap());
    for seed in [1, 2, 3, 4, 5, 6, 7, 8] {
        let (first, second) = (one.run(&Options::new(seed)), other.run(&Options::new(seed)));
        assert_eq!(first.timeline, second.timeline, "seed {seed}");
        assert_eq!((first.events, first.lasted, first.broken), (second.events, second.lasted, second.broken));
    }
}

/// What can go wrong, what must hold and what can be planted is told where people look for it.
#[test]
fn the_documentation_names_everything() {
    let told = include_str!("../../../docs/simulator.md");
    let faults = Fault::ALL.iter().map(|(_, name)| *name);
    let rules = invariant::ALL.iter().map(|rule| rule.name);
    let flaws = Flaw::ALL.iter().map(|(_, name)| *name);
    let missing: Vec<_> =
        faults.chain(rules).chain(flaws).filter(|name| !told.contains(&format!("| `{name}` |"))).collect();
    assert!(missing.is_empty(), "docs/simulator.md does not tell of {missing:?}");
}

#[test]
fn every_flaw_is_found() {
    let simulator = Simulator::new().unwrap();
    let mut missed = Vec::new();
    for (flaw, name) in Flaw::ALL {
        let found = (0..ENOUGH).find_map(|seed| {
            let outcome = simulator.run(&Options { flaw: Some(flaw), ..Options::new(seed) });
            outcome.broken.map(|broken| (seed, broken))
        });
        match found {
            Some((seed, broken)) => {
                println!("{name}: seed {seed}, {}: {}", broken.invariant.name, broken.detail);
            }
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not found within {ENOUGH} schedules: {missed:?}");
}
