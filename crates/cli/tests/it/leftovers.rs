//! Looks afterwards whether agents left anything behind on this host.

use crate::support::{GATE, SOON, system};
use std::path::Path;
use std::time::Instant;
pub(crate) use testkit::leftovers_of;

/// Fails unless everything that agents below `dir` had on this host goes soon: an agent's guardian
/// outlives it by a moment.
pub(crate) fn nothing_is_left(dir: &Path) {
    let deadline = Instant::now() + SOON;
    loop {
        let found = leftovers(dir);
        if found.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left behind: {found:#?}");
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
}

/// Agents, and the processes, namespaces, mounts, loop devices, control groups, users and state files of their jobs.
pub(crate) fn leftovers(dir: &Path) -> Vec<String> {
    ["agent-data", "agent-data-elsewhere"].iter().flat_map(|data| leftovers_of(&dir.join(data))).collect()
}

#[test]
fn what_a_running_job_has_on_the_host_is_found_and_goes() {
    let Some(mut system) = system("what_a_running_job_has_on_the_host_is_found_and_goes") else { return };
    let agent = system.agent();
    let id = system.submit(&format!("echo begun; {GATE}"));
    system.wait_for_log(&id, "begun");
    let found = leftovers(system.dir.path());
    let step =
        |line: &&String| line.starts_with("process ") && line.contains("pid:[") && line.contains("net:[");
    assert!(found.iter().any(|line| step(&line)), "a step has namespaces of its own: {found:#?}");
    for kind in ["mount ", "loop device ", "control group ", "users ", "state of an agent"] {
        assert!(found.iter().any(|line| line.starts_with(kind)), "no {kind}in {found:#?}");
    }
    system.open_gates(&agent);
    system.wait_for_state(&id, "completed");
    agent.stop();
    nothing_is_left(system.dir.path());
}
