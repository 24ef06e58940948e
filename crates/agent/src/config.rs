//! What an agent is told. Whoever reads the environment fills this in.

use crate::audit::Audit;
use crate::monitor::Monitor;
use crate::start::Start;
use crate::state_dir::StateDirs;
use crate::trace::Tracing;
use images::DockerConfig;
use secrecy::SecretString;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tls::Roots;
use url::Url;
use wire::DockerAuthConfig;
use wire::heartbeat::Telemetry;

/// The most text of one log entry that is kept: 64 MiB.
pub const DEFAULT_LOG_CAP: u64 = 64 << 20;
/// The most that text of one job's log takes of the disk while it waits to be delivered, all entries together: 512 MiB.
pub const DEFAULT_JOB_LOG_CAP: u64 = 512 << 20;
/// What a stock control plane is told of our version, when jobs are asked for and in heartbeats: a
/// development build, which by its documentation gets the newest payload and is compared to nothing.
pub const ANNOUNCED_VERSION: &str = "0.0.0+dev";
/// Where host programs are looked for, unless the configuration says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a job is told to be given, as it is announced with every dequeue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announced {
    /// CPUs; 0 is left out.
    pub cpus: i64,
    /// Memory, such as `12G`; empty is left out.
    pub memory: String,
    /// Disk, such as `20G`; empty is left out.
    pub disk: String,
}

/// Who tells metrics that heartbeats carry besides our own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Exporters {
    /// The base URL of a node exporter, without `/metrics`.
    pub node: Option<Url>,
    /// The base URL of the exporter proxy on the registry's machine.
    pub registry: Option<Url>,
}

impl fmt::Debug for Exporters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, registry } = self;
        let shown = |url: &Option<Url>| url.as_ref().map(shown);
        f.debug_struct("Exporters").field("node", &shown(node)).field("registry", &shown(registry)).finish()
    }
}

/// A URL without what may be secret in it: user, password, query and fragment.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // A URL that can't have them has none.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// What starts that which makes supervisors of jobs: a process that ends up in [`crate::nursery()`], and gets
/// the environment of this one besides. A supervisor goes on with [`crate::supervise`].
#[derive(Clone)]
pub struct SupervisorCommand {
    /// The program; `/proc/self/exe` stays right when the file is replaced by an upgrade.
    pub program: PathBuf,
    /// What it is called.
    pub arg0: OsString,
    /// Everybody on this host can read these.
    pub args: Vec<OsString>,
    /// Variables to set, or to unset; they may hold secrets.
    pub env: Vec<(String, Option<OsString>)>,
    /// What starts it in a control group of its own: a program and arguments, which are followed by `arg0` and
    /// `args`, and it becomes that program. Empty where it is started as it is.
    pub starter: Vec<OsString>,
}

impl fmt::Debug for SupervisorCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, args, .. } = self;
        f.debug_struct("SupervisorCommand")
            .field("program", program)
            .field("args", args)
            .finish_non_exhaustive()
    }
}

/// Everything an agent needs to know.
#[derive(Clone)]
pub struct AgentConfig {
    /// The control plane's base URL. Its path is kept, also for git.
    pub frontend_url: Url,
    /// Whom the control plane may be, where it speaks TLS.
    pub roots: Roots,
    /// The secret that the agent shares with the control plane.
    pub password: SecretString,
    /// The queues to take jobs from, sorted.
    pub queues: Vec<String>,
    /// Speak the calls of several queues, even if there is only one in `queues`.
    pub multi_queue: bool,
    /// This agent's name, which its successor has as well while jobs of it run.
    pub name: String,
    /// The version to announce, by which a stock control plane chooses the payload. Our own, which is
    /// told to a control plane of ours, is in `telemetry`.
    pub version: String,
    /// How many jobs run at the same time, at least 1.
    pub max_jobs: usize,
    /// The pause after a dequeue that found nothing, where the control plane did not hold it.
    pub poll_interval: Duration,
    /// How long a job may take, from its dequeue to the end of its last step.
    pub max_runtime: Option<Duration>,
    /// Leave after this many jobs.
    pub num_total_jobs: Option<u64>,
    /// Take no more jobs after this time.
    pub max_active_time: Option<Duration>,
    /// What each sandbox may use.
    pub limits: runtimes::Limits,
    /// What the control plane is told of it.
    pub announced: Announced,
    /// How well jobs are kept apart from this host, as a control plane of ours is told it. The runtime knows.
    pub isolation: Option<jobs::Isolation>,
    /// What else its operator says of this agent, told in the same way.
    pub labels: Vec<String>,
    /// What the runtime is called, told in the same way.
    pub runtime: Option<&'static str>,
    /// A directory of our own for what running jobs need on this host.
    pub work_dir: PathBuf,
    /// Where it is kept which jobs run under supervisors.
    pub jobs_dir: PathBuf,
    /// Where the same is kept of other agents on this host, whose jobs are looked after when they are gone.
    pub others: Option<StateDirs>,
    /// How supervisors are started, so that jobs outlive this process; without it, jobs end with it.
    pub supervisor: Option<SupervisorCommand>,
    /// Bytes that must be free on the disk of `work_dir` for a job to be taken; 0 is no floor, `None`
    /// one that fits the size of the disk.
    pub disk_floor: Option<u64>,
    /// How long the agent may take to leave once it was told to take no more jobs: those that still run when that
    /// is nearly over are handed back. `None` leaves them all the time they need.
    pub drain_limit: Option<Duration>,
    /// The environment that host programs such as git get, `PATH` above all. They inherit nothing.
    pub tool_env: Vec<(String, String)>,
    /// Run steps that are calls of src as programs on this host, by an engine of the runtime.
    pub src_steps: bool,
    /// Steps find a script of the operator's at [`runtimes::STARTUP_SCRIPT`], and run it before their commands.
    pub startup_script: bool,
    /// Registry credentials for jobs that bring none.
    pub docker_auth: DockerAuthConfig,
    /// The Docker configuration of the user that the agent runs as, for when there are none of those either.
    pub docker_config: Option<DockerConfig>,
    /// Keep workspaces below `work_dir` when their jobs end, for somebody to look at.
    pub keep_workspaces: bool,
    /// What heartbeats tell of this host.
    pub telemetry: Telemetry,
    /// Where to answer questions about health and to tell metrics; `None` for nowhere.
    pub health: Option<SocketAddr>,
    /// Whose metrics heartbeats carry besides our own.
    pub exporters: Exporters,
    /// Which jobs ran here, written down.
    pub audit: Audit,
    /// Where traces of jobs are sent, if anywhere.
    pub tracing: Option<Tracing>,
    /// Which start of the agent this is, where it has a state directory for itself.
    pub start: Option<Start>,
    /// What the agent shows of itself. Keep a clone to look at it.
    pub monitor: Monitor,
    /// How long the control plane is asked to hold a dequeue that would find nothing.
    pub long_poll: Duration,
    /// The most bytes of text of one log entry.
    pub log_cap: u64,
    /// The most bytes of text of one job that wait on the disk.
    pub job_log_cap: u64,
    /// The pause between heartbeats, from the end of one to the beginning of the next.
    pub heartbeat_interval: Duration,
    /// How long a clone is tried again from the first time that the control plane broke it.
    pub clone_patience: Duration,
    /// How long, after a job has ended, its final call and the rest of its log are tried.
    pub patience: Duration,
}

impl fmt::Debug for AgentConfig {
    /// What tells one agent from another; much of the rest may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentConfig")
            .field("frontend_url", &shown(&self.frontend_url))
            .field("queues", &self.queues)
            .field("name", &self.name)
            .field("max_jobs", &self.max_jobs)
            .field("work_dir", &self.work_dir)
            .field("jobs_dir", &self.jobs_dir)
            .finish_non_exhaustive()
    }
}

impl AgentConfig {
    /// A configuration for one queue with the documented defaults.
    pub fn new(
        frontend_url: Url,
        password: SecretString,
        queue: &str,
        name: &str,
        work_dir: PathBuf,
    ) -> Self {
        Self {
            frontend_url,
            roots: Roots::default(),
            password,
            queues: vec![queue.to_owned()],
            multi_queue: false,
            name: name.to_owned(),
            version: ANNOUNCED_VERSION.to_owned(),
            max_jobs: 1,
            poll_interval: Duration::from_secs(1),
            max_runtime: Some(Duration::from_mins(30)),
            num_total_jobs: None,
            max_active_time: None,
            limits: runtimes::Limits::default(),
            announced: Announced::default(),
            isolation: None,
            labels: Vec::new(),
            runtime: None,
            jobs_dir: work_dir.join("jobs"),
            others: None,
            supervisor: None,
            work_dir,
            disk_floor: None,
            drain_limit: None,
            tool_env: vec![("PATH".to_owned(), DEFAULT_PATH.to_owned())],
            src_steps: false,
            startup_script: false,
            docker_auth: DockerAuthConfig::default(),
            docker_config: None,
            keep_workspaces: false,
            telemetry: Telemetry::default(),
            health: None,
            exporters: Exporters::default(),
            audit: Audit::default(),
            tracing: None,
            start: None,
            monitor: Monitor::default(),
            long_poll: Duration::from_secs(20),
            log_cap: DEFAULT_LOG_CAP,
            job_log_cap: DEFAULT_JOB_LOG_CAP,
            heartbeat_interval: Duration::from_secs(5),
            clone_patience: Duration::from_mins(5),
            patience: Duration::from_mins(10),
        }
    }

    /// The documented name of all queues together, for metrics.
    pub(crate) fn all_queues(&self) -> String {
        self.queues.join("_")
    }

    /// The queue that calls about a job go to. A job of a multi-queue dequeue names its own; `None`
    /// when it should have and did not.
    pub(crate) fn queue_of<'a>(&'a self, named: Option<&'a str>) -> Option<&'a str> {
        match (named, self.queues.as_slice()) {
            (Some(queue), _) => Some(queue),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}
