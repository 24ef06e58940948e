//! `executor sim`.

use super::print;
use crate::args::SimArgs;
use crate::exit::{Exit, Failure, Outcome};
use serde::Serialize;
use sim::{Options, Simulator};
use std::io::Write;
use std::time::{Duration, Instant};

/// The last lines that are printed of a schedule that broke a rule.
const LAST: usize = 80;
/// How often it is told how far we are.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What came of all schedules.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    first_seed: u64,
    /// Schedules that were run; the last one is the broken one, if there is one.
    schedules: u64,
    events: u64,
    virtual_seconds: f64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<Broken>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    timeline: Vec<String>,
}

#[derive(Serialize)]
struct Broken {
    seed: u64,
    invariant: &'static str,
    says: &'static str,
    detail: String,
}

/// Runs schedules until one breaks a rule, or all have been run.
pub(crate) fn run(args: &SimArgs) -> Outcome {
    let simulator = Simulator::new().map_err(|fault| Failure::chain(Exit::System, &fault))?;
    let report = schedules(&simulator, args);
    let exit = if report.broken.is_some() { Exit::Failed } else { Exit::Success };
    if args.json {
        print::json(&report)?;
    } else {
        tell(&report)?;
    }
    Ok(exit)
}

fn schedules(simulator: &Simulator, args: &SimArgs) -> Report {
    let (begun, mut told) = (Instant::now(), Instant::now());
    let mut report = Report {
        first_seed: args.seed,
        schedules: 0,
        events: 0,
        virtual_seconds: 0.0,
        seconds: 0.0,
        broken: None,
        timeline: Vec::new(),
    };
    for seed in (args.seed..).take(args.schedules as usize) {
        let outcome = simulator.run(&Options {
            seed,
            executors: args.executors.into(),
            jobs: args.jobs.into(),
            faults: args.faults.clone(),
            flaw: args.plant,
        });
        report.schedules += 1;
        report.events += outcome.events;
        report.virtual_seconds += outcome.lasted.as_secs_f64();
        let lines = outcome.timeline;
        if let Some(broken) = outcome.broken {
            let (invariant, says) = (broken.invariant.name, broken.invariant.says);
            report.broken = Some(Broken { seed, invariant, says, detail: broken.detail });
            let skipped = if args.timeline { 0 } else { lines.len().saturating_sub(LAST) };
            report.timeline = lines.into_iter().skip(skipped).collect();
            break;
        }
        if args.timeline {
            report.timeline = lines;
        }
        if told.elapsed() > TELL_EVERY {
            told = Instant::now();
            let (done, all) = (report.schedules, args.schedules);
            // Nobody may be there to read it.
            let _ = writeln!(std::io::stderr(), "{done} of {all} schedules, and no rule was broken");
        }
    }
    report.seconds = begun.elapsed().as_secs_f64();
    report
}

fn tell(report: &Report) -> Result<(), Failure> {
    for line in &report.timeline {
        print::line(line)?;
    }
    let Report { schedules, events, virtual_seconds, seconds, .. } = report;
    match &report.broken {
        Some(Broken { seed, invariant, says, detail }) => {
            print::line(&format!("seed {seed} breaks {invariant}: {says}"))?;
            print::line(&format!("  {detail}"))?;
            print::line(&format!(
                "  after {schedules} schedules; --seed {seed} with the same options repeats it"
            ))
        }
        None => print::line(&format!(
            "{schedules} schedules from seed {} on, {events} events in {:.1} h of virtual time, {seconds:.1} s: no rule was broken",
            report.first_seed,
            virtual_seconds / 3_600.0,
        )),
    }
}
