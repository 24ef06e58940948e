//! Memory of server and agent, idle and at work. All processes of the agent's count: a job has a supervisor
//! of its own, with a guardian, and a program that carries its packets.

use super::processes::{self, CARRIERS, Memory};
use super::stats::Samples;
use super::{Bench, System};
use anyhow::{Result, bail};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Jobs at the same time.
const JOBS: usize = 20;
/// How long it may take until the steps of all of them run.
const LIMIT: Duration = Duration::from_mins(1);
/// Before the idle look, so that what is made ahead has been made, and the first job's processes are gone.
const IDLE: Duration = Duration::from_secs(2);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn run(bench: &Bench) -> Result<()> {
    println!("memory (all processes of the program, medians of {} looks)", bench.runs);
    let jobs = JOBS.to_string();
    let system = System::start(bench, &[("EXECUTOR_MAXIMUM_NUM_JOBS", &jobs)], None)?;
    system.job(json!({ "steps": [{ "image": "", "run": "true" }] }))?;
    std::thread::sleep(IDLE);
    let binary = std::fs::canonicalize(&bench.binary)?;
    let idle = Look::take(bench, &system, &binary)?;

    let spec = json!({ "steps": [{ "image": "debian:bench", "run": "echo begun; sleep 300" }] });
    let ids = (0..JOBS).map(|_| system.submit(&spec)).collect::<Result<Vec<_>>>()?;
    let deadline = Instant::now() + LIMIT;
    let runs = |id: &i64| system.log(*id, "step.docker.0").is_ok_and(|text| text.contains("stdout: begun"));
    while !ids.iter().all(runs) {
        if Instant::now() > deadline {
            bail!("{JOBS} jobs do not run at the same time after {LIMIT:?}");
        }
        std::thread::sleep(PAUSE);
    }
    let busy = Look::take(bench, &system, &binary)?;
    for id in ids {
        system.api.post(&format!("/api/v1/jobs/{id}/cancel"), &json!(null))?;
    }
    system.stop()?;

    idle.print("idle");
    busy.print(&format!("{JOBS} jobs"));
    let per_job = |idle: f64, busy: f64| (busy - idle) / JOBS as f64;
    println!(
        "  per job: {:.2} MB PSS, {:.2} MB private; with its carrier {:.2} MB PSS, {:.2} MB private\n",
        per_job(idle.agent().pss, busy.agent().pss),
        per_job(idle.agent().private, busy.agent().private),
        per_job(idle.with_carriers().pss, busy.with_carriers().pss),
        per_job(idle.with_carriers().private, busy.with_carriers().private)
    );
    Ok(())
}

/// Medians of each kind of process.
struct Look {
    server: Memory,
    agent: BTreeMap<String, Memory>,
}

impl Look {
    fn take(bench: &Bench, system: &System, binary: &Path) -> Result<Self> {
        let (mut server, mut agent) = (Vec::new(), BTreeMap::<String, Vec<Memory>>::new());
        for _ in 0..bench.runs {
            let found = processes::of(system.server.pid(), binary)?;
            server.push(found.iter().map(|process| process.memory).sum());
            for (kind, memory) in processes::by_kind(&processes::of(system.agent.pid(), binary)?) {
                agent.entry(kind).or_default().push(memory);
            }
            std::thread::sleep(PAUSE);
        }
        let agent = agent.into_iter().map(|(kind, looks)| (kind, median(&looks))).collect();
        Ok(Self { server: median(&server), agent })
    }

    /// The agent with all of the program that it started.
    fn agent(&self) -> Memory {
        self.agent.iter().filter(|(kind, _)| *kind != CARRIERS).map(|(_, memory)| *memory).sum()
    }

    /// The same, and what carries the jobs' packets.
    fn with_carriers(&self) -> Memory {
        self.agent.values().copied().sum()
    }

    fn print(&self, when: &str) {
        let row = |name: &str, memory: &Memory| println!("  {:<32}{memory}", format!("{name}, {when}"));
        row("server", &self.server);
        row("agent and its helpers", &self.agent());
        for (kind, memory) in &self.agent {
            row(&format!("  {kind}"), memory);
        }
        row("agent, helpers and carriers", &self.with_carriers());
    }
}

fn median(looks: &[Memory]) -> Memory {
    let of = |field: fn(&Memory) -> f64| {
        let mut samples = Samples::default();
        for memory in looks {
            samples.push(field(memory));
        }
        samples.median()
    };
    Memory {
        pss: of(|memory| memory.pss),
        private: of(|memory| memory.private),
        processes: of(|memory| memory.processes as f64).round() as usize,
    }
}
