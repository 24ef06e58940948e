use crate::harness::{
    Bench, GONE_LIMIT, IMAGE, cgroups_of, helper, loops_with, names_in, outlasts_requests_to_end, path_of,
    processes_with, wait_until_none,
};
use runtimes::Runtime;
use runtimes::oci::{Helper, OciOptions, OciRuntime, OwnUsers};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// `O_CLOEXEC`.
const CLOSED_ON_EXEC: i32 = 0o2_000_000;

/// An agent in the middle of a step.
pub(crate) struct Agent {
    child: Child,
    guardian: u32,
    dir: PathBuf,
    pub(crate) owner: String,
}

impl Agent {
    /// Where it keeps its state, of which nothing may stay.
    pub(crate) fn state(&self) -> String {
        self.dir.join("state").display().to_string()
    }

    /// Kills whoever would clean up, and then it.
    pub(crate) fn kill_all(&mut self) {
        kill(self.guardian);
        kill(self.child.id());
        self.child.wait().unwrap();
    }
}

pub(crate) fn start(bench: &Bench, name: &str, family: &str) -> Agent {
    let (dir, owner) = (bench.dir.clone(), format!("{}-{name}", bench.owner));
    let script = "setsid sleep 600 & echo running; exec sleep 600";
    let users = if bench.users == OwnUsers::Never { "host" } else { "own" };
    let network = format!("{:?}", bench.network.by).to_lowercase();
    let mut child = Command::new(helper().program)
        .arg("agent")
        .env("SECRET_OF_AN_AGENT", "s3cr3t")
        .arg(&dir)
        .args([&owner, &path_of(family), IMAGE, script, users, &network])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let guardian = lines.next().and_then(|line| line.strip_prefix("guardian ")?.parse().ok()).unwrap();
    assert_eq!(lines.next().as_deref(), Some("running"));
    Agent { child, guardian, dir, owner }
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

/// What a guardian that is a copy of its agent has of it: neither the environment with its secrets nor anything
/// that is open.
fn known_by(guardian: u32) -> Vec<String> {
    let process = PathBuf::from(format!("/proc/{guardian}"));
    let environment = std::fs::read(process.join("environ")).unwrap();
    let words = environment.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let words = words.map(|word| String::from_utf8_lossy(word).into_owned());
    // Whoever runs this test may have left descriptors to all that it starts.
    let is_handed_down = |number: &String| {
        let own = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let flags = own.lines().find_map(|line| line.strip_prefix("flags:"));
        flags.is_some_and(|flags| i32::from_str_radix(flags.trim(), 8).unwrap() & CLOSED_ON_EXEC == 0)
    };
    let open = names_in(&process.join("fd")).into_iter().filter(|number| {
        let is = std::fs::read_link(process.join("fd").join(number)).unwrap_or_default();
        let is = is.to_string_lossy();
        match number.as_str() {
            "0" => !is.starts_with("pipe:"),
            "1" | "2" => is != "/dev/null",
            _ => !is_handed_down(number),
        }
    });
    words.chain(open.map(|number| format!("descriptor {number}"))).collect()
}

pub(crate) async fn a_guardian_is_ready_when_its_agent_is(bench: &mut Bench) {
    let runtime = OciRuntime::new(bench.options(), bench.store()).unwrap();
    assert!(outlasts_requests_to_end(runtime.guardian_pid()));
    goes_before_its_agent(runtime);
}

/// What is left of a service when its main process has ended looks like a fault to whoever supervises services.
fn goes_before_its_agent(runtime: OciRuntime) {
    let guardian = PathBuf::from(format!("/proc/{}", runtime.guardian_pid()));
    assert!(guardian.exists());
    drop(runtime);
    assert!(!guardian.exists());
}

/// An agent may be killed between any two calls.
pub(crate) async fn a_guardian_is_there_before_anything_that_it_would_remove(bench: &mut Bench) {
    let (state_dir, seen) = (bench.dir.join("state-of-another"), bench.dir.join("seen"));
    let helper = guardian_that_lists(&state_dir.join("instances"), &seen, &bench.dir);
    let options = OciOptions { state_dir, helper, ..bench.options() };
    let refused = OciRuntime::new(options, bench.store()).map(drop).unwrap_err();
    assert!(refused.to_string().contains("start the guardian"), "{refused}");
    assert_eq!(std::fs::read_to_string(seen).unwrap(), "");
}

/// What writes down what is there in `dir`, and leaves, when it should become a guardian.
pub(crate) fn guardian_that_lists(dir: &Path, seen: &Path, place: &Path) -> Helper {
    let script = format!("ls {} > {} 2> /dev/null; exit 1", dir.display(), seen.display());
    let program = place.join("lists");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Helper::new(program, Vec::new())
}

pub(crate) async fn the_guardian_removes_all_of_a_killed_agent(bench: &mut Bench) {
    let mut agent = start(bench, "a", bench.family);
    let has_its_own = !cgroups_of(&agent.owner).is_empty() && !loops_with(&agent.state()).is_empty();
    assert_ne!(has_its_own, bench.is_of_ordinary_user());
    wait_until_none("secrets", || known_by(agent.guardian));
    assert!(outlasts_requests_to_end(agent.guardian));
    kill_process(Pid::from_raw(agent.guardian.cast_signed()).unwrap(), Signal::TERM).unwrap();
    kill(agent.child.id());
    agent.child.wait().unwrap();
    let own = names_in(&agent.dir.join("state/instances"));
    let begun = Instant::now();
    while !cgroups_of(&agent.owner).is_empty()
        || names_in(&agent.dir.join("state/instances")).len() >= own.len()
    {
        assert!(begun.elapsed() < GONE_LIMIT, "{:?}", cgroups_of(&agent.owner));
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

pub(crate) async fn reaping_removes_all_when_the_guardian_is_killed_too(bench: &mut Bench) {
    let mut agent = start(bench, "b", bench.family);
    agent.kill_all();
    let goes_on = !cgroups_of(&agent.owner).is_empty() && !processes_with(&agent.state()).is_empty();
    // What an ordinary user's agent has started goes with it.
    assert_ne!(goes_on, bench.is_of_ordinary_user());
    let options = OciOptions { owner: agent.owner.clone(), ..bench.options() };
    let successor = OciRuntime::new(options, bench.store()).unwrap();
    // The sandbox with the step, and the spare one if it was made already.
    let reaped = successor.reap().await.unwrap().sandboxes;
    assert!((1..=2).contains(&reaped), "{reaped} sandboxes");
    assert_eq!(successor.reap().await.unwrap().sandboxes, 0);
    assert_eq!(cgroups_of(&agent.owner), Vec::<String>::new());
    drop(successor);
}

pub(crate) async fn an_agent_that_lives_is_left_alone(bench: &mut Bench) {
    let mut agent = start(bench, "c", bench.family);
    let options = OciOptions { owner: agent.owner.clone(), ..bench.options() };
    let other = OciRuntime::new(options, bench.store()).unwrap();
    assert_eq!(other.reap().await.unwrap().sandboxes, 0);
    assert!(agent.child.try_wait().unwrap().is_none() && !processes_with(&agent.state()).is_empty());
    drop(other);
    kill(agent.child.id());
    agent.child.wait().unwrap();
}
