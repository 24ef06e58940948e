//! The agent's configuration, out of the environment.
//!
//! Texts of faults that scripts may look for are the documented ones.

use crate::env::{EnvErrors, EnvReader, Variables};
use agent::{AgentConfig, Announced};
use runtimes::oci::{Helper, OciOptions};
use runtimes::{Limits, PrivateMounts};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;
use wire::DockerAuthConfig;
use wire::heartbeat::Telemetry;

const QUEUE_NAMES: &str = "batches, codeintel";

/// Where an agent finds its control plane.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) url: Url,
    pub(crate) password: SecretString,
    pub(crate) queues: Vec<String>,
    pub(crate) multi_queue: bool,
}

/// Everything the environment says of the agent, the connection aside.
#[derive(Debug, Clone)]
pub(crate) struct AgentSettings {
    pub(crate) runtime: RuntimeSettings,
    max_jobs: usize,
    poll_interval: Duration,
    max_runtime: Option<Duration>,
    num_total_jobs: Option<u64>,
    max_active_time: Option<Duration>,
    keep_workspaces: bool,
    limits: Limits,
    announced: Announced,
    docker_auth: DockerAuthConfig,
    tool_env: Vec<(String, String)>,
}

/// Which runtime, and how strict.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuntimeSettings {
    pub(crate) name: String,
    pub(crate) strict: bool,
    oci_runtime: Option<String>,
    search_path: Option<String>,
    disk: Option<u64>,
}

impl RuntimeSettings {
    /// The container runtime's options, with its state in `state_dir`.
    pub(crate) fn oci_options(&self, state_dir: &Path, mounts: PrivateMounts) -> OciOptions {
        let helper = Helper { program: "/proc/self/exe".into(), args: vec![crate::HELPER.into()] };
        let mut options = OciOptions::new(mounts, state_dir.to_owned(), owner(state_dir), helper);
        options.runtime.clone_from(&self.oci_runtime);
        options.strict = self.strict;
        if let Some(path) = &self.search_path {
            options.search_path = path.into();
        }
        if let Some(disk) = self.disk {
            options.spare_disk = disk;
        }
        options
    }
}

/// Whose sandboxes they are, among all on this host: those of one state directory.
fn owner(state_dir: &Path) -> String {
    hex::encode(&Sha256::digest(state_dir.as_os_str().as_encoded_bytes())[..6])
}

impl AgentSettings {
    /// Reads everything; faults are collected in `env`.
    pub(crate) fn read(env: &mut EnvReader<'_>) -> Self {
        let cpus = env.int("EXECUTOR_JOB_NUM_CPUS");
        let (memory_text, memory) = env.size("EXECUTOR_JOB_MEMORY");
        let (disk_text, disk) = env.size("EXECUTOR_FIRECRACKER_DISK_SPACE");
        let pids = count(env, "EXECUTOR_JOB_PIDS");
        if cpus < 0 {
            env.fault(format!("invalid int \"{cpus}\" for EXECUTOR_JOB_NUM_CPUS: it may not be negative"));
        }
        Self {
            max_jobs: at_least_one(env, "EXECUTOR_MAXIMUM_NUM_JOBS"),
            poll_interval: env.duration("EXECUTOR_QUEUE_POLL_INTERVAL"),
            max_runtime: non_zero(env.duration("EXECUTOR_MAXIMUM_RUNTIME_PER_JOB")),
            num_total_jobs: count(env, "EXECUTOR_NUM_TOTAL_JOBS"),
            max_active_time: non_zero(env.duration("EXECUTOR_MAX_ACTIVE_TIME")),
            keep_workspaces: env.bool("EXECUTOR_KEEP_WORKSPACES"),
            limits: Limits {
                cpus: (cpus > 0).then_some(cpus as f64),
                memory: (memory > 0).then_some(memory),
                pids,
                disk: (disk > 0).then_some(disk),
            },
            announced: Announced { cpus: cpus.max(0), memory: memory_text, disk: disk_text },
            docker_auth: docker_auth(env),
            tool_env: tool_env(env),
            runtime: RuntimeSettings { disk: (disk > 0).then_some(disk), ..runtime(env) },
        }
    }

    /// The whole configuration.
    pub(crate) fn config(self, connection: Connection, host: &str, work_dir: PathBuf) -> AgentConfig {
        let name = format!("{host}-{}", uuid::Uuid::new_v4());
        let mut config = AgentConfig::new(connection.url, connection.password, "", &name, work_dir);
        config.queues = connection.queues;
        config.multi_queue = connection.multi_queue;
        config.max_jobs = self.max_jobs;
        config.poll_interval = self.poll_interval;
        config.max_runtime = self.max_runtime;
        config.num_total_jobs = self.num_total_jobs;
        config.max_active_time = self.max_active_time;
        config.keep_workspaces = self.keep_workspaces;
        config.limits = self.limits;
        config.announced = self.announced;
        config.docker_auth = self.docker_auth;
        if !self.tool_env.is_empty() {
            config.tool_env = self.tool_env;
        }
        config.telemetry = Telemetry {
            os: std::env::consts::OS.to_owned(),
            architecture: go_architecture().to_owned(),
            executor_version: env!("CARGO_PKG_VERSION").to_owned(),
            git_version: git_version().unwrap_or_default(),
            ..Telemetry::default()
        };
        config
    }
}

/// `run` needs to be told where its control plane is. Faults come in the documented order: what is
/// missing, then the queues, then the URL's shape.
pub(crate) fn connection(env: &mut EnvReader<'_>) -> Option<Connection> {
    let url = env.required("EXECUTOR_FRONTEND_URL");
    let password = env.required("EXECUTOR_FRONTEND_PASSWORD");
    let queues = queues(env);
    let url = frontend_url(env, &url);
    let (queues, multi_queue) = queues?;
    Some(Connection { url: url?, password: password.into(), queues, multi_queue })
}

fn queues(env: &mut EnvReader<'_>) -> Option<(Vec<String>, bool)> {
    match (env.text("EXECUTOR_QUEUE_NAME"), env.text("EXECUTOR_QUEUE_NAMES")) {
        (None, None) => env.fault("neither EXECUTOR_QUEUE_NAME or EXECUTOR_QUEUE_NAMES is set"),
        (Some(_), Some(_)) => env.fault("both EXECUTOR_QUEUE_NAME and EXECUTOR_QUEUE_NAMES are set"),
        (Some(name), None) if jobs::name::check_queue(&name).is_ok() => return Some((vec![name], false)),
        (Some(_), None) => {
            env.fault(format!("EXECUTOR_QUEUE_NAME must be set to one of '{QUEUE_NAMES}'"));
        }
        (None, Some(names)) => {
            let mut names: Vec<String> = names.split(',').map(str::to_owned).collect();
            let Some(bad) = names.iter().find(|name| jobs::name::check_queue(name).is_err()) else {
                names.sort();
                names.dedup();
                return Some((names, true));
            };
            env.fault(format!(
                "EXECUTOR_QUEUE_NAMES contains invalid queue name '{bad}', valid names are '{QUEUE_NAMES}' and \
                 should be comma-separated"
            ));
        }
    }
    None
}

fn frontend_url(env: &mut EnvReader<'_>, text: &str) -> Option<Url> {
    const SHAPE: &str = "EXECUTOR_FRONTEND_URL must be in the format scheme://host (and optionally :port)";
    match Url::parse(text) {
        Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => return Some(url),
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase | url::ParseError::EmptyHost) => env.fault(SHAPE),
        Err(fault) => env.fault(format!("failed to parse EXECUTOR_FRONTEND_URL: {fault}")),
    }
    None
}

fn docker_auth(env: &mut EnvReader<'_>) -> DockerAuthConfig {
    let Some(text) = env.text("EXECUTOR_DOCKER_AUTH_CONFIG") else { return DockerAuthConfig::default() };
    serde_json::from_str(&text).unwrap_or_else(|fault| {
        // The parser's own words may hold a piece of the value.
        let place = format!("line {} column {}", fault.line(), fault.column());
        env.fault(format!("invalid EXECUTOR_DOCKER_AUTH_CONFIG, failed to parse: invalid JSON at {place}"));
        DockerAuthConfig::default()
    })
}

fn runtime(env: &mut EnvReader<'_>) -> RuntimeSettings {
    let name = env.text("EXECUTOR_RUNTIME").unwrap_or_else(|| "oci".to_owned());
    match name.as_str() {
        "oci" => {}
        "docker" | "firecracker" | "kubernetes" | "shell" => env.fault(format!(
            "EXECUTOR_RUNTIME is {name:?}, which this version does not have yet: unset it, or set it to oci"
        )),
        _ => env.fault(format!("invalid value {name:?} for EXECUTOR_RUNTIME: set it to oci")),
    }
    RuntimeSettings {
        name,
        strict: env.bool("EXECUTOR_STRICT"),
        oci_runtime: env.text("EXECUTOR_OCI_RUNTIME"),
        search_path: env.text("PATH"),
        disk: None,
    }
}

/// What programs that the agent starts for a job, such as git, get of the agent's own environment.
fn tool_env(env: &EnvReader<'_>) -> Vec<(String, String)> {
    let passed = ["PATH", "HOME"].map(|name| Some((name.to_owned(), env.text(name)?)));
    passed.into_iter().flatten().collect()
}

fn at_least_one(env: &mut EnvReader<'_>, name: &'static str) -> usize {
    let value = env.int(name);
    if value < 1 {
        env.fault(format!("invalid int \"{value}\" for {name}: it must be at least 1"));
    }
    usize::try_from(value).unwrap_or(1).max(1)
}

/// Zero means without limit; less is a fault.
fn count(env: &mut EnvReader<'_>, name: &'static str) -> Option<u64> {
    let value = env.int(name);
    if value < 0 {
        env.fault(format!(
            "invalid int \"{value}\" for {name}: it may not be negative; 0 means without limit"
        ));
    }
    u64::try_from(value).ok().filter(|value| *value > 0)
}

fn non_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

/// The architecture as Go names it.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn git_version() -> Option<String> {
    let output = std::process::Command::new("git").arg("version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().strip_prefix("git version ").map(str::to_owned)
}

/// The host's name: `HOSTNAME`, or the system's.
pub(crate) fn host_name(env: &EnvReader<'_>) -> String {
    env.text("HOSTNAME").unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// Reads what `run` needs, or tells every fault at once.
pub(crate) fn read_for_run(
    variables: &Variables,
    program: &str,
) -> Result<(Connection, AgentSettings), EnvErrors> {
    let mut env = EnvReader::new(variables, program);
    let connection = connection(&mut env);
    let settings = AgentSettings::read(&mut env);
    env.finish_with(connection.map(|connection| (connection, settings)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 3] = [
        ("EXECUTOR_FRONTEND_URL", "https://sg.example.com/base"),
        ("EXECUTOR_FRONTEND_PASSWORD", "a-password-of-many-letters"),
        ("EXECUTOR_QUEUE_NAME", "batches"),
    ];

    fn read(changes: &[(&str, &str)]) -> Result<(Connection, AgentSettings), Vec<String>> {
        let mut pairs: std::collections::BTreeMap<&str, &str> = GOOD.into_iter().collect();
        pairs.extend(changes.iter().copied());
        pairs.retain(|_, value| *value != "unset");
        let pairs: Vec<_> = pairs.into_iter().collect();
        read_for_run(&Variables::of(&pairs), "executor").map_err(EnvErrors::into_texts)
    }

    #[test]
    fn an_empty_environment_has_four_faults() {
        let faults = read_for_run(&Variables::default(), "executor").map(drop).unwrap_err();
        assert_eq!(
            faults.to_string(),
            "4 errors occurred:\
             \n\t* invalid value \"\" for EXECUTOR_FRONTEND_URL: no value supplied\
             \n\t* invalid value \"\" for EXECUTOR_FRONTEND_PASSWORD: no value supplied\
             \n\t* neither EXECUTOR_QUEUE_NAME or EXECUTOR_QUEUE_NAMES is set\
             \n\t* EXECUTOR_FRONTEND_URL must be in the format scheme://host (and optionally :port)"
        );
    }

    #[test]
    fn queues_are_one_or_several_and_known() {
        assert_eq!(read(&[]).unwrap().0.queues, ["batches"]);
        let several = [("EXECUTOR_QUEUE_NAME", "unset"), ("EXECUTOR_QUEUE_NAMES", "codeintel,batches")];
        let (connection, _) = read(&several).unwrap();
        assert_eq!((connection.queues.join(","), connection.multi_queue), ("batches,codeintel".into(), true));
        for (changes, fault) in [
            (
                vec![("EXECUTOR_QUEUE_NAMES", "batches")],
                "both EXECUTOR_QUEUE_NAME and EXECUTOR_QUEUE_NAMES are set",
            ),
            (
                vec![("EXECUTOR_QUEUE_NAME", "bulk")],
                "EXECUTOR_QUEUE_NAME must be set to one of 'batches, codeintel'",
            ),
            (
                vec![("EXECUTOR_QUEUE_NAME", "unset"), ("EXECUTOR_QUEUE_NAMES", "batches, codeintel")],
                "EXECUTOR_QUEUE_NAMES contains invalid queue name ' codeintel', valid names are 'batches, codeintel' \
                 and should be comma-separated",
            ),
        ] {
            assert_eq!(read(&changes).map(drop).unwrap_err(), [fault]);
        }
    }

    #[test]
    fn zero_means_without_limit_and_less_is_a_fault() {
        let none = [
            ("EXECUTOR_JOB_NUM_CPUS", "0"),
            ("EXECUTOR_JOB_MEMORY", "0"),
            ("EXECUTOR_FIRECRACKER_DISK_SPACE", "0"),
            ("EXECUTOR_JOB_PIDS", "0"),
        ];
        assert_eq!(read(&none).unwrap().1.limits, Limits::default());
        for name in [
            "EXECUTOR_JOB_PIDS",
            "EXECUTOR_NUM_TOTAL_JOBS",
            "EXECUTOR_JOB_NUM_CPUS",
            "EXECUTOR_MAXIMUM_NUM_JOBS",
        ] {
            let faults = read(&[(name, "-1")]).map(drop).unwrap_err();
            assert!(faults.len() == 1 && faults[0].contains(name), "{faults:?}");
        }
    }

    #[test]
    fn what_is_announced_is_no_release_and_what_is_told_to_ours_is() {
        let (connection, settings) = read(&[]).unwrap();
        let config = settings.config(connection, "host", PathBuf::from("/work"));
        assert_eq!(config.version, "0.0.0+dev");
        assert_eq!(config.telemetry.executor_version, env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn a_broken_credential_is_refused_without_being_shown() {
        let faults = read(&[("EXECUTOR_DOCKER_AUTH_CONFIG", "{\"auths\": hunter2")]).map(drop).unwrap_err();
        assert!(
            faults[0].starts_with("invalid EXECUTOR_DOCKER_AUTH_CONFIG, failed to parse: "),
            "{faults:?}"
        );
        assert!(!faults[0].contains("hunter2"));
    }

    #[test]
    fn a_runtime_that_is_not_there_is_refused() {
        assert!(
            read(&[("EXECUTOR_RUNTIME", "docker")]).map(drop).unwrap_err()[0].contains("does not have yet")
        );
        assert!(read(&[("EXECUTOR_RUNTIME", "chroot")]).map(drop).unwrap_err()[0].contains("\"chroot\""));
    }
}
