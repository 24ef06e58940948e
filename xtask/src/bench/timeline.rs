//! Where the time between submit and first instruction goes, stage by stage.

use super::stats::Samples;
use super::{Bench, System, start};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn run(bench: &Bench) -> Result<()> {
    let log = tempfile::Builder::new().prefix("executor-xtask-").tempfile()?;
    let env = [("SRC_LOG_LEVEL", "dbug"), ("SRC_LOG_FORMAT", "json")];
    let system = System::start(bench, &env, Some(log.path()))?;
    for _ in 0..bench.runs {
        start::submit(&system)?;
    }
    system.stop()?;

    println!("  stage by stage (with the agent's debug log on; from the answer to the dequeue)");
    let text = std::fs::read_to_string(log.path()).context("failed to read the agent's log")?;
    for (_, (stage, samples)) in stages(&text) {
        println!("{}", samples.row(&format!("  {stage}"), "ms", None));
    }
    println!();
    Ok(())
}

/// Stages by the order in which they first appeared.
fn stages(log: &str) -> BTreeMap<usize, (String, Samples)> {
    let mut order: Vec<String> = Vec::new();
    let mut stages = BTreeMap::new();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for event in events.filter(|event| event["target"] == "executor::timeline") {
        let fields = &event["fields"];
        let (Some(stage), Some(elapsed)) = (fields["stage"].as_str(), fields["elapsed_us"].as_f64()) else {
            continue;
        };
        let index = order.iter().position(|known| known == stage).unwrap_or_else(|| {
            order.push(stage.to_owned());
            order.len() - 1
        });
        let (_, samples) = stages.entry(index).or_insert_with(|| (stage.to_owned(), Samples::default()));
        samples.push(elapsed / 1_000.0);
    }
    stages
}
