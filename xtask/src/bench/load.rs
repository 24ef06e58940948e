//! Memory and processor time of agent and server while many jobs print a lot at the same time.

use super::processes::{self, CARRIERS, Memory};
use super::{Bench, System};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Jobs at the same time.
const JOBS: usize = 100;
/// Bytes of text that each of them prints.
const BYTES: usize = 4_000_000;
/// In so many pieces, with pauses between, so that all jobs run at the same time.
const PIECES: usize = 40;
/// What GitLab Runner is reported to take for as many jobs with as much text.
const PUBLISHED_MB: f64 = 369.0;
/// How long all of it may take.
const LIMIT: Duration = Duration::from_mins(5);

pub(super) fn run(bench: &Bench) -> Result<()> {
    println!("load (one run, {JOBS} jobs at once, {:.0} MB of log each)", BYTES as f64 / 1e6);
    let jobs = JOBS.to_string();
    let env = [("EXECUTOR_MAXIMUM_NUM_JOBS", jobs.as_str()), ("EXECUTOR_FIRECRACKER_DISK_SPACE", "128M")];
    let system = System::start(bench, &env, None)?;
    system.job(json!({ "steps": [{ "image": "", "run": "true" }] }))?;
    let binary = std::fs::canonicalize(&bench.binary)?;
    let (mut agent, mut server) = (Most::of(system.agent.pid()), Most::of(system.server.pid()));
    agent.look(&binary)?;
    let idle = agent.own;
    let mut at_once = 0;

    let piece = BYTES / PIECES;
    let line = "a line of a log, about eighty bytes long, with nothing secret in it, really.";
    let script =
        format!("set +x; for i in $(seq {PIECES}); do yes '{line}' | head -c {piece}; sleep 0.5; done");
    let spec = json!({ "steps": [{ "image": "debian:bench", "run": script }] });
    let begun = Instant::now();
    let ids = (0..JOBS).map(|_| system.submit(&spec)).collect::<Result<Vec<_>>>()?;
    loop {
        agent.look(&binary)?;
        server.look(&binary)?;
        let open = |state: &str| count(&system, state);
        let running = open("processing")?;
        at_once = at_once.max(running);
        if running == 0 && open("queued")? == 0 {
            break;
        }
        if begun.elapsed() > LIMIT {
            bail!("{running} jobs still run after {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let took = begun.elapsed().as_secs_f64();
    let complete = ids.iter().map(|id| system.wait(*id)).collect::<Result<Vec<_>>>()?.len();
    let stored: usize =
        ids.iter().map(|id| Ok(system.log(*id, "step.docker.0")?.len())).sum::<Result<_>>()?;
    system.stop()?;

    println!(
        "  {complete} jobs completed in {took:.1} s, at most {at_once} at once; {:.0} MB of text stored",
        stored as f64 / 1e6
    );
    println!("  agent and its helpers, idle  {idle}");
    println!("  agent and its helpers, most  {}", agent.own);
    for (kind, taken) in &agent.kinds {
        println!("    {kind:<27}{taken}");
    }
    println!("  with carriers, most          {}", agent.all);
    println!("  server, most                 {}", server.own);
    println!(
        "  published for GitLab Runner: {PUBLISHED_MB} MB; by proportional set size {:.2}×, with carriers {:.2}×\n",
        agent.own.memory.pss / PUBLISHED_MB,
        agent.all.memory.pss / PUBLISHED_MB
    );
    Ok(())
}

/// What some processes took, and the seconds of processor time that it took them.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    memory: Memory,
    cpu: f64,
}

impl Taken {
    /// The most of each; processor time only grows.
    fn grow(&mut self, memory: Memory, cpu: f64) {
        self.memory.pss = self.memory.pss.max(memory.pss);
        self.memory.private = self.memory.private.max(memory.private);
        self.memory.processes = self.memory.processes.max(memory.processes);
        self.cpu = cpu;
    }
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {:.1} s of processor time", self.memory, self.cpu)
    }
}

/// The most that was seen of one program that was started, and of what it has started.
#[derive(Debug)]
struct Most {
    root: u32,
    /// Of the program alone.
    own: Taken,
    /// With the programs that carry packets.
    all: Taken,
    kinds: BTreeMap<String, Taken>,
    /// Processor time of each process when it was last seen, in clock ticks: helpers come and go.
    ticks: BTreeMap<u32, (String, u64)>,
}

impl Most {
    fn of(root: u32) -> Self {
        Self {
            root,
            own: Taken::default(),
            all: Taken::default(),
            kinds: BTreeMap::new(),
            ticks: BTreeMap::new(),
        }
    }

    fn look(&mut self, binary: &Path) -> Result<()> {
        let found = processes::of(self.root, binary)?;
        for process in &found {
            self.ticks.insert(process.pid, (process.kind.clone(), process.ticks));
        }
        for (kind, memory) in processes::by_kind(&found) {
            let cpu = self.seconds(|other| other == kind);
            self.kinds.entry(kind).or_default().grow(memory, cpu);
        }
        let of = |whose: fn(&str) -> bool| {
            found.iter().filter(|process| whose(&process.kind)).map(|process| process.memory).sum()
        };
        self.own.grow(of(is_own), self.seconds(is_own));
        self.all.grow(of(|_| true), self.seconds(|_| true));
        Ok(())
    }

    /// Processor time of the processes of some kinds, in seconds.
    fn seconds(&self, whose: impl Fn(&str) -> bool) -> f64 {
        let ticks: u64 = self.ticks.values().filter(|(kind, _)| whose(kind)).map(|(_, ticks)| ticks).sum();
        // A hundred a second on every Linux that we know.
        ticks as f64 / 100.0
    }
}

fn is_own(kind: &str) -> bool {
    kind != CARRIERS
}

fn count(system: &System, state: &str) -> Result<usize> {
    let page = system.api.get(&format!("/api/v1/jobs?state={state}&limit=100"))?;
    Ok(page["items"].as_array().context("no list of jobs")?.len())
}
