//! The agent's configuration, out of the environment.
//!
//! Faults are told all at once, in the documented order: first what is wrong with a value in
//! itself, in the table's order, then the documented checks, then those of ours. Texts that scripts
//! may look for are the documented ones.

mod choice;
mod connection;
mod docker;
mod host;
mod json;
mod kubernetes;
mod limits;
mod mounts;
mod network;
mod pieces;
mod promises;
mod quantity;
mod registries;
mod runtime_options;
mod shown;
pub(crate) mod startup_script;
mod tracing;
mod virtual_machines;
mod watching;

pub(crate) use choice::chooses_oci;
pub(crate) use connection::Connection;
pub(crate) use host::{executor_name, host_name, telemetry};
pub(crate) use pieces::Pieces;
pub(crate) use promises::isolation;
pub(crate) use watching::Watching;

use crate::certificates;
use crate::commands::images_kept::Rules;
use crate::env::conflicts::Conflicts;
use crate::env::runtime_choice::Asked;
use crate::env::{EnvErrors, EnvReader, Reader, RuntimeName};
use agent::{AgentConfig, Announced};
use choice::{add_hints, asked, chosen_or_fault, conflicts_or_faults};
use docker::DockerSettings;
use host::owner;
use images::DockerConfig;
use mounts::{By, ForOci};
use runtimes::oci::{AdditionalMount, Helper, LauncherAhead, NetworkOptions, OwnUsers};
use runtimes::{GuardianAhead, Limits};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::DockerAuthConfig;

/// Everything the environment says of the agent, the connection aside.
#[derive(Clone)]
pub(crate) struct AgentSettings {
    pub(crate) runtime: RuntimeSettings,
    /// What is set and does not do what it says; nothing to warn of under strict operation.
    pub(crate) conflicts: Conflicts,
    pub(crate) watching: Watching,
    max_jobs: usize,
    poll_interval: Duration,
    max_runtime: Option<Duration>,
    num_total_jobs: Option<u64>,
    max_active_time: Option<Duration>,
    keep_workspaces: bool,
    disk_floor: Option<u64>,
    drain_limit: Option<Duration>,
    /// Whether jobs run under supervisors, and so outlive the agent.
    pub(crate) supervised: bool,
    limits: Limits,
    announced: Announced,
    labels: Vec<String>,
    docker_auth: DockerAuthConfig,
    docker_config: Option<DockerConfig>,
    tool_env: Vec<(String, String)>,
}

/// Which runtime, and how strict.
#[derive(Debug, Clone)]
pub(crate) struct RuntimeSettings {
    pub(crate) name: RuntimeName,
    pub(crate) strict: bool,
    /// How images are had.
    pub(crate) images: images::Options,
    /// Which of them stay; `None` for all.
    pub(crate) images_kept: Option<Rules>,
    /// Whether steps get the certificates that we trust.
    gives_certificates: bool,
    /// Whether jobs have users of their own.
    users: OwnUsers,
    /// What jobs get for a network.
    network: NetworkOptions,
    oci_runtime: Option<String>,
    search_path: Option<String>,
    /// Of the user's sockets.
    runtime_dir: Option<PathBuf>,
    disk: Option<u64>,
    docker: DockerSettings,
    /// What steps of the container runtime see besides.
    additional_mounts: Vec<AdditionalMount>,
    /// The words for them.
    mounts_in_words: Option<String>,
    pub(crate) src_steps: SrcSteps,
    /// A script that steps run first; once an agent has started, its copy of it.
    pub(crate) startup_script: Option<PathBuf>,
    /// Who cleans up after this process.
    guardian: GuardianAhead,
    /// What starts its first step.
    launcher: LauncherAhead,
    /// What every job asks for.
    limits: Limits,
}

/// Makes who cleans up after this process while it has one thread. Failing costs memory only: one is started as a
/// program later.
pub(crate) fn guardian_ahead() -> GuardianAhead {
    GuardianAhead::fork().unwrap_or_else(|fault| {
        ::tracing::debug!(%fault, "failed to make a guardian ahead");
        GuardianAhead::default()
    })
}

/// What becomes of steps that are calls of src.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SrcSteps {
    /// src runs on this host.
    Run,
    /// They are refused, and nobody said that this is meant.
    Refused,
    /// They are refused because somebody said so, and so knows what the control plane must not send.
    Declined,
}

/// By the reference's own switch to Docker src runs on the host, so who uses that has it so already.
fn src_steps(env: &EnvReader<'_>, asked: Asked, chosen: RuntimeName, strict: bool) -> SrcSteps {
    let as_before = asked.named.is_none() && asked.firecracker == Some(false) && !strict;
    let given = env.given_bool("EXECUTOR_SRC_STEPS");
    match chosen == RuntimeName::Docker && given.unwrap_or(as_before) {
        true => SrcSteps::Run,
        false if given == Some(false) => SrcSteps::Declined,
        false => SrcSteps::Refused,
    }
}

/// Whether jobs have users of their own: where that can be, unless somebody said otherwise.
fn own_users(env: &EnvReader<'_>) -> OwnUsers {
    match env.given_bool("EXECUTOR_USER_NAMESPACE") {
        None => OwnUsers::WherePossible,
        Some(true) => OwnUsers::Always,
        Some(false) => OwnUsers::Never,
    }
}

/// How this program starts its own helpers.
pub(crate) fn helper() -> Helper {
    Helper::new("/proc/self/exe", vec![crate::HELPER.into()])
}

/// What `run` needs, or every fault at once. `env` may hold faults already.
pub(crate) fn read_for_run(env: EnvReader<'_>) -> Result<(Connection, AgentSettings), EnvErrors> {
    read_for(By::Agent, env)
}

/// What who runs jobs for such an agent needs; it is told [what that has chosen](RuntimeSettings::chosen).
pub(crate) fn read_for_supervisor(env: EnvReader<'_>) -> Result<(Connection, AgentSettings), EnvErrors> {
    read_for(By::Supervisor, env)
}

fn read_for(by: By, mut env: EnvReader<'_>) -> Result<(Connection, AgentSettings), EnvErrors> {
    env.load(&[Reader::Run, Reader::Agent, Reader::All]);
    let connection = connection::read(&mut env);
    let asked = asked(&mut env);
    let settings = AgentSettings::read(&mut env, by, asked);
    let both = connection.zip(settings);
    add_hints(&mut env);
    env.finish_with(both)
}

/// What `up` needs, or every fault at once: its agent knows its control plane.
pub(crate) fn read_for_up(mut env: EnvReader<'_>) -> Result<AgentSettings, EnvErrors> {
    env.load(&[Reader::Agent, Reader::All]);
    let asked = asked(&mut env).or_ours();
    let settings = AgentSettings::read(&mut env, By::Agent, asked);
    add_hints(&mut env);
    env.finish_with(settings)
}

impl AgentSettings {
    /// Checks and reads what was loaded.
    fn read(env: &mut EnvReader<'_>, by: By, asked: Asked) -> Option<Self> {
        let chosen = asked.choose(RuntimeName::BUILT);
        let runtime = chosen.as_ref().ok().map(|chosen| chosen.runtime);

        let docker_auth = registries::docker_auth(env);
        let mounts = mounts::read(env);
        kubernetes::check(env);
        if asked.wants_virtual_machines() {
            virtual_machines::check(env);
        }
        let disk = limits::disk(env, runtime);
        kubernetes::check_node_selector(env);

        kubernetes::check_more(env);
        let limits = limits::read(env, disk);
        let max_jobs = limits::at_least_one(env, "EXECUTOR_MAXIMUM_NUM_JOBS");
        let num_total_jobs = limits::count(env, "EXECUTOR_NUM_TOTAL_JOBS");
        let disk_floor = limits::disk_floor(env);
        let images = images::Options {
            roots: certificates::read(env),
            mirrors: registries::mirrors(env),
            ..images::Options::default()
        };
        let startup_script = startup_script::read(env);
        let ForOci { made: additional_mounts, numbers, left_out } = match runtime {
            Some(RuntimeName::Oci) => mounts::for_oci(&mounts, by),
            _ => ForOci::default(),
        };
        let mounts_in_words = mounts::words_for(env, &numbers);
        let docker = DockerSettings::read(env, mounts, runtime);
        let network = network::read(env);
        let images_kept = non_zero(env.duration("EXECUTOR_IMAGE_KEEP"));
        let images_kept = images_kept.map(|used_within| Rules { used_within, disk_floor });
        let mut warnings = left_out;
        let watching = watching::read(env, &mut warnings);
        let chosen = chosen_or_fault(env, chosen)?;
        let strict = env.bool("EXECUTOR_STRICT");
        warnings.extend(chosen.conflict.clone());
        let conflicts = conflicts_or_faults(env, &chosen, strict, warnings);
        Some(Self {
            conflicts,
            watching,
            runtime: RuntimeSettings {
                name: chosen.runtime,
                strict,
                images,
                images_kept,
                gives_certificates: env.bool("EXECUTOR_JOB_HOST_CERTIFICATES"),
                users: own_users(env),
                network,
                oci_runtime: env.text("EXECUTOR_OCI_RUNTIME"),
                search_path: env.text("PATH"),
                runtime_dir: env.text("XDG_RUNTIME_DIR").map(PathBuf::from),
                disk,
                docker,
                additional_mounts,
                mounts_in_words,
                src_steps: src_steps(env, asked, chosen.runtime, strict),
                startup_script,
                guardian: GuardianAhead::default(),
                launcher: LauncherAhead::default(),
                limits,
            },
            max_jobs,
            poll_interval: env.duration("EXECUTOR_QUEUE_POLL_INTERVAL"),
            max_runtime: non_zero(env.duration("EXECUTOR_MAXIMUM_RUNTIME_PER_JOB")),
            num_total_jobs,
            max_active_time: non_zero(env.duration("EXECUTOR_MAX_ACTIVE_TIME")),
            keep_workspaces: env.bool("EXECUTOR_KEEP_WORKSPACES"),
            disk_floor,
            drain_limit: limits::drain(env),
            supervised: env.bool("EXECUTOR_JOB_SUPERVISORS"),
            limits,
            announced: limits::announced(env),
            labels: promises::labels(env),
            docker_auth,
            docker_config: registries::docker_config(env),
            tool_env: tool_env(env),
        })
    }

    /// Has `guardian` clean up after this process.
    pub(crate) fn guarded_by(&mut self, guardian: GuardianAhead) {
        self.runtime.guardian = guardian;
    }

    /// Makes what starts the first step of a job of ours, while this process has one thread. Failing costs memory
    /// and time only: one is started as a program later.
    pub(crate) fn make_launcher(&mut self) {
        if self.runtime.name != RuntimeName::Oci {
            return;
        }
        match LauncherAhead::copy() {
            Ok(launcher) => self.runtime.launcher = launcher,
            Err(fault) => ::tracing::debug!(%fault, "failed to make a launcher ahead"),
        }
    }

    /// What programs such as git get of the agent's own environment.
    pub(crate) fn tool_env(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tool_env.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The whole configuration.
    pub(crate) fn config(self, connection: Connection, name: &str, work_dir: PathBuf) -> AgentConfig {
        let mut config = AgentConfig::new(connection.url, connection.password, "", name, work_dir);
        config.queues = connection.queues;
        config.multi_queue = connection.multi_queue;
        config.max_jobs = self.max_jobs;
        config.poll_interval = self.poll_interval;
        config.max_runtime = self.max_runtime;
        config.num_total_jobs = self.num_total_jobs;
        config.max_active_time = self.max_active_time;
        config.keep_workspaces = self.keep_workspaces;
        config.disk_floor = self.disk_floor;
        config.drain_limit = self.drain_limit;
        config.startup_script = self.runtime.startup_script.is_some();
        config.limits = self.limits;
        config.announced = self.announced;
        config.labels = self.labels;
        config.health = self.watching.health;
        config.exporters = self.watching.exporters;
        config.audit = self.watching.audit;
        config.tracing = self.watching.tracing;
        config.src_steps = self.runtime.runs_src();
        config.docker_auth = self.docker_auth;
        config.docker_config = self.docker_config;
        config.roots = self.runtime.images.roots;
        if !self.tool_env.is_empty() {
            config.tool_env = self.tool_env;
        }
        config
    }
}

/// Where jobs' logs and the like wait, below an agent's state directory.
pub(crate) fn work_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("work")
}

/// What programs that the agent starts for a job, such as git, get of the agent's own environment.
fn tool_env(env: &EnvReader<'_>) -> Vec<(String, String)> {
    let passed = ["PATH", "HOME"].map(|name| Some((name.to_owned(), env.text(name)?)));
    passed.into_iter().flatten().collect()
}

fn non_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

#[cfg(test)]
mod tests;
