//! A clone through the proxy, against git alone. Each goes to a new disk of the same kind.

use super::disk::Disk;
use super::stats::Samples;
use super::timeline::time_of_day;
use super::{Bench, System};
use crate::command::{capture, program};
use crate::product;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(super) fn run(bench: &Bench) -> Result<()> {
    println!("clone of this checkout's HEAD, depth 1");
    let scratch = tempfile::Builder::new().prefix("executor-xtask-").tempdir()?;
    let source = std::fs::canonicalize(product::checkout())?;
    let system = System::start(bench, &[], None)?;
    system.api.post("/api/v1/repositories", &json!({ "name": "bench", "source": source }))?;

    // Both read the same mirror: what is measured is what the way adds.
    let mirror = only_entry(&system.place.data_dir().join("repositories"))?;
    let (mut ours, mut plain) = (Samples::default(), Samples::default());
    for _ in 0..bench.runs {
        ours.push(through_the_proxy(&system)?);
        plain.push(git_alone(&mirror, scratch.path())?);
    }
    system.stop()?;
    println!("{}", plain.row("git clone --depth 1 file://…", "ms", None));
    println!("{}", ours.row("executor: the eight git commands", "ms", None));
    println!("  {:.2}× the floor, both to a new ext4 without a journal\n", ours.median() / plain.median());
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

/// The one mirror there is.
fn only_entry(dir: &Path) -> Result<PathBuf> {
    let mut mirrors = std::fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.path()));
    mirrors.find(|path| path.extension().is_some_and(|end| end == "git")).context("there is no mirror")
}

/// Making the disk is not counted: an agent makes it ahead.
fn git_alone(source: &Path, scratch: &Path) -> Result<f64> {
    let disk = Disk::make(scratch)?;
    let url = format!("file://{}", source.display());
    let begun = Instant::now();
    capture(program("git", ["clone", "--quiet", "--depth", "1", &url]).arg(disk.path().join("clone")))?;
    Ok(begun.elapsed().as_secs_f64() * 1_000.0)
}
