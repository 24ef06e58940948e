//! What is said of the engine before a job runs.

use super::client::Client;
use super::info::Info;
use super::version::Engine;
use super::{DockerOptions, Rights};
use crate::{Finding, RuntimeError, Severity};

/// Tells whether the engine answers.
pub const REACHABLE: &str = "engine.reachable";

/// Looks at the engine that `options` name, as [`super::DockerRuntime`] does, and makes nothing. Takes as
/// long as an engine that does not answer.
pub async fn look(options: &DockerOptions) -> Vec<Finding> {
    findings(&Client::new(options.endpoint.clone()), options).await
}

pub(super) async fn findings(client: &Client, options: &DockerOptions) -> Vec<Finding> {
    let looked = async { Ok((client.engine().await?, client.info().await?)) };
    let (engine, info) = match looked.await {
        Ok(seen) => seen,
        Err(error) => {
            let error: super::error::EngineError = error;
            let seen = RuntimeError::from(error).to_string();
            let remedy = "start the engine, name another with DOCKER_HOST, or set EXECUTOR_RUNTIME=oci to run jobs \
                          in containers without one";
            return vec![finding(REACHABLE, Severity::Fatal, seen, remedy)];
        }
    };
    let mut findings = vec![about(&engine, &info, client)];
    findings.extend(limits(&info, options));
    findings.extend(rights(&engine, &info, options));
    findings.extend(surroundings(client, options));
    findings
}

fn finding(id: &'static str, severity: Severity, seen: impl Into<String>, remedy: &str) -> Finding {
    Finding { id, severity, seen: seen.into(), remedy: remedy.to_owned() }
}

fn about(engine: &Engine, info: &Info, client: &Client) -> Finding {
    let seen = format!(
        "{} {} at {}, API {}, storage {}, control groups {} by {}",
        engine.name,
        engine.release,
        client.endpoint(),
        engine.api,
        info.storage(),
        if info.cgroup_version.is_empty() { "of an unknown version" } else { &info.cgroup_version },
        if info.cgroup_driver.is_empty() { "nobody" } else { &info.cgroup_driver },
    );
    finding(REACHABLE, Severity::Info, seen, "")
}

/// Limits that can't be enforced.
fn limits(info: &Info, options: &DockerOptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (limit, why) in info.missing(&options.limits) {
        let (id, remedy) = match limit {
            super::Limit::Memory => ("limit.memory", CONTROLLER),
            super::Limit::Pids => ("limit.pids", CONTROLLER),
            super::Limit::Cpu => ("limit.cpu", CONTROLLER),
            super::Limit::Disk => (
                "limit.disk",
                "put the workspaces on a file system of their own, use EXECUTOR_RUNTIME=oci, or ask for no limit \
                 (EXECUTOR_FIRECRACKER_DISK_SPACE=0)",
            ),
        };
        let seen = format!("{} limits can't be enforced: {why}", limit.name());
        findings.push(finding(id, Severity::Warning, seen, remedy));
    }
    if options.limits.memory.is_some() && info.leaves_swap() {
        let seen = "memory limits leave out swap: the engine's host does not account for it";
        let remedy = "boot the engine's host with swapaccount=1, or without swap";
        findings.push(finding("limit.swap", Severity::Warning, seen, remedy));
    }
    if info.driver == "vfs" {
        let seen = "the storage driver vfs copies the whole image for each step";
        findings.push(finding("engine.storage", Severity::Info, seen, "let the engine use overlay2"));
    }
    for warning in info.warnings.iter().flatten() {
        let seen = format!("the engine says: {}", warning.trim_start_matches("WARNING: "));
        findings.push(finding("engine.warning", Severity::Info, seen, ""));
    }
    findings
}

const CONTROLLER: &str =
    "give the engine the control group controller; without root it needs control groups 2 and systemd";

/// What processes in a container may do, and what the engine does to hold them.
fn rights(engine: &Engine, info: &Info, options: &DockerOptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !info.has_option("seccomp") {
        let seen = "the engine filters no system calls: what a job may ask of the kernel is everything";
        let remedy = "use an engine that was built with seccomp, on a kernel that has it";
        findings.push(finding("engine.seccomp", Severity::Warning, seen, remedy));
    }
    if options.rights == Rights::Engine {
        let seen = "jobs have the capabilities and system calls that the engine grants by itself";
        findings.push(finding("engine.rights", Severity::Info, seen, ""));
    }
    match &options.oci_runtime {
        Some(name) if !info.has_runtime(name) && !engine.is_podman() => {
            let seen = format!("the engine has no OCI runtime {name:?}");
            let remedy = "add it to the engine's configuration (`runtimes` in daemon.json)";
            findings.push(finding("engine.runtime", Severity::Fatal, seen, remedy));
        }
        named => {
            let name = named.as_deref().unwrap_or(&info.default_runtime);
            let seen = format!(
                "containers are run by {}",
                if name.is_empty() { "the engine's default" } else { name }
            );
            findings.push(finding("engine.runtime", Severity::Info, seen, ""));
        }
    }
    if info.has_option("rootless") {
        let seen = "the engine runs without root: root in a job is nobody on the host";
        findings.push(finding("engine.rootless", Severity::Info, seen, ""));
    } else if info.has_option("userns") {
        let seen = "the engine maps users: root in a job is nobody on the host";
        findings.push(finding("engine.users", Severity::Info, seen, ""));
    } else {
        let seen = "root in a job is root on the engine's host but for its rights: users are not mapped";
        findings.push(finding("engine.users", Severity::Info, seen, ""));
    }
    findings
}

/// What is around a container.
fn surroundings(client: &Client, options: &DockerOptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    let seen = match options.network.as_deref() {
        Some("none") => "jobs have no network".to_owned(),
        Some(network) => {
            format!("jobs reach what the engine's network {network:?} reaches: nothing is filtered")
        }
        None => "jobs reach what the engine's default network reaches: nothing is filtered".to_owned(),
    };
    findings.push(finding("engine.network", Severity::Info, seen, ""));
    if client.endpoint().is_exposed() {
        let endpoint = client.endpoint();
        let seen =
            format!("the engine at {endpoint} is reached without encryption, and so are secrets in jobs");
        let remedy = "reach it over a socket, over loopback, or through a network that nobody else is in";
        findings.push(finding("engine.exposed", Severity::Warning, seen, remedy));
    }
    findings
}
