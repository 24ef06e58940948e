//! `cargo xtask bench`: figures from the user's side, against the floor and against peers, in one run.

mod clone;
mod containers;
mod disk;
mod load;
mod logs;
mod memory;
mod network;
mod processes;
mod start;
mod stats;
mod timeline;

use crate::http::Api;
use crate::system::{Place, Running};
use crate::{command, parts, product, rootfs};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measurement {
    /// Submit to the step's first instruction, against bare runtimes and Docker
    Start,
    /// What a network costs a job when it starts and when it ends, against none
    Network,
    /// Clone through the proxy, against git alone
    Clone,
    /// Log throughput with redaction
    Logs,
    /// Memory of server and agent, all of their processes, idle and with twenty jobs
    Memory,
    /// A hundred jobs at once that print a lot: memory and processor time of agent and server
    Load,
    /// Five hundred executors on one server, and what they do when it was away; only when it is asked for
    Fleet,
    /// What the queue bears on either database, against a plain one in the same PostgreSQL and graphile-worker; only
    /// when it is asked for
    Queue,
}

/// Medians of fewer runs are for a quick look only.
const FEWEST_RUNS: usize = 20;
/// How long one job may take.
const JOB: Duration = Duration::from_mins(2);

/// Whether a measurement is repeated as often as its figures need.
#[derive(Debug, PartialEq, Eq)]
enum Repeated {
    Enough,
    TooFew,
    /// It is one run, whose figures are of many calls or executors each.
    Once,
}

impl Repeated {
    fn of(only: Option<Measurement>, runs: usize) -> Self {
        match only {
            Some(Measurement::Queue | Measurement::Fleet | Measurement::Load) => Self::Once,
            _ if runs < FEWEST_RUNS => Self::TooFew,
            _ => Self::Enough,
        }
    }
}

/// What every measurement needs.
struct Bench {
    binary: PathBuf,
    rootfs: PathBuf,
    runs: usize,
}

pub(crate) fn run(runs: usize, only: Option<Measurement>) -> Result<()> {
    let repeated = Repeated::of(only, runs);
    if repeated == Repeated::TooFew {
        println!("{runs} runs are too few for figures that are told to others: at least {FEWEST_RUNS}");
    }
    if only == Some(Measurement::Queue) {
        return queue();
    }
    if only == Some(Measurement::Fleet) {
        return fleet();
    }
    parts::ensure(&[parts::DEMO, parts::BENCH])?;
    let bench = Bench { binary: product::build_shipped()?, rootfs: rootfs::debian()?, runs };
    conditions(&format!("{runs} runs, medians, unless said otherwise"))?;
    let wanted = |which| only.is_none_or(|only| only == which);
    if wanted(Measurement::Start) {
        start::run(&bench)?;
    }
    if wanted(Measurement::Network) {
        network::run(&bench)?;
    }
    if wanted(Measurement::Clone) {
        clone::run(&bench)?;
    }
    if wanted(Measurement::Logs) {
        logs::run(&bench)?;
    }
    if wanted(Measurement::Memory) {
        memory::run(&bench)?;
    }
    if wanted(Measurement::Load) {
        load::run(&bench)?;
    }
    Ok(())
}

/// What the store bears by itself, and how soon executors have jobs of a server. Neither needs an agent.
fn queue() -> Result<()> {
    parts::ensure(&[parts::QUEUE])?;
    conditions("one run, each figure over 10 s unless said otherwise")?;
    command::run(&mut product::cargo(["bench", "--quiet", "-p", "store", "--bench", "queue"]))?;
    command::run(&mut product::cargo(["bench", "--quiet", "-p", "server", "--bench", "dequeue"]))
}

/// Agents without jobs, all in one process, on the server that is shipped.
fn fleet() -> Result<()> {
    let binary = product::build_shipped()?;
    conditions("one run")?;
    let mut bench = product::cargo(["bench", "--quiet", "-p", "agent", "--bench", "fleet"]);
    command::run(bench.env("EXECUTOR_FLEET_BINARY", binary))
}

/// Without these a figure means nothing.
fn conditions(how_often: &str) -> Result<()> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown CPU");
    let cores = std::thread::available_parallelism()?;
    let kernel = read("/proc/sys/kernel/osrelease");
    let commit = command::capture(
        command::program("git", ["rev-parse", "--short", "HEAD"]).current_dir(product::checkout()),
    );
    let date = command::capture(&mut command::program("date", ["-u", "+%Y-%m-%d %H:%M UTC"]))?;
    println!(
        "{} · commit {} · {cores} cores of {model} · Linux {} · {how_often}\n",
        date.trim(),
        commit.as_deref().map_or("unknown", str::trim),
        kernel.trim(),
    );
    Ok(())
}

/// A control plane and an agent, as two processes, with the image in place.
struct System {
    place: Place,
    server: Running,
    agent: Running,
    api: Api,
}

impl System {
    fn start(bench: &Bench, agent_env: &[(&str, &str)], agent_log: Option<&Path>) -> Result<Self> {
        let place = Place::new(bench.binary.clone())?;
        let data_dir = place.data_dir().to_string_lossy().into_owned();
        let archive = bench.rootfs.to_string_lossy();
        let mut import =
            place.executor(["image", "import", "--data-dir", &data_dir, "debian:bench", &archive]);
        command::capture(&mut import)?;

        let server = place.executor(["server", "--data-dir", &data_dir, "--listen", "127.0.0.1:0"]);
        let server = Running::start("executor server", server, "listening on ")?;
        let (url, token) = place.settings()?;
        let site = std::fs::read_to_string(place.data_dir().join("site-config.jsonc"))?;
        let mut agent = place.executor(["run"]);
        agent
            .env("EXECUTOR_FRONTEND_URL", &url)
            .env("EXECUTOR_FRONTEND_PASSWORD", access_token(&site)?)
            .env("EXECUTOR_QUEUE_NAME", "batches")
            .env("EXECUTOR_DATA_DIR", &data_dir)
            .envs(agent_env.iter().copied());
        if let Some(path) = agent_log {
            agent.stderr(std::fs::File::create(path)?);
        }
        let agent = Running::start("executor run", agent, "agent ")?;
        Ok(Self { api: Api::new(&url, token)?, place, server, agent })
    }

    fn stop(self) -> Result<()> {
        self.agent.stop()?;
        self.server.stop()?;
        drop(self.place);
        Ok(())
    }

    /// Submits a job of one step and waits until it has completed.
    fn job(&self, mut spec: Value) -> Result<Value> {
        spec["steps"][0]["image"] = json!("debian:bench");
        let id = self.submit(&spec)?;
        self.wait(id)
    }

    fn submit(&self, spec: &Value) -> Result<i64> {
        self.api.post("/api/v1/jobs", spec)?["id"].as_i64().context("a job without an id")
    }

    fn wait(&self, id: i64) -> Result<Value> {
        let deadline = Instant::now() + JOB;
        loop {
            let job = self.api.get(&format!("/api/v1/jobs/{id}"))?;
            match job["state"].as_str() {
                Some("completed") => return Ok(job),
                Some("queued" | "processing") if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                _ => bail!("job {id} did not complete: {job}"),
            }
        }
    }

    fn log(&self, id: i64, key: &str) -> Result<String> {
        let entries = self.api.get(&format!("/api/v1/jobs/{id}/logs"))?;
        let entries = entries.as_array().context("no list of log entries")?;
        let entry =
            entries.iter().find(|entry| entry["key"] == key).with_context(|| format!("no entry {key}"))?;
        self.api
            .get_text(&format!("/api/v1/jobs/{id}/logs/{}/text?attempt={}", entry["entry"], entry["attempt"]))
    }
}

/// The shared secret out of the site configuration that the server wrote.
fn access_token(site: &str) -> Result<String> {
    let (_, after) =
        site.split_once("\"executors.accessToken\"").context("no access token in the site configuration")?;
    after.split('"').nth(1).map(str::to_owned).context("no access token in the site configuration")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_repeated_can_be_repeated_too_rarely() {
        for (only, runs, repeated) in [
            (None, 3, Repeated::TooFew),
            (None, FEWEST_RUNS, Repeated::Enough),
            (Some(Measurement::Start), 19, Repeated::TooFew),
            (Some(Measurement::Queue), 1, Repeated::Once),
            (Some(Measurement::Fleet), 1, Repeated::Once),
            (Some(Measurement::Load), 1, Repeated::Once),
        ] {
            assert_eq!(Repeated::of(only, runs), repeated, "{only:?} {runs}");
        }
    }
}
