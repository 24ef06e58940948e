//! What makes supervisors dies like any process.

use crate::adoption::{is_whole, kill};
use crate::leftovers::nothing_is_left;
use crate::support::{SOON, System, wait};
use std::collections::BTreeSet;

/// Prints numbered lines for some seconds.
const COUNT: &str = "set +x; i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line-$i; usleep 50000; done";

#[test]
fn a_nursery_that_is_killed_is_replaced_and_takes_no_job_with_it() {
    let test = "a_nursery_that_is_killed_is_replaced_and_takes_no_job_with_it";
    let Some(mut system) = System::with(test, &[("EXECUTOR_MAXIMUM_NUM_JOBS", "3")]) else { return };
    let agent = system.agent();
    let counting = system.submit(COUNT);
    system.wait_for_log(&counting, "line-5\n");
    let first = wait(SOON, "a nursery", || system.nurseries().first().copied());
    kill(first);
    // The first is taken by the spare, if there is one already; another has to be made.
    let later = [(); 2].map(|()| system.submit("grep SigBlk /proc/self/status"));
    for id in &later {
        let job = system.wait_for_state(id, "completed");
        assert_eq!(job["attempt"], 1, "{job}");
        let log = system.ok(&["job", "logs", id]);
        assert!(log.contains("SigBlk:\t0000000000000000"), "a job hears signals: {log}");
    }
    let second = wait(SOON, "another nursery", || system.nurseries().first().copied());
    assert_ne!(second, first);
    let job = system.wait_for_state(&counting, "completed");
    assert_eq!(job["attempt"], 1, "{job}");
    is_whole(&system.ok(&["job", "logs", &counting]), 60);
    agent.stop();
    nothing_is_left(system.dir.path());
}

/// Its copy of the agent's environment is wiped, and nothing that is open in its supervisor is in it: an end of the
/// guardian's pipe would keep the guardian from hearing that the supervisor is gone.
#[test]
fn what_starts_a_step_has_nothing_of_its_supervisors_but_the_program() {
    let test = "what_starts_a_step_has_nothing_of_its_supervisors_but_the_program";
    let Some(mut system) = System::with(test, &[("EXECUTOR_MAXIMUM_NUM_JOBS", "1")]) else { return };
    let agent = system.agent();
    let launcher = wait(SOON, "a launcher in its place", || {
        let of_jobs = |pid: &u32| read(*pid, "cgroup").contains("/executor-");
        system.launchers().into_iter().find(of_jobs)
    });
    let environment = read(launcher, "environ");
    assert!(environment.bytes().all(|byte| byte == 0), "{environment:?}");
    let open = || {
        let open = std::fs::read_dir(format!("/proc/{launcher}/fd")).unwrap().flatten();
        open.map(|entry| entry.file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
    };
    // Its own files come and go until it waits.
    wait(SOON, "a launcher with its streams alone", || open().iter().eq(["0", "1", "2"]).then_some(()));
    // Without it, the step is started by a program.
    kill(launcher);
    let job = system.submit("echo started");
    assert_eq!(system.wait_for_state(&job, "completed")["attempt"], 1);
    assert!(system.ok(&["job", "logs", &job]).contains("started"));
    agent.stop();
    nothing_is_left(system.dir.path());
}

fn read(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

/// Another spare is made a little after one was taken; the agent may leave at that very moment.
#[test]
fn an_agent_that_leaves_while_it_makes_a_spare_leaves_nothing_of_it() {
    let test = "an_agent_that_leaves_while_it_makes_a_spare_leaves_nothing_of_it";
    let Some(mut system) = System::with(test, &[("EXECUTOR_NUM_TOTAL_JOBS", "1")]) else { return };
    for round in 0..8 {
        let job = system.submit(&format!("usleep {}", round * 8_000));
        let status = system.agent().wait_exit();
        assert!(status.success(), "{status}");
        system.wait_for_state(&job, "completed");
        nothing_is_left(system.dir.path());
    }
}
