//! Where the time between submit and first instruction goes, stage by stage.

use super::stats::Samples;
use super::{Bench, System, containers, start};
use anyhow::{Context, Result};
use serde_json::Value;
use std::time::Duration;

/// Before each job, so that what is made ahead has been made.
pub(super) const IDLE: Duration = Duration::from_millis(300);
/// Milliseconds of a day.
const DAY: f64 = 86_400_000.0;

/// Stages by when they end, counted from the request that submits the job.
#[derive(Default)]
struct Stages(Vec<(String, Samples)>);

impl Stages {
    fn add(&mut self, stage: &str, value: f64) {
        let known = self.0.iter().position(|(name, _)| name == stage);
        let index = known.unwrap_or_else(|| {
            self.0.push((stage.to_owned(), Samples::default()));
            self.0.len() - 1
        });
        self.0[index].1.push(value);
    }
}

pub(super) fn run(bench: &Bench) -> Result<()> {
    let log = tempfile::Builder::new().prefix("executor-xtask-").tempfile()?;
    let env = [("SRC_LOG_LEVEL", "dbug"), ("SRC_LOG_FORMAT", "json")];
    let system = System::start(bench, &env, Some(log.path()))?;
    start::submit(&system)?;
    let mut stages = Stages::default();
    for _ in 0..bench.runs {
        std::thread::sleep(IDLE);
        let seen = std::fs::metadata(log.path())?.len();
        let begun = containers::now();
        let first_instruction = start::submit(&system)?;
        std::thread::sleep(IDLE);
        let text = std::fs::read_to_string(log.path()).context("failed to read the agent's log")?;
        stages.add("first instruction", first_instruction);
        for (stage, at) in events(&text[usize::try_from(seen)?..]) {
            stages.add(&stage, since(begun, at));
        }
    }
    system.stop()?;

    println!("  stage by stage, from the request that submits (with the agent's debug log on)");
    stages.0.sort_by(|one, other| one.1.median().total_cmp(&other.1.median()));
    for (stage, samples) in &stages.0 {
        println!("{}", samples.row(&format!("  {stage}"), "ms", None));
    }
    println!();
    Ok(())
}

/// The stages that the agent and its runtime told, with their time of day in milliseconds.
pub(super) fn events(log: &str) -> Vec<(String, f64)> {
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told = events.filter_map(|event| {
        let (fields, stage) = (&event["fields"], event["fields"]["stage"].as_str());
        let told_at = time_of_day(event["timestamp"].as_str()?)?;
        let (stage, at) = match (event["target"].as_str()?, fields["message"].as_str()) {
            ("executor::timeline", _) => (stage?, told_at),
            (target, Some("started a step")) if target.starts_with("runtimes::") => {
                ("launcher told its plan", told_at)
            }
            (target, Some("a launcher's stage")) if target.starts_with("runtimes::") => {
                (stage?, fields["at_us"].as_f64()? / 1_000.0 % DAY)
            }
            _ => return None,
        };
        Some((stage.to_owned(), at))
    });
    told.collect()
}

pub(super) fn since(begun: f64, at: f64) -> f64 {
    (at - begun % DAY + DAY) % DAY
}

/// Milliseconds since midnight of a time such as `2026-11-21T05:17:17.963037Z`.
pub(super) fn time_of_day(text: &str) -> Option<f64> {
    let time = text.split_once('T')?.1.trim_end_matches('Z');
    let mut parts = time.split(':').map(str::parse::<f64>);
    let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Some(((hours * 60.0 + minutes) * 60.0 + seconds) * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_found_in_the_log() {
        let log = [
            r#"{"timestamp":"1970-01-01T00:00:01Z","target":"executor::timeline","fields":{"stage":"workspace"}}"#,
            r#"{"timestamp":"1970-01-01T00:00:02Z","target":"runtimes::oci::step","fields":{"message":"started a step"}}"#,
            r#"{"timestamp":"1970-01-01T00:00:09Z","target":"runtimes::oci::stages","fields":{"message":"a launcher's stage","stage":"plan read","at_us":86402500000}}"#,
            r#"{"timestamp":"1970-01-01T00:00:04Z","target":"agent::job","fields":{"message":"begun"}}"#,
        ];
        let expected = [("workspace", 1_000.0), ("launcher told its plan", 2_000.0), ("plan read", 2_500.0)];
        assert_eq!(events(&log.join("\n")), expected.map(|(stage, at)| (stage.to_owned(), at)));
    }

    #[test]
    fn times_of_day_are_read() {
        let at = time_of_day("2026-11-21T05:17:17.963Z").unwrap();
        assert!((at - 19_037_963.0).abs() < 0.01, "{at}");
        assert!((since(DAY * 3.0 + 1_000.0, 1_500.0) - 500.0).abs() < 0.01);
        assert!((since(DAY - 100.0, 100.0) - 200.0).abs() < 0.01, "over midnight");
    }
}
