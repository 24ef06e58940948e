//! An agent as the first process of a container.

use crate::leftovers::nothing_is_left;
use crate::support::{GATE, Process, SOON, system, wait};
use std::path::Path;
use std::process::Command;

/// The processes that `pid` started or was left with.
fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn is_called(pid: u32, name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
}

#[test]
fn orphans_of_a_container_are_taken_note_of() {
    let Some(mut system) = system("orphans_of_a_container_are_taken_note_of") else { return };
    let agent = system.agent_command();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(agent.get_program());
    command.args(agent.get_args());
    for (name, value) in agent.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut container = Process::start(command, "agent ");
    let [first] = children(container.pid())[..] else { panic!("unshare has one child") };

    let target = first.to_string();
    let script = ["sh", "-c", "sleep 987654 & exit"];
    let left = Command::new("nsenter").args(["--pid", "--target", &target]).args(script).status().unwrap();
    assert!(left.success());
    let orphan = wait(SOON, "the orphan to be the first process's", || {
        children(first).into_iter().find(|pid| is_called(*pid, "sleep"))
    });
    crate::adoption::kill(orphan);
    let dir = format!("/proc/{orphan}");
    wait(SOON, "the orphan to be taken note of", || (!Path::new(&dir).exists()).then_some(()));

    // Requests are passed on, once: the job may end.
    let id = system.submit(&format!("echo begun; {GATE}"));
    system.wait_for_log(&id, "begun");
    let status = Command::new("kill").args(["-s", "TERM", &target]).status().unwrap();
    assert!(status.success());
    container.wait_for_line("draining: ");
    system.open_gates(&container);
    system.wait_for_state(&id, "completed");
    assert!(container.wait_exit().success());
    nothing_is_left(system.dir.path());
}
