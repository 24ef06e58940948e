//! Jobs in containers of an engine.

use crate::leftovers::nothing_is_left;
use crate::support::{System, text};
use tempfile::TempDir;
use testkit::{Engine, EngineKind};

/// A system whose agents have an engine.
pub(crate) struct WithEngine {
    pub(crate) system: System,
    engine: Engine,
    /// Where workspaces are made.
    work: TempDir,
}

impl WithEngine {
    pub(crate) fn start(test: &str, env: &[(&str, &str)]) -> Option<Self> {
        let engine = Engine::shared(test, EngineKind::Docker)?;
        let Some(busybox) = testkit::image::busybox_image() else {
            testkit::missing_part(test, "a static busybox");
            return None;
        };
        engine.load("busybox", &busybox);
        let work = tempfile::tempdir().unwrap();
        let (host, tmpdir) = (engine.host(), work.path().to_str().unwrap().to_owned());
        let own = [("EXECUTOR_RUNTIME", "docker"), ("DOCKER_HOST", &host), ("TMPDIR", &tmpdir)];
        let env: Vec<_> = own.into_iter().chain(env.iter().copied()).collect();
        Some(Self { system: System::with(test, &env)?, engine, work })
    }

    /// The containers of the system's agents.
    pub(crate) fn containers(&self) -> Vec<String> {
        let owner = self.system.dir.path().join("agent-data/agent/docker/owner");
        let filter = format!("label=executor.owner={}", std::fs::read_to_string(owner).unwrap());
        let told = self.engine.told(&["ps", "--all", "--quiet", "--filter", &filter]);
        told.lines().map(str::to_owned).collect()
    }

    /// No container and no workspace of the system's agents, which have left.
    pub(crate) fn nothing_is_left(&self) {
        assert_eq!(self.containers(), Vec::<String>::new());
        assert_eq!(std::fs::read_dir(self.work.path()).unwrap().count(), 0);
        nothing_is_left(self.system.dir.path());
    }
}

#[test]
fn a_job_runs_in_containers_of_an_engine() {
    let env =
        [("EXECUTOR_DOCKER_NETWORK", "none"), ("EXECUTOR_DOCKER_ADDITIONAL_MOUNTS", "type=tmpfs,dst=/fast")];
    let Some(mut with) = WithEngine::start("a_job_runs_in_containers_of_an_engine", &env) else { return };
    let system = &mut with.system;
    let agent = system.agent();
    let (path, [first, _]) = system.git_repository();
    system.ok(&["repo", "add", "app", &path]);
    let steps = ["echo changed >> sub/file.txt; grep -c ' /fast ' /proc/mounts", "cat sub/file.txt; exit 7"];
    let args = ["job", "run", "--repo", "app", "--rev", &first, "--image", "busybox"];
    let steps: Vec<&str> = steps.iter().flat_map(|step| ["--step", step]).collect();
    let output = system.run(&[&args[..], &steps].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("1\n") && printed.contains("one\nchanged\n"), "{}", text(&output));
    let job = system.newest();
    assert_eq!((job["state"].as_str(), job["reason"].as_str()), (Some("failed"), Some("exit_code")));
    assert_eq!(job["steps"][1]["exitCode"], 7);
    agent.stop();
    with.nothing_is_left();
}

#[test]
fn a_job_that_is_canceled_takes_its_container_along() {
    let env = [("EXECUTOR_DOCKER_NETWORK", "none")];
    let test = "a_job_that_is_canceled_takes_its_container_along";
    let Some(mut with) = WithEngine::start(test, &env) else { return };
    let system = &mut with.system;
    let agent = system.agent();
    let id = system.submit("trap '' TERM; echo begun; while :; do sleep 1; done");
    system.wait_for_log(&id, "begun");
    system.ok(&["job", "cancel", &id]);
    let job = system.wait_for_state(&id, "canceled");
    assert_eq!(job["reason"], "canceled");
    agent.stop();
    with.nothing_is_left();
}

#[test]
fn an_engine_that_is_not_there_stops_the_start() {
    let env = [("EXECUTOR_RUNTIME", "docker"), ("DOCKER_HOST", "unix:///nowhere/docker.sock")];
    let Some(mut system) = System::with("an_engine_that_is_not_there_stops_the_start", &env) else { return };
    let output = system.agent_command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("engine.reachable") && said.contains("unix:///nowhere/docker.sock"), "{said}");
    let nonsense = system.agent_command().env("DOCKER_HOST", "docker.sock").output().unwrap();
    let said = String::from_utf8_lossy(&nonsense.stderr);
    assert!(said.contains("invalid DOCKER_HOST \"docker.sock\""), "{said}");
}
