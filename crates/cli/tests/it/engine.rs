//! Jobs in containers of an engine.

use crate::leftovers::{leftovers, nothing_is_left};
use crate::support::{Process, System, text};
use std::path::Path;
use std::process::{Child, Command};
use tempfile::TempDir;
use testkit::{Engine, EngineKind};

/// A system whose agents have an engine.
pub(crate) struct WithEngine {
    pub(crate) system: System,
    engine: Engine,
    /// Where workspaces are made.
    work: TempDir,
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl WithEngine {
    pub(crate) fn start(test: &str, env: &[(&str, &str)]) -> Option<Self> {
        Self::serving(test, &[], env)
    }

    /// The same, with a server that gets `server_args` besides.
    pub(crate) fn serving(test: &str, server_args: &[&str], env: &[(&str, &str)]) -> Option<Self> {
        let engine = Engine::shared(test, EngineKind::Docker)?;
        let Some(busybox) = testkit::image::busybox_image() else {
            testkit::missing_part(test, "a static busybox");
            return None;
        };
        engine.load("busybox", &busybox);
        let work = tempfile::tempdir().unwrap();
        let (host, tmpdir) = (engine.host(), work.path().to_str().unwrap().to_owned());
        let shared = (!engine.knows_what_was_loaded()).to_string();
        let own = [
            ("EXECUTOR_RUNTIME", "docker"),
            ("DOCKER_HOST", &host),
            ("TMPDIR", &tmpdir),
            ("EXECUTOR_DOCKER_SHARED_IMAGES", &shared),
        ];
        let env: Vec<_> = own.into_iter().chain(env.iter().copied()).collect();
        Some(Self { system: System::serving(test, server_args, &env)?, engine, work })
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
    // In the network that an engine gives where nobody chose another.
    let env = [("EXECUTOR_DOCKER_ADDITIONAL_MOUNTS", "type=tmpfs,dst=/fast")];
    let Some(mut with) = WithEngine::start("a_job_runs_in_containers_of_an_engine", &env) else { return };
    let served = tempfile::tempdir().unwrap();
    std::fs::write(served.path().join("greeting"), "over-the-network\n").unwrap();
    let server = with
        .engine
        .in_network("/bin/busybox")
        .args(["httpd", "-f", "-p", "4997", "-h"])
        .arg(served.path())
        .spawn();
    let _server = Ended(server.unwrap());
    let system = &mut with.system;
    let agent = system.agent();
    let (path, [first, _]) = system.git_repository();
    system.ok(&["repo", "add", "app", &path]);
    let fetch = "host=$(ip route | awk '/^default/ { print $3 }'); \
                 for i in 1 2 3 4 5; do wget -qO- http://$host:4997/greeting && break; sleep 0.2; done; \
                 cat sub/file.txt; exit 7";
    let steps = ["echo changed >> sub/file.txt; grep -c ' /fast ' /proc/mounts", fetch];
    let args = ["job", "run", "--repo", "app", "--rev", &first, "--image", "busybox"];
    let steps: Vec<&str> = steps.iter().flat_map(|step| ["--step", step]).collect();
    let output = system.run(&[&args[..], &steps].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("1\n") && printed.contains("one\nchanged\n"), "{}", text(&output));
    assert!(printed.contains("over-the-network\n"), "{}", text(&output));
    let job = system.newest();
    assert_eq!((job["state"].as_str(), job["reason"].as_str()), (Some("failed"), Some("exit_code")));
    assert_eq!(job["steps"][1]["exitCode"], 7);
    agent.stop();
    with.nothing_is_left();
}

/// All that an agent has started itself: its guardian, its nursery.
fn children(agent: &Process) -> Vec<u32> {
    let file = format!("/proc/{pid}/task/{pid}/children", pid = agent.pid());
    let children = std::fs::read_to_string(file).unwrap();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn what_an_agent_with_an_engine_has_on_the_host_is_found_and_goes() {
    let env = [("EXECUTOR_DOCKER_NETWORK", "none")];
    let test = "what_an_agent_with_an_engine_has_on_the_host_is_found_and_goes";
    let Some(mut with) = WithEngine::start(test, &env) else { return };
    let system = &mut with.system;
    let agent = system.agent();
    let id = system.submit("trap '' TERM; echo begun; while :; do sleep 1; done");
    system.wait_for_log(&id, "begun");
    let found = leftovers(system.dir.path());
    let is_found = |pid: u32| found.iter().any(|line| line.starts_with(&format!("process {pid} ")));
    let of_job = system.supervisor_of(&id).unwrap();
    let others = [system.nurseries(), system.guardians(), system.supervisors(), children(&agent)].concat();
    assert!(others.contains(&of_job) && others.len() >= 5, "{others:?}");
    for pid in [agent.pid()].into_iter().chain(others) {
        assert!(is_found(pid), "{pid} is not in {found:#?}");
    }
    system.ok(&["job", "cancel", &id]);
    system.wait_for_state(&id, "canceled");
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
    let told = tempfile::NamedTempFile::new().unwrap();
    let mut command = system.agent_command();
    command.stderr(told.reopen().unwrap());
    // Who asks it to leave meanwhile need not wait for the rest of the minute.
    let mut waiting = Process::start(command, "waiting 60 s for the engine: ");
    waiting.signal("TERM");
    assert!(!waiting.wait_exit().success());
    let said = std::fs::read_to_string(told.path()).unwrap();
    assert!(said.contains("engine.reachable") && said.contains("unix:///nowhere/docker.sock"), "{said}");
    let nonsense = system.agent_command().env("DOCKER_HOST", "docker.sock").output().unwrap();
    let said = String::from_utf8_lossy(&nonsense.stderr);
    assert!(said.contains("invalid DOCKER_HOST \"docker.sock\""), "{said}");
}

#[test]
fn an_engine_that_starts_after_the_agent_is_waited_for() {
    let test = "an_engine_that_starts_after_the_agent_is_waited_for";
    let Some(mut with) = WithEngine::start(test, &[("EXECUTOR_DOCKER_NETWORK", "none")]) else { return };
    let late = with.work.path().parent().unwrap().join(format!("late-{}.sock", std::process::id()));
    let mut command = with.system.agent_command();
    // By the documented switch alone, as an instance's operator has it.
    command.env_remove("EXECUTOR_RUNTIME").env("EXECUTOR_USE_FIRECRACKER", "false");
    command.env("DOCKER_HOST", format!("unix://{}", late.display()));
    let agent = Process::start(command, "waiting 60 s for the engine: ");
    std::os::unix::fs::symlink(with.engine.host().trim_start_matches("unix://"), &late).unwrap();
    agent.wait_for_line("agent ");
    let output = with.system.job("echo not-too-late");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    agent.stop();
    std::fs::remove_file(&late).unwrap();
    with.nothing_is_left();
}

#[test]
fn a_disk_limit_that_the_engine_can_not_keep_is_a_warning_and_strictly_a_refusal() {
    let test = "a_disk_limit_that_the_engine_can_not_keep_is_a_warning_and_strictly_a_refusal";
    let env = [("EXECUTOR_DOCKER_NETWORK", "none")];
    let Some(mut with) = WithEngine::start(test, &env) else { return };
    let by_default = |system: &mut System| {
        let mut command = system.agent_command();
        command.env_remove("EXECUTOR_FIRECRACKER_DISK_SPACE");
        command
    };
    let refused = by_default(&mut with.system).env("EXECUTOR_STRICT", "true").output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    let said = String::from_utf8_lossy(&refused.stderr);
    for part in ["limit.disk", "EXECUTOR_STRICT", "EXECUTOR_FIRECRACKER_DISK_SPACE=0"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    let mut without_limit = by_default(&mut with.system);
    without_limit.env("EXECUTOR_STRICT", "true").env("EXECUTOR_FIRECRACKER_DISK_SPACE", "0");
    let strict = Process::start(without_limit, "agent ");
    // It leaves in good order once it has reached its control plane.
    let output = with.system.job("echo runs-strictly");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    strict.stop();

    let lenient = Process::start(by_default(&mut with.system), "agent ");
    let warnings = |lines: &[String]| {
        lines.iter().filter(|line| line.starts_with("warning: disk limits can't be enforced: ")).count()
    };
    assert_eq!(warnings(&lenient.lines()), 1, "{:?}", lenient.lines());
    let output = with.system.job("echo runs-without");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    lenient.stop();
    with.nothing_is_left();
}

/// The same command where no engine listens where engines do.
pub(crate) fn without_engines(command: &Command) -> Command {
    let mut hidden = Command::new("unshare");
    hidden.args(["--mount", "/bin/sh", "-c", r#"mount -t tmpfs tmpfs /run && exec "$0" "$@""#]);
    hidden.arg(command.get_program()).args(command.get_args()).env_clear();
    hidden.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    hidden
}

/// Lets Podman listen where it does for a user whose `XDG_RUNTIME_DIR` is `run`; tells its address there.
pub(crate) fn with_podman(engine: &Engine, run: &Path) -> String {
    let socket = run.join("podman/podman.sock");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(engine.host().trim_start_matches("unix://"), &socket).unwrap();
    format!("unix://{}", socket.display())
}

#[test]
fn podman_is_found_where_it_listens_and_an_engine_that_is_missing_is_refused() {
    let test = "podman_is_found_where_it_listens_and_an_engine_that_is_missing_is_refused";
    let Some(engine) = Engine::shared(test, EngineKind::Podman) else { return };
    let Some(mut system) = System::with(test, &[("EXECUTOR_USE_FIRECRACKER", "false")]) else { return };
    let mut validated = |env: &[(&str, &str)]| {
        let mut agent = system.agent_command();
        agent.env_remove("EXECUTOR_RUNTIME").envs(env.iter().copied());
        let mut validate = Command::new(agent.get_program());
        validate.arg("validate").envs(agent.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = without_engines(&validate).output().unwrap();
        (output.status.code(), text(&output))
    };
    let (code, said) = validated(&[]);
    assert_eq!(code, Some(1), "{said}");
    for part in ["engine.reachable", "/var/run/docker.sock", "DOCKER_HOST", "EXECUTOR_RUNTIME=oci"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    let (code, meant) = validated(&[("EXECUTOR_RUNTIME", "oci")]);
    assert!(code == Some(0) && meant.contains("\nruntime oci: "), "{meant}");

    let run = tempfile::tempdir().unwrap();
    let at = with_podman(&engine, run.path());
    let (code, said) = validated(&[("XDG_RUNTIME_DIR", run.path().to_str().unwrap())]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("runtime docker: Podman ") && said.contains(&format!(" at {at}, ")), "{said}");
}
