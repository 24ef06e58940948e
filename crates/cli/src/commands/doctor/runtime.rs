//! What runs the jobs: the daemonless runtime, and engines with a daemon.

use super::catalog;
use super::finding::{Finding, Severity, fatal, info, ok, warning};
use super::from_jobs::Goal;
use super::known::Known;
use super::room::{self, State};
use super::versions;
use crate::agent_config;
use crate::env::RuntimeName;
use crate::exit::Failure;
use crate::paths;
use runtimes::PrivateMounts;
use runtimes::docker::{BadEndpoint, DockerOptions, Endpoint, Sight};
use runtimes::oci::{Looked, Looking, Trial};
use std::io;
use std::time::Duration;

/// What is tried, and not only looked at.
const TRIED: [&str; 2] = ["disk.limit", "oci.users"];

/// How long the engine may take to be shown a directory.
const TRIAL_LIMIT: Duration = Duration::from_secs(2);

const CONDITION: &str =
    "Its host must have that directory at the same path, or at EXECUTOR_DOCKER_HOST_MOUNT_PATH";

/// Looks at the host as an agent does when it starts. Blocking.
pub(super) fn oci(known: &Known, mounts: Result<PrivateMounts, Failure>) -> Vec<Finding> {
    if known.agent.runtime != RuntimeName::Oci {
        return Vec::new();
    }
    let scratch = tempfile::Builder::new().prefix("executor-doctor-").tempdir();
    let images = paths::images(&known.data_dir);
    let images = if images.is_dir() { &images } else { &known.data_dir };
    // Beside each other: overlayfs takes no layers of which one is in the other.
    let directories =
        scratch.and_then(|disk| Ok((disk, room::scratch(&known.data_dir)?, room::scratch(images)?)));
    let helper = agent_config::helper();
    let (trial, mounts) = match (mounts, &directories) {
        (Ok(mounts), Ok((disk, data, images))) => {
            let (disk, data, images) = (disk.path(), data.path(), images.path());
            let fine = ok("oci.mounts", "mounts of jobs are made in a namespace of their own");
            (Some(Trial { mounts, disk, data, images, helper: &helper }), fine)
        }
        (Err(fault), _) => (None, no_mounts(&fault)),
        (_, Err(fault)) => (None, no_directory(fault)),
    };
    let agent = &known.agent;
    let goal = Goal::of(known);
    let mut looked = runtimes::oci::look(Looking {
        runtime: agent.oci_runtime.as_deref(),
        search_path: &agent.search_path,
        users: agent.users,
        network: &agent.network,
        strict: agent.strict,
        visited: goal.as_ref().map(|goal| (goal.host.as_str(), goal.port)),
        trial,
    });
    let tried = trial.is_some();
    if let Some(Trial { disk, .. }) = trial {
        let _ = rustix::mount::unmount(disk, rustix::mount::UnmountFlags::DETACH);
    }
    let (visit, network_was_tried) = (looked.visit.take(), looked.has("oci.network"));
    let mut findings = with_what_is_fine(looked, tried);
    findings
        .extend(goal.filter(|_| network_was_tried).into_iter().flat_map(|goal| goal.judge(visit.clone())));
    findings.push(mounts);
    findings
}

fn no_mounts(fault: &Failure) -> Finding {
    let general = "run executor as root, or in a container that is privileged or has CAP_SYS_ADMIN";
    let (seen, remedy) = fault.message.rsplit_once("; ").unwrap_or((&fault.message, general));
    fatal("oci.mounts", seen, remedy)
}

fn no_directory(fault: &io::Error) -> Finding {
    warning(
        "oci.mounts",
        format!("no directory for a trial can be made: {fault}"),
        "let TMPDIR name a directory that can be written to",
    )
}

/// Adds what the runtime is silent of because nothing is wrong with it.
fn with_what_is_fine(looked: Looked, tried: bool) -> Vec<Finding> {
    let Looked { version, mut findings, .. } = looked;
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
    let findings = match meant(known) {
        None => return Vec::new(),
        Some(Ok(mut options)) => {
            if !runs_jobs {
                // It is meant for the other runtime.
                options.oci_runtime = None;
            }
            runtimes::docker::look(&options).await
        }
        Some(Err(fault)) => {
            let told = fault.to_string();
            let (seen, remedy) = told.rsplit_once("; ").unwrap_or((&told, "correct DOCKER_HOST"));
            vec![fatal("engine.reachable", seen, remedy)]
        }
    };
    if runs_jobs { with_what_jobs_reach(known, findings) } else { findings.into_iter().map(beside).collect() }
}

fn with_what_jobs_reach(known: &Known, mut findings: Vec<Finding>) -> Vec<Finding> {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let options = known.agent.docker_options();
    findings.extend(Goal::of(known).into_iter().flat_map(|goal| goal.judge_engine(&options, &hosts)));
    findings
}

/// The engine that is meant, if one is.
fn meant(known: &Known) -> Option<Result<DockerOptions, BadEndpoint>> {
    let endpoint = match known.agent.docker_host.as_deref() {
        Some(address) => address.parse::<Endpoint>(),
        None if known.agent.runtime == RuntimeName::Docker => Ok(Endpoint::default()),
        None => return None,
    };
    Some(endpoint.map(|endpoint| {
        let mut options = known.agent.docker_options();
        options.endpoint = endpoint;
        options
    }))
}

/// Looks at the directories that the engine's containers fill, if one runs the jobs.
pub(super) async fn directories(known: &Known) -> Vec<Finding> {
    let Some(Ok(options)) = meant(known).filter(|_| known.agent.runtime == RuntimeName::Docker) else {
        return Vec::new();
    };
    let found = room::look(&options.workspaces);
    let mut findings = vec![workspaces(&options, &found, &sight(&options, &found).await)];
    findings.extend(room::beside(known, &runtimes::docker::fills(&options).await));
    findings
}

/// Has the engine look for a directory among the workspaces.
async fn sight(options: &DockerOptions, found: &State) -> Sight {
    if *found != State::There {
        return Sight::Unknown("the directory is not there yet".to_owned());
    }
    let tried = tokio::time::timeout(TRIAL_LIMIT, runtimes::docker::sees_workspaces(options)).await;
    tried.unwrap_or_else(|_| Sight::Unknown("the engine did not answer in time".to_owned()))
}

/// Whether what is made for a job is where the engine looks for it.
fn workspaces(options: &DockerOptions, found: &State, sight: &Sight) -> Finding {
    const ID: &str = "engine.workspaces";
    const REMEDY: &str = "let TMPDIR name a directory that the engine's host has at the same path, or \
                          EXECUTOR_DOCKER_HOST_MOUNT_PATH tell where it has it";
    let dir = options.workspaces.display();
    if let State::Bad(why) = found {
        return fatal(
            ID,
            format!("workspaces can't be made in {dir}: {why}"),
            "let TMPDIR name a directory that can be written to",
        );
    }
    if let Some(path) = options.host_mount_path.as_deref().filter(|path| !path.starts_with('/')) {
        return fatal(
            ID,
            format!("EXECUTOR_DOCKER_HOST_MOUNT_PATH is {path:?}, which is no absolute path"),
            "let it name the directory of the engine's host that TMPDIR is here",
        );
    }
    match sight {
        Sight::Seen(path) => {
            ok(ID, format!("workspaces are made in {dir}, and the engine found one of them at {path}"))
        }
        Sight::Unseen(path) => fatal(
            ID,
            format!(
                "workspaces are made in {dir}, and the engine's host does not have one of them at {path}"
            ),
            REMEDY,
        ),
        Sight::Unknown(why) => info(
            ID,
            format!(
                "workspaces are made in {dir}; whether the engine finds them there is not known: {why}. {CONDITION}"
            ),
        ),
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
        let looked = Looked {
            version: Some("crun version 1.8.1".to_owned()),
            findings: vec![missing.clone()],
            visit: None,
        };
        let findings = with_what_is_fine(looked, false);
        let of = |id: &str| findings.iter().filter(|finding| finding.id == id).collect::<Vec<_>>();
        assert_eq!(of("cgroup.pids"), [&missing]);
        assert_eq!(of("cgroup.memory")[0].severity, Severity::Ok);
        assert_eq!(of("oci.version")[0].severity, Severity::Ok);
        assert!(TRIED.iter().all(|id| of(id).is_empty()), "what was not tried is not fine");
    }

    #[test]
    fn workspaces_must_be_where_the_engine_looks() {
        let helper = runtimes::oci::Helper::new("/nowhere", Vec::new());
        let mut options = DockerOptions::new("/", "/scratch", helper);
        let [seen, unseen, unknown] =
            [Sight::Seen, Sight::Unseen, Sight::Unknown].map(|sight| sight("what it was".to_owned()));
        let severity = |options: &DockerOptions, found: &State, sight: &Sight| {
            let finding = workspaces(options, found, sight);
            assert_eq!(finding.severity == Severity::Fatal, !finding.remedy.is_empty());
            finding.severity
        };
        for path in [None, Some("/mnt/scratch")] {
            options.host_mount_path = path.map(str::to_owned);
            assert_eq!(severity(&options, &State::There, &seen), Severity::Ok);
            assert_eq!(severity(&options, &State::There, &unseen), Severity::Fatal);
            assert_eq!(severity(&options, &State::There, &unknown), Severity::Info);
            assert_eq!(severity(&options, &State::Bad("no".to_owned()), &unknown), Severity::Fatal);
        }
        options.host_mount_path = Some("scratch".to_owned());
        assert_eq!(severity(&options, &State::There, &seen), Severity::Fatal);
    }

    #[test]
    fn an_engine_that_runs_no_jobs_is_no_fault() {
        let finding = beside(fatal("engine.reachable", "nobody answers", "start it"));
        assert_eq!((finding.severity, finding.remedy.as_str()), (Severity::Info, ""));
    }
}
