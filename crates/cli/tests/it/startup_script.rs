//! A script of the operator's that each step runs first, in its container.

use crate::engine::WithEngine;
use crate::leftovers::nothing_is_left;
use crate::support::{System, system, text};
use std::path::PathBuf;
use std::process::Output;

/// Says who runs it, prepares something that only this container has, and fails where it is asked to.
const SCRIPT: &str = "\
echo \"prepared by $0 as $(id -u) for $WORD\"
test ! -e /tmp/prepared && echo yes > /tmp/prepared
exit \"${FAIL:-0}\"
";

/// The script's file, on the host.
fn script(system: &System) -> PathBuf {
    let path = system.dir.path().join("prepare.sh");
    std::fs::write(&path, SCRIPT).unwrap();
    path
}

/// A job of two steps with these variables.
fn job(system: &System, env: &[&str]) -> Output {
    let env = env.iter().flat_map(|pair| ["--env", pair]);
    let steps = ["cat /tmp/prepared; echo own-1", "cat /tmp/prepared; echo own-2"];
    let steps = steps.into_iter().flat_map(|step| ["--step", step]);
    let args: Vec<&str> = ["job", "run", "--image", "busybox"].into_iter().chain(env).chain(steps).collect();
    system.run(&args)
}

/// It runs before both steps, and one where it fails goes no further.
fn each_step_runs_it(system: &mut System) {
    let path = script(system);
    let mut command = system.agent_command();
    command.env("EXECUTOR_STEP_STARTUP_SCRIPT_PATH", &path);
    let agent = crate::support::Process::start(command, "agent ");
    // The agent goes on with what it found when it was started.
    std::fs::write(&path, "exit 9\n").unwrap();

    let output = job(system, &["WORD=everybody"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    let prepared = "prepared by /etc/executor/startup-script as 0 for everybody";
    assert_eq!(said.matches(prepared).count(), 2, "{said}");
    assert!(said.contains("yes\nown-1\n") && said.contains("yes\nown-2\n"), "{said}");

    let output = job(system, &["FAIL=5"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(!text(&output).contains("own-1"), "{}", text(&output));
    let ended = system.newest();
    assert_eq!((&ended["reason"], &ended["end"]["exitCode"]), (&"exit_code".into(), &5.into()), "{ended}");
    let message = ended["message"].as_str().unwrap();
    let expected = "failed to run startup script: command failed with exit code 5";
    assert!(
        message.starts_with("running command \"step.docker.") && message.ends_with(expected),
        "{message}"
    );
    assert!(system.ok(&["job", "logs", &ended["id"].to_string()]).contains(expected));

    // The step's own failure is not taken for the script's.
    let output = system.job("exit 5");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let ended = system.newest();
    assert!(!ended["message"].as_str().unwrap().contains("startup script"), "{ended}");
    agent.stop();
}

#[test]
fn each_step_runs_the_operators_script_first() {
    let Some(mut system) = system("each_step_runs_the_operators_script_first") else { return };
    each_step_runs_it(&mut system);
    nothing_is_left(system.dir.path());
}

#[test]
fn each_step_in_a_container_of_an_engine_runs_the_operators_script_first() {
    let test = "each_step_in_a_container_of_an_engine_runs_the_operators_script_first";
    let Some(mut with) = WithEngine::start(test, &[("EXECUTOR_DOCKER_NETWORK", "none")]) else { return };
    each_step_runs_it(&mut with.system);
    with.nothing_is_left();
}
