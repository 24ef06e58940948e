//! Memory and processor time of agent and server while many jobs print a lot at the same time.

use super::{Bench, System};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
    println!("load ({JOBS} jobs at once, {:.0} MB of log each)", BYTES as f64 / 1e6);
    let jobs = JOBS.to_string();
    let env = [("EXECUTOR_MAXIMUM_NUM_JOBS", jobs.as_str()), ("EXECUTOR_FIRECRACKER_DISK_SPACE", "128M")];
    let system = System::start(bench, &env, None)?;
    system.job(json!({ "steps": [{ "image": "", "run": "true" }] }))?;
    let binary = std::fs::canonicalize(&bench.binary)?;
    let mut most = Usage::default();
    most.look(&binary, &system)?;
    let idle = most.agent;

    let piece = BYTES / PIECES;
    let line = "a line of a log, about eighty bytes long, with nothing secret in it, really.";
    let script =
        format!("set +x; for i in $(seq {PIECES}); do yes '{line}' | head -c {piece}; sleep 0.5; done");
    let spec = json!({ "steps": [{ "image": "debian:bench", "run": script }] });
    let begun = Instant::now();
    let ids = (0..JOBS).map(|_| system.submit(&spec)).collect::<Result<Vec<_>>>()?;
    loop {
        most.look(&binary, &system)?;
        let open = |state: &str| count(&system, state);
        let running = open("processing")?;
        most.running = most.running.max(running);
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

    let agent = most.agent;
    println!(
        "  {complete} jobs completed in {took:.1} s, at most {} at once; {:.0} MB of text stored",
        most.running,
        stored as f64 / 1e6
    );
    println!("  agent, idle:  {idle}");
    println!("  agent, most:  {agent}   (published for GitLab Runner: {PUBLISHED_MB} MB)");
    println!("  server, most: {}", most.server);
    println!("  {:.2}× the published figure by proportional set size\n", agent.pss / PUBLISHED_MB);
    Ok(())
}

/// MB of memory, and seconds of processor time, of some processes.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    pss: f64,
    anonymous: f64,
    processes: usize,
    cpu: f64,
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pss, anonymous, processes, cpu } = self;
        write!(
            f,
            "{pss:.1} MB PSS, {anonymous:.1} MB RssAnon, {processes} processes, {cpu:.1} s of processor time"
        )
    }
}

/// The most that was seen.
#[derive(Debug, Default)]
struct Usage {
    agent: Memory,
    server: Memory,
    running: usize,
    /// Processor time of each process when it was last seen, in clock ticks: helpers come and go.
    ticks: BTreeMap<u32, (bool, u64)>,
}

impl Usage {
    /// Looks at every process of the program: the server, and the agent with all of its helpers.
    fn look(&mut self, binary: &Path, system: &System) -> Result<()> {
        let (mut agent, mut server) = (Memory::default(), Memory::default());
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            // Whatever can't be read is gone by now.
            let Some(seen) = read(&entry.path(), binary) else { continue };
            let is_server = pid == system.server.pid();
            let sum = if is_server { &mut server } else { &mut agent };
            sum.pss += seen.0;
            sum.anonymous += seen.1;
            sum.processes += 1;
            self.ticks.insert(pid, (is_server, seen.2));
        }
        let cpu = |of_server: bool| {
            let ticks = self.ticks.values().filter(|(is_server, _)| *is_server == of_server);
            // A hundred a second on every Linux that we know.
            ticks.map(|(_, ticks)| *ticks as f64).sum::<f64>() / 100.0
        };
        (agent.cpu, server.cpu) = (cpu(false), cpu(true));
        for (most, now) in [(&mut self.agent, agent), (&mut self.server, server)] {
            most.pss = most.pss.max(now.pss);
            most.anonymous = most.anonymous.max(now.anonymous);
            most.processes = most.processes.max(now.processes);
            most.cpu = now.cpu;
        }
        Ok(())
    }
}

/// Memory in MB, proportional and private, and ticks of one process, if it is of this program.
fn read(process: &Path, binary: &Path) -> Option<(f64, f64, u64)> {
    let exe: PathBuf = std::fs::read_link(process.join("exe")).ok()?;
    if exe != binary {
        return None;
    }
    let field = |file: &str, name: &str| -> Option<f64> {
        let text = std::fs::read_to_string(process.join(file)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    let after: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = after.get(11)?.parse::<u64>().ok()? + after.get(12)?.parse::<u64>().ok()?;
    let mb = |kib: f64| kib * 1024.0 / 1e6;
    Some((mb(field("smaps_rollup", "Pss:")?), mb(field("status", "RssAnon:")?), ticks))
}

fn count(system: &System, state: &str) -> Result<usize> {
    let page = system.api.get(&format!("/api/v1/jobs?state={state}&limit=100"))?;
    Ok(page["items"].as_array().context("no list of jobs")?.len())
}
