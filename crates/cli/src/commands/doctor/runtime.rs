//! What runs the jobs: the daemonless runtime, and engines with a daemon.

use super::catalog;
use super::finding::{Finding, Severity, fatal, info, ok, warning};
use super::known::Known;
use super::room::{self, State};
use super::versions;
use crate::agent_config;
use crate::env::RuntimeName;
use crate::exit::Failure;
use runtimes::PrivateMounts;
use runtimes::docker::{DockerOptions, Endpoint};
use runtimes::oci::{Looked, Looking, Trial};
use std::path::Path;

/// Where an engine listens that was told nothing else.
const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/podman/podman.sock"];

/// What is tried, and not only looked at.
const TRIED: [&str; 2] = ["disk.limit", "oci.users"];

/// What container engines leave in each container.
const CONTAINER_MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

/// Looks at the host as an agent does when it starts. Blocking.
pub(super) fn oci(known: &Known, mounts: Result<PrivateMounts, Failure>) -> Vec<Finding> {
    if known.agent.runtime != RuntimeName::Oci {
        return Vec::new();
    }
    let scratch = tempfile::Builder::new().prefix("executor-doctor-").tempdir();
    let directories = scratch.and_then(|disk| Ok((disk, room::scratch(&known.data_dir)?)));
    let helper = agent_config::helper();
    let images = room::existing(&known.data_dir);
    let trial = match (mounts, &directories) {
        (Ok(mounts), Ok((disk, data))) => {
            Ok(Trial { mounts, disk: disk.path(), data: data.path(), images, helper: &helper })
        }
        (Err(fault), _) => {
            let general = "run executor as root, or in a container that is privileged or has CAP_SYS_ADMIN";
            let (seen, remedy) = fault.message.rsplit_once("; ").unwrap_or((&fault.message, general));
            Err(fatal("oci.mounts", seen, remedy))
        }
        (_, Err(fault)) => Err(warning(
            "oci.mounts",
            format!("no directory for a trial can be made: {fault}"),
            "let TMPDIR name a directory that can be written to",
        )),
    };
    let (trial, mounts) = match trial {
        Ok(trial) => (Some(trial), ok("oci.mounts", "mounts of jobs are made in a namespace of their own")),
        Err(finding) => (None, finding),
    };
    let agent = &known.agent;
    let looked = runtimes::oci::look(Looking {
        runtime: agent.oci_runtime.as_deref(),
        search_path: &agent.search_path,
        users: agent.users,
        trial,
    });
    let tried = trial.is_some();
    if let Some(Trial { disk, .. }) = trial {
        let _ = rustix::mount::unmount(disk, rustix::mount::UnmountFlags::DETACH);
    }
    let mut findings = with_what_is_fine(looked, tried);
    findings.push(mounts);
    findings
}

/// Adds what the runtime is silent of because nothing is wrong with it.
fn with_what_is_fine(looked: Looked, tried: bool) -> Vec<Finding> {
    let Looked { version, mut findings } = looked;
    findings.extend(version.as_deref().map(versions::judge));
    let group = catalog::GROUPS.iter().find(|group| group.name == "runtime oci");
    for check in group.iter().flat_map(|group| group.checks) {
        let is_told = findings.iter().any(|finding| finding.id == check.id);
        if let Some(fine) = check.when_fine.filter(|_| !is_told && (tried || !TRIED.contains(&check.id))) {
            findings.push(ok(check.id, fine));
        }
    }
    findings
}

/// Looks at an engine, if one would run the jobs or is there anyway.
pub(super) async fn engine(known: &Known) -> Vec<Finding> {
    let runs_jobs = known.agent.runtime == RuntimeName::Docker;
    let named = known.agent.docker_host.as_deref();
    let socket = SOCKETS.iter().find(|socket| Path::new(socket).exists());
    let endpoint = match (named, socket) {
        (Some(named), _) => named.parse::<Endpoint>(),
        (None, Some(socket)) => Ok(Endpoint::Unix(socket.into())),
        (None, None) if runs_jobs => Ok(Endpoint::default()),
        (None, None) => return Vec::new(),
    };
    let findings = match endpoint {
        Ok(endpoint) => {
            let mut options = known.agent.docker_options();
            options.endpoint = endpoint;
            if !runs_jobs {
                // It is meant for the other runtime.
                options.oci_runtime = None;
            }
            let mut findings = runtimes::docker::look(&options).await;
            let in_container = CONTAINER_MARKS.iter().any(|mark| Path::new(mark).exists());
            let found = room::look(&options.workspaces);
            findings.extend(runs_jobs.then(|| workspaces(&options, &found, in_container)));
            findings
        }
        Err(fault) => {
            let told = fault.to_string();
            let (seen, remedy) = told.rsplit_once("; ").unwrap_or((&told, "correct DOCKER_HOST"));
            vec![fatal("engine.reachable", seen, remedy)]
        }
    };
    if runs_jobs { findings } else { findings.into_iter().map(beside).collect() }
}

/// Whether what is made for a job is where the engine looks for it.
fn workspaces(options: &DockerOptions, found: &State, in_container: bool) -> Finding {
    const ID: &str = "engine.workspaces";
    let dir = options.workspaces.display();
    if let State::Bad(why) = found {
        return fatal(
            ID,
            format!("workspaces can't be made in {dir}: {why}"),
            "let TMPDIR name a directory that can be written to",
        );
    }
    match options.host_mount_path.as_deref() {
        Some(path) if !path.starts_with('/') => fatal(
            ID,
            format!("EXECUTOR_DOCKER_HOST_MOUNT_PATH is {path:?}, which is no absolute path"),
            "let it name the directory of the engine's host that TMPDIR is here",
        ),
        Some(path) => ok(ID, format!("workspaces are made in {dir}, which the engine's host has at {path}")),
        // A mark is no proof: the engine may be in the same container, or have the directory at the same path.
        None if in_container => info(
            ID,
            format!(
                "executor seems to run in a container, and workspaces are made in {dir}: an engine outside must have the \
                 same directory at the same path, or EXECUTOR_DOCKER_HOST_MOUNT_PATH tell its own"
            ),
        ),
        None => ok(ID, format!("workspaces are made in {dir}, where the engine finds them")),
    }
}

/// What is said of an engine that runs no jobs is only worth knowing.
fn beside(finding: Finding) -> Finding {
    match finding.severity {
        Severity::Ok | Severity::Info => finding,
        Severity::Warning | Severity::Fatal => info(finding.id, format!("{}; it runs no jobs", finding.seen)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runtime_is_silent_of_is_fine() {
        let missing = warning("cgroup.pids", "there is no pids controller", "delegate it");
        let looked =
            Looked { version: Some("crun version 1.8.1".to_owned()), findings: vec![missing.clone()] };
        let findings = with_what_is_fine(looked, false);
        let of = |id: &str| findings.iter().filter(|finding| finding.id == id).collect::<Vec<_>>();
        assert_eq!(of("cgroup.pids"), [&missing]);
        assert_eq!(of("cgroup.memory")[0].severity, Severity::Ok);
        assert_eq!(of("oci.version")[0].severity, Severity::Ok);
        assert!(TRIED.iter().all(|id| of(id).is_empty()), "what was not tried is not fine");
    }

    #[test]
    fn workspaces_must_be_where_the_engine_looks() {
        let helper = runtimes::oci::Helper { program: "/nowhere".into(), args: Vec::new() };
        let mut options = DockerOptions::new("/", "/scratch", helper);
        let severity = |options: &DockerOptions, found: &State, in_container: bool| {
            workspaces(options, found, in_container).severity
        };
        assert_eq!(severity(&options, &State::There, false), Severity::Ok);
        assert_eq!(severity(&options, &State::There, true), Severity::Info);
        assert_eq!(severity(&options, &State::Bad("no".to_owned()), false), Severity::Fatal);
        options.host_mount_path = Some("/mnt/scratch".to_owned());
        assert_eq!(severity(&options, &State::There, true), Severity::Ok);
        options.host_mount_path = Some("scratch".to_owned());
        assert_eq!(severity(&options, &State::There, true), Severity::Fatal);
    }

    #[test]
    fn an_engine_that_runs_no_jobs_is_no_fault() {
        let finding = beside(fatal("engine.reachable", "nobody answers", "start it"));
        assert_eq!((finding.severity, finding.remedy.as_str()), (Severity::Info, ""));
    }
}
