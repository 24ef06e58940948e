//! An agent that is killed in the middle of a step.

use super::bench::{containers_of, options, owner, run, wait_until_none};
use crate::harness::{Bench, IMAGE, helper, names_in, outlasts_requests_to_end, processes_with};
use crate::suite::death::guardian_that_lists;
use runtimes::Runtime;
use runtimes::docker::DockerRuntime;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use testkit::EngineKind;

/// An agent in the middle of a step.
struct Agent {
    child: Child,
    guardian: u32,
    dir: PathBuf,
}

impl Agent {
    fn start(bench: &Bench, name: &str) -> Self {
        let dir = bench.dir.join(name);
        std::fs::create_dir(&dir).unwrap();
        let script = format!("setsid sleep 600 & echo {name} > /data/mark; echo running; exec sleep 600");
        let mut child = Command::new(helper().program)
            .arg("engine-agent")
            .arg(&dir)
            .args([&bench.engine().host(), IMAGE, &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let guardian = lines.next().and_then(|line| line.strip_prefix("guardian ")?.parse().ok()).unwrap();
        assert_eq!(lines.next().as_deref(), Some("running"));
        Self { child, guardian, dir }
    }

    fn kill(&mut self) {
        kill(self.child.id(), Signal::KILL);
        self.child.wait().unwrap();
    }
}

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

fn assert_gone(bench: &Bench, dir: &Path) {
    let owner = owner(dir);
    wait_until_none("containers", || containers_of(bench.engine(), &owner));
    wait_until_none("workspaces", || names_in(&dir.join("work")));
    wait_until_none("state files", || names_in(&dir.join("state/incarnations")));
}

#[test]
fn a_guardian_is_ready_when_its_agent_is() {
    run("engine::death::a_guardian_is_ready_when_its_agent_is", EngineKind::Docker, async |bench| {
        let runtime = DockerRuntime::new(options(bench.engine(), &bench.dir.join("ready"))).unwrap();
        let guardian = runtime.guardian_pid();
        assert!(outlasts_requests_to_end(guardian));
        drop(runtime);
        assert!(!Path::new(&format!("/proc/{guardian}")).exists(), "it goes before its agent");
    });
}

#[test]
fn a_guardian_is_there_before_anything_that_it_would_remove() {
    let name = "engine::death::a_guardian_is_there_before_anything_that_it_would_remove";
    run(name, EngineKind::Docker, async |bench| {
        let dir = bench.dir.join("another");
        std::fs::create_dir(&dir).unwrap();
        let seen = dir.join("seen");
        let mut options = options(bench.engine(), &dir);
        options.helper = guardian_that_lists(&dir.join("state/incarnations"), &seen, &dir);
        let refused = DockerRuntime::new(options).map(drop).unwrap_err();
        assert!(refused.to_string().contains("start the guardian"), "{refused}");
        assert_eq!(std::fs::read_to_string(seen).unwrap(), "");
    });
}

#[test]
fn the_guardian_removes_all_of_a_killed_agent() {
    run("engine::death::the_guardian_removes_all_of_a_killed_agent", EngineKind::Docker, async |bench| {
        let mut agent = Agent::start(bench, "guarded");
        assert_eq!(containers_of(bench.engine(), &owner(&agent.dir)).len(), 1);
        // What a supervisor sends to all processes of a service does not end it.
        kill(agent.guardian, Signal::TERM);
        agent.kill();
        assert_gone(bench, &agent.dir);
    });
}

#[test]
fn reaping_removes_all_when_the_guardian_is_killed_too() {
    let name = "engine::death::reaping_removes_all_when_the_guardian_is_killed_too";
    run(name, EngineKind::Docker, async |bench| {
        let mut agent = Agent::start(bench, "unguarded");
        kill(agent.guardian, Signal::KILL);
        agent.kill();
        let successor = DockerRuntime::new(options(bench.engine(), &agent.dir)).unwrap();
        assert_eq!(containers_of(bench.engine(), &owner(&agent.dir)).len(), 1);
        assert_eq!(successor.reap().await.unwrap().sandboxes, 1);
        assert_eq!(successor.reap().await.unwrap().sandboxes, 0);
        assert_eq!(containers_of(bench.engine(), &owner(&agent.dir)), Vec::<String>::new());
        drop(successor);
        assert_gone(bench, &agent.dir);
    });
}

#[test]
fn containers_without_a_state_file_are_reaped_too() {
    run("engine::death::containers_without_a_state_file_are_reaped_too", EngineKind::Docker, async |bench| {
        let mut agent = Agent::start(bench, "lost");
        kill(agent.guardian, Signal::KILL);
        agent.kill();
        std::fs::remove_dir_all(agent.dir.join("state/incarnations")).unwrap();
        let successor = DockerRuntime::new(options(bench.engine(), &agent.dir)).unwrap();
        assert_eq!(successor.reap().await.unwrap().sandboxes, 1);
        drop(successor);
        wait_until_none("containers", || containers_of(bench.engine(), &owner(&agent.dir)));
    });
}

#[test]
fn an_agent_that_lives_is_left_alone() {
    run("engine::death::an_agent_that_lives_is_left_alone", EngineKind::Docker, async |bench| {
        let mut agent = Agent::start(bench, "alive");
        let other = DockerRuntime::new(options(bench.engine(), &agent.dir)).unwrap();
        assert_eq!(other.reap().await.unwrap().sandboxes, 0);
        assert_eq!(containers_of(bench.engine(), &owner(&agent.dir)).len(), 1);
        assert!(agent.child.try_wait().unwrap().is_none());
        drop(other);
        agent.kill();
        assert_gone(bench, &agent.dir);
        let left = || processes_with(&agent.dir.display().to_string());
        wait_until_none("processes", left);
    });
}
