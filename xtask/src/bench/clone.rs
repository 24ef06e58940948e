//! A clone through the proxy, against git alone.

use super::stats::Samples;
use super::timeline::time_of_day;
use super::{Bench, System};
use crate::command::{capture, program};
use crate::product;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

pub(super) fn run(bench: &Bench) -> Result<()> {
    println!("clone of this checkout's HEAD, depth 1");
    let scratch = tempfile::Builder::new().prefix("executor-xtask-").tempdir()?;
    let source = std::fs::canonicalize(product::checkout())?;
    let system = System::start(bench, &[], None)?;
    system.api.post("/api/v1/repositories", &json!({ "name": "bench", "source": source }))?;

    let (mut ours, mut plain) = (Samples::default(), Samples::default());
    for round in 0..bench.runs {
        ours.push(through_the_proxy(&system)?);
        plain.push(git_alone(&source, &scratch.path().join(round.to_string()))?);
    }
    system.stop()?;
    println!("{}", plain.row("git clone --depth 1 file://…", "ms", None));
    println!("{}", ours.row("executor: the eight git commands", "ms", Some(&plain)));
    println!();
    Ok(())
}

/// From the first of the eight commands to the end of the last, by the job's own log.
fn through_the_proxy(system: &System) -> Result<f64> {
    let job = system.job(json!({ "repo": "bench", "steps": [{ "image": "", "run": "true" }] }))?;
    let entries = system.api.get(&format!("/api/v1/jobs/{}/logs", job["id"]))?;
    let entries = entries.as_array().context("no list of log entries")?;
    let git: Vec<_> = entries
        .iter()
        .filter(|entry| entry["key"].as_str().is_some_and(|key| key.starts_with("setup.git.")))
        .collect();
    let (Some(first), Some(last)) = (git.first(), git.last()) else { bail!("the job did not clone") };
    let began =
        |entry: &Value| entry["startedAt"].as_str().and_then(time_of_day).context("an entry without a start");
    Ok(began(last)? + last["durationMs"].as_f64().unwrap_or_default() - began(first)?)
}

fn git_alone(source: &Path, target: &Path) -> Result<f64> {
    let url = format!("file://{}", source.display());
    let begun = Instant::now();
    capture(program("git", ["clone", "--quiet", "--depth", "1", &url]).arg(target))?;
    let took = begun.elapsed().as_secs_f64() * 1_000.0;
    std::fs::remove_dir_all(target)?;
    Ok(took)
}
