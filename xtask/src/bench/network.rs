//! What a network costs a job: two agents, one whose jobs have one and one whose jobs have none, in turn.

use super::stats::Samples;
use super::timeline::{IDLE, events, since};
use super::{Bench, System, containers, start};
use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// Runs that are not counted.
const WARM_UP: usize = 3;

pub(super) fn run(bench: &Bench) -> Result<()> {
    println!("a job's network (one step, no repository, warm, with the agents' debug log on)");
    let mut sides = [Side::start(bench, "auto")?, Side::start(bench, "none")?];
    for round in 0..bench.runs + WARM_UP {
        sides.iter_mut().try_for_each(|side| side.job(round >= WARM_UP))?;
    }
    for Side { system, network, first_instruction, closing, .. } in sides {
        system.stop()?;
        println!("{}", first_instruction.row(&format!("{network}: submit → first instruction"), "ms", None));
        println!("{}", closing.row(&format!("{network}: step ended → sandbox closed"), "ms", None));
    }
    println!();
    Ok(())
}

/// A system, and what was measured of it.
struct Side {
    network: &'static str,
    system: System,
    log: NamedTempFile,
    first_instruction: Samples,
    closing: Samples,
}

impl Side {
    fn start(bench: &Bench, network: &'static str) -> Result<Self> {
        let log = tempfile::Builder::new().prefix("executor-xtask-").tempfile()?;
        let env = [("EXECUTOR_OCI_NETWORK", network), ("SRC_LOG_LEVEL", "dbug"), ("SRC_LOG_FORMAT", "json")];
        let system = System::start(bench, &env, Some(log.path()))?;
        let (first_instruction, closing) = Default::default();
        Ok(Self { network, system, log, first_instruction, closing })
    }

    fn job(&mut self, counts: bool) -> Result<()> {
        std::thread::sleep(IDLE);
        let seen = std::fs::metadata(self.log.path())?.len();
        let begun = containers::now();
        let first_instruction = start::submit(&self.system)?;
        std::thread::sleep(IDLE);
        let text = std::fs::read_to_string(self.log.path()).context("failed to read an agent's log")?;
        let told = events(&text[usize::try_from(seen)?..]);
        let at = |stage: &str| {
            let found = told.iter().find(|(name, _)| name == stage);
            found
                .map(|(_, at)| since(begun, *at))
                .with_context(|| format!("the log does not tell of {stage:?}"))
        };
        let closing = at("sandbox closed")? - at("step ended")?;
        if counts {
            self.first_instruction.push(first_instruction);
            self.closing.push(closing);
        }
        Ok(())
    }
}
