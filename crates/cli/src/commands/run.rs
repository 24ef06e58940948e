//! `executor run`: the agent.

use super::{engine, enrol, images_kept, supervise, validate};
use crate::agent_config::{self, AgentSettings, Connection, RuntimeSettings};
use crate::client::Settings;
use crate::env::conflicts::Conflicts;
use crate::env::{EnvErrors, EnvReader, RuntimeName};
use crate::exit::{Exit, Failure, Outcome};
use crate::lifecycle::{self, Lifecycle};
use crate::logging;
use crate::paths::{self, Paths};
use crate::systemd::{self, Notifier, Watched};
use agent::{AgentConfig, Orders, Start, StateDir, StateDirs};
use images::ImageStore;
use runtimes::docker::DockerRuntime;
use runtimes::oci::{OciRuntime, Tried};
use runtimes::{Finding, PrivateMounts, Runtime, Severity};
use secrecy::SecretString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tls::Roots;
use tokio_util::sync::CancellationToken;

/// Runs the agent until it is told to leave.
pub(crate) async fn run(
    paths: &Paths,
    host: &str,
    mounts: Result<PrivateMounts, Failure>,
    connection: Connection,
    settings: AgentSettings,
    verify: bool,
) -> Outcome {
    let data_dir = data_dir(paths)?;
    if verify {
        validate::check_git(&settings).await?;
        validate::check_src(&settings, &connection).await?;
    } else {
        validate::tell_of_src(&settings, &connection).await?;
    }
    let lifecycle =
        Lifecycle::listen(lifecycle::OF_JOBS).map_err(|fault| Failure::chain(Exit::System, &fault))?;
    lifecycle.listen_to_leave().map_err(|fault| Failure::chain(Exit::System, &fault))?;
    let serves = agent::serves(&connection.url, &connection.queues);
    let drain = &lifecycle.drain;
    let agent =
        Agent::start(&data_dir, host, mounts, connection, settings, Vec::new(), &serves, drain).await?;
    agent.introduce()?;
    agent.run(&lifecycle, None).await
}

/// Where an agent of this user keeps what it needs.
pub(crate) fn data_dir(paths: &Paths) -> Result<PathBuf, Failure> {
    Settings::agent_data_dir(paths, None)
}

/// An agent whose host was looked at.
pub(crate) struct Agent {
    config: AgentConfig,
    systemd: Notifier,
    runtime: Arc<dyn Runtime>,
    /// Held for its end.
    _state: StateDir,
}

/// What a runtime is made for.
#[derive(Debug, Clone)]
pub(crate) enum Use {
    /// Any number of jobs, one after the other or side by side.
    ForJobs,
    /// One job, while an agent looks after everything that jobs share; with what it has found out of this host.
    ForOneJob(Option<Tried>),
    /// None: it only looks at the host.
    ToLook,
}

/// A runtime, and what it has found out of this host, if supervisors needn't again.
pub(crate) struct Made {
    pub(crate) runtime: Arc<dyn Runtime>,
    tried: Option<Tried>,
}

impl Agent {
    /// Looks at the host; says what can't be promised, and refuses to start when nothing can run.
    /// Supervisors get the variables in `handed_on` besides those of this process. `serves` tells this agent from
    /// others of this data directory. What is waited for is waited for until `drain`.
    #[expect(clippy::too_many_arguments, reason = "each is another's to know")]
    pub(crate) async fn start(
        data_dir: &Path,
        host: &str,
        mounts: Result<PrivateMounts, Failure>,
        mut connection: Connection,
        mut settings: AgentSettings,
        mut handed_on: supervise::HandedOn,
        serves: &str,
        drain: &CancellationToken,
    ) -> Result<Self, Failure> {
        tell(&settings.conflicts)?;
        let data_dir = absolute(data_dir)?;
        settings.runtime.copy_startup_script(&data_dir)?;
        let states = StateDirs::below(paths::agent(&data_dir));
        let state = states.hold(serves).map_err(|fault| Failure::chain(Exit::System, &fault))?;
        let name = state.executor_name(&format!("{host}-"), || agent_config::executor_name(host));
        let name = name.map_err(|fault| Failure::chain(Exit::System, &fault))?;
        let ordinary = mounts.as_ref().is_ok_and(|mounts| mounts.of_ordinary_user());
        if let Some(token) = connection.registration.take() {
            let roots = &settings.runtime.images.roots;
            let secret = enrolled(&state, &name, &connection, &token, roots, drain).await?;
            handed_on.extend(supervise::identity(&secret));
            connection.password = secret;
        }
        let Made { runtime, tried } = runtime(&settings.runtime, &data_dir, mounts, &name, Use::ForJobs)?;
        let findings = engine::awaited(engine::LIMIT, drain, async || runtime.preflight().await).await?;
        judge(runtime.as_ref(), &findings, settings.runtime.strict)?;
        let handed_on = settings.runtime.chosen().into_iter().chain(handed_on).collect();
        let supervisor = settings.supervised.then(|| {
            let starter = settings.runtime.starter(ordinary);
            supervise::command(&data_dir, &name, handed_on, tried.as_ref(), starter)
        });
        let work_dir = agent_config::work_dir(&paths::agent(&data_dir));
        let systemd = settings.watching.systemd.clone();
        let named = settings.runtime.name.name();
        let mut config = settings.config(connection, &name, work_dir);
        config.isolation = Some(agent_config::isolation(runtime.isolation()));
        config.runtime = Some(named);
        config.telemetry = agent_config::telemetry(&config.tool_env).await;
        config.telemetry.src_cli_version = src_version(&config).await;
        config.telemetry.docker_version = runtime.engine_version().await.unwrap_or_default();
        config.jobs_dir = state.jobs();
        config.others = Some(states);
        // Jobs in an agent's own process leave nothing from which the next one could tell what became of them.
        config.start = supervisor.as_ref().and_then(|_| start_of(&state));
        config.supervisor = supervisor;
        Ok(Self { config, systemd, runtime, _state: state })
    }

    /// Says who asks for which jobs: whether it is given any is not known yet.
    pub(crate) fn introduce(&self) -> Result<(), Failure> {
        let AgentConfig { name, queues, frontend_url, .. } = &self.config;
        let mut url = frontend_url.clone();
        // It goes with each call, and is nobody else's business.
        url.set_query(None);
        logging::tell(&format!("agent {name} asks {url} for jobs of {}", queues.join(", ")))
    }

    /// Takes and runs jobs until `lifecycle` says otherwise. `beside` is the address of a control plane in this
    /// process.
    pub(crate) async fn run(self, lifecycle: &Lifecycle, beside: Option<SocketAddr>) -> Outcome {
        let watched = Watched { agent: Some(self.config.monitor.clone()), server: beside };
        let _told = systemd::attend(&self.systemd, watched, lifecycle.drain.clone());
        let orders = Orders {
            drain: lifecycle.drain.clone(),
            stop: lifecycle.stop.clone(),
            leave: lifecycle.leave.clone(),
        };
        // To get ready took more than is needed from now on.
        runtimes::give_back_memory();
        let done = agent::run(self.config, self.runtime, orders).await;
        match done {
            Ok(summary) => {
                tracing::info!(taken = summary.taken, completed = summary.completed, "the agent is done");
                Ok(Exit::Success)
            }
            Err(agent::AgentError::NeverReached) => Ok(Exit::Failed),
            Err(fault @ agent::AgentError::HealthAddressTaken { .. }) => Err(Failure::system(format!(
                "{fault}: `ss -ltnp` tells who; let EXECUTOR_HEALTH_SERVER_ADDR name another port for each agent"
            ))),
            Err(fault) => Err(Failure::chain(Exit::System, &fault)),
        }
    }
}

/// What an agent shows from now on that was invited with `token`: the secret of an identity of its own.
async fn enrolled(
    state: &StateDir,
    name: &str,
    connection: &Connection,
    token: &SecretString,
    roots: &Roots,
    drain: &CancellationToken,
) -> Result<SecretString, Failure> {
    let identity = state.identity(&connection.url, name);
    let mut identity = identity.map_err(|fault| Failure::chain(Exit::System, &fault))?;
    enrol::enrol(&mut identity, name, connection, token, roots, drain).await?;
    Ok(identity.secret().clone())
}

/// Which start at its place this is. An agent that can't tell does its work all the same.
fn start_of(state: &StateDir) -> Option<Start> {
    let told = |fault: &std::io::Error| tracing::warn!(%fault, "lost jobs will wait for their leases' end");
    state.start().inspect_err(told).ok()
}

/// What the control plane is told of the src on this host, where its steps run.
async fn src_version(config: &AgentConfig) -> String {
    /// How long src may take to say it.
    const LIMIT: Duration = Duration::from_secs(5);
    if !config.src_steps {
        return String::new();
    }
    let environment = config.tool_env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    validate::find_src(environment, LIMIT).await.unwrap_or_else(|fault| {
        tracing::debug!(fault, "the control plane is told of no src");
        String::new()
    })
}

/// Looks at the host as an agent does when it starts, and says what it says.
pub(crate) async fn look_at_host(
    data_dir: &Path,
    host: &str,
    mounts: Result<PrivateMounts, Failure>,
    settings: &AgentSettings,
) -> Result<(), Failure> {
    tell(&settings.conflicts)?;
    let name = agent_config::executor_name(host);
    let made = runtime(&settings.runtime, &absolute(data_dir)?, mounts, &name, Use::ToLook)?;
    judge(made.runtime.as_ref(), &made.runtime.preflight().await, settings.runtime.strict)
}

/// Says what is set and does not do what it says.
fn tell(conflicts: &Conflicts) -> Result<(), Failure> {
    conflicts.warnings.iter().try_for_each(|warning| logging::warn(warning))?;
    conflicts
        .note
        .iter()
        .chain(&conflicts.strangers)
        .try_for_each(|note| logging::tell(&format!("note: {note}")))
}

/// The one place that knows which runtimes there are.
pub(crate) fn runtime(
    settings: &RuntimeSettings,
    data_dir: &Path,
    mounts: Result<PrivateMounts, Failure>,
    executor: &str,
    used: Use,
) -> Result<Made, Failure> {
    let failed = |fault: &(dyn std::error::Error + 'static)| Failure::chain(Exit::System, fault);
    let certificates = paths::certificates(data_dir);
    if !matches!(used, Use::ForOneJob(_)) {
        settings.write_certificates(&certificates)?;
    }
    match settings.name {
        RuntimeName::Oci => {
            let images = ImageStore::open_with(paths::images(data_dir), settings.images.clone());
            let images = images.map_err(|fault| failed(&fault))?;
            if let (Some(rules), Use::ForJobs) = (&settings.images_kept, &used) {
                images_kept::watch(images.clone(), paths::images(data_dir), rules.clone());
            }
            let mut options =
                settings.oci_options(&paths::agent(data_dir).join("oci"), certificates, mounts?);
            if let Use::ForOneJob(tried) = used {
                options.one_job = true;
                options.tried = tried;
            }
            let runtime = OciRuntime::new(options, Arc::new(images)).map_err(|fault| failed(&fault))?;
            let tried = Some(runtime.tried());
            Ok(Made { runtime: Arc::new(runtime), tried })
        }
        RuntimeName::Docker => {
            let options =
                settings.docker_options(&paths::agent(data_dir).join("docker"), certificates, executor);
            let runtime = DockerRuntime::new(options).map_err(|fault| failed(&fault))?;
            Ok(Made { runtime: Arc::new(runtime), tried: None })
        }
        other => Err(Failure::usage(format!(
            "there is no runtime {other}: set EXECUTOR_RUNTIME to {}",
            RuntimeName::list(RuntimeName::BUILT)
        ))),
    }
}

/// Jobs' mounts and helpers name the directory from wherever they are.
fn absolute(data_dir: &Path) -> Result<PathBuf, Failure> {
    let made = std::fs::create_dir_all(data_dir).and_then(|()| std::fs::canonicalize(data_dir));
    made.map_err(|fault| {
        Failure::system(format!("the data directory {} can't be used: {fault}", data_dir.display()))
    })
}

/// Says what was seen of the host, before anything is promised. What can't be promised is a warning, and
/// under strict operation a refusal.
fn judge(runtime: &dyn Runtime, findings: &[Finding], strict: bool) -> Result<(), Failure> {
    let stops = |severity| severity == Severity::Fatal || (strict && severity == Severity::Warning);
    let (faults, told): (Vec<&Finding>, Vec<&Finding>) =
        findings.iter().partition(|finding| stops(finding.severity));
    for Finding { severity, seen, remedy, .. } in told {
        match severity {
            Severity::Ok => {}
            Severity::Info => logging::tell(&format!("runtime {}: {seen}", runtime.name()))?,
            Severity::Warning | Severity::Fatal => logging::warn(&format!("{seen}; {remedy}"))?,
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let why = if strict { " under EXECUTOR_STRICT" } else { "" };
    let faults: Vec<String> =
        faults.iter().map(|Finding { id, seen, remedy, .. }| format!("{id}: {seen}; {remedy}")).collect();
    Err(Failure::system(format!(
        "the runtime {} can't run jobs here{why}: {}",
        runtime.name(),
        faults.join(" | ")
    )))
}

/// Reads the environment for `run`, or tells every fault at once.
pub(crate) fn read(env: EnvReader<'_>) -> Result<(Connection, AgentSettings), Failure> {
    agent_config::read_for_run(env).map_err(|faults| faulty(&faults))
}

/// The same for who runs jobs for such an agent.
pub(crate) fn read_as_supervisor(env: EnvReader<'_>) -> Result<(Connection, AgentSettings), Failure> {
    agent_config::read_for_supervisor(env).map_err(|faults| faulty(&faults))
}

fn faulty(faults: &EnvErrors) -> Failure {
    Failure { exit: Exit::Failed, message: faults.to_string() }
}
