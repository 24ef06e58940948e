//! Memory of server and agent, idle and at work.

use super::stats::Samples;
use super::{Bench, System};
use anyhow::{Context, Result};
use serde_json::json;
use std::time::{Duration, Instant};

/// Jobs at the same time.
const JOBS: usize = 20;

pub(super) fn run(bench: &Bench) -> Result<()> {
    println!("memory (proportional set size)");
    let system = System::start(bench, &[("EXECUTOR_MAXIMUM_NUM_JOBS", "20")], None)?;
    system.job(json!({ "steps": [{ "image": "", "run": "true" }] }))?;
    let idle = sample(bench, &system)?;

    let spec = json!({ "steps": [{ "image": "debian:bench", "run": "sleep 20" }] });
    let ids = (0..JOBS).map(|_| system.submit(&spec)).collect::<Result<Vec<_>>>()?;
    let deadline = Instant::now() + Duration::from_secs(15);
    while running(&system)? < JOBS && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    let busy = sample(bench, &system)?;
    let count = running(&system)?;
    for id in ids {
        system.api.post(&format!("/api/v1/jobs/{id}/cancel"), &json!(null))?;
    }
    system.stop()?;

    let mib = |kib: f64| kib / 1024.0;
    println!("  server: {:.1} MiB idle, {:.1} MiB with {count} jobs", mib(idle.0), mib(busy.0));
    println!("  agent:  {:.1} MiB idle, {:.1} MiB with {count} jobs", mib(idle.1), mib(busy.1));
    if count > 0 {
        let per_job = |idle: f64, busy: f64| mib(busy - idle) / count as f64;
        println!(
            "  per job: server {:.2} MiB, agent {:.2} MiB\n",
            per_job(idle.0, busy.0),
            per_job(idle.1, busy.1)
        );
    }
    Ok(())
}

/// Medians of server and agent, in KiB.
fn sample(bench: &Bench, system: &System) -> Result<(f64, f64)> {
    let (mut server, mut agent) = (Samples::default(), Samples::default());
    for _ in 0..bench.runs {
        server.push(pss(system.server.pid())?);
        agent.push(pss(system.agent.pid())?);
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok((server.median(), agent.median()))
}

fn running(system: &System) -> Result<usize> {
    let page = system.api.get("/api/v1/jobs?state=processing&limit=100")?;
    Ok(page["items"].as_array().map_or(0, Vec::len))
}

/// KiB that a process uses, its share of what it shares included.
fn pss(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
