//! Agents and supervisors come and go; jobs in containers of an engine stay, or leave nothing there.

use crate::adoption::{is_whole, kill};
use crate::engine::WithEngine;
use crate::support::{SOON, wait};
use std::time::{Duration, Instant};

/// Prints numbered lines for some seconds.
const COUNT: &str = "set +x; i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line-$i; usleep 50000; done";

#[test]
fn jobs_in_containers_are_the_next_agents_when_theirs_is_killed() {
    let env = [("EXECUTOR_DOCKER_NETWORK", "none"), ("EXECUTOR_MAXIMUM_NUM_JOBS", "2")];
    let test = "jobs_in_containers_are_the_next_agents_when_theirs_is_killed";
    let Some(mut with) = WithEngine::start(test, &env) else { return };
    let mut first = with.system.agent();
    let counting = with.system.submit(COUNT);
    let endless = with.system.submit("trap '' TERM; echo begun; while :; do sleep 1; done");
    with.system.wait_for_log(&counting, "line-10\n");
    with.system.wait_for_log(&endless, "begun");
    first.kill();
    let second = with.system.agent();
    with.system.ok(&["job", "cancel", &endless]);
    let canceled = with.system.wait_for_state(&endless, "canceled");
    assert_eq!((&canceled["attempt"], &canceled["reason"]), (&1.into(), &"canceled".into()), "{canceled}");
    let counted = with.system.wait_for_state(&counting, "completed");
    assert_eq!(counted["attempt"], 1, "{counted}");
    is_whole(&with.system.ok(&["job", "logs", &counting]), 100);
    second.stop();
    with.nothing_is_left();
}

#[test]
fn a_job_in_containers_is_handed_back_without_them_when_its_supervisor_is_killed() {
    let env = [("EXECUTOR_DOCKER_NETWORK", "none")];
    let test = "a_job_in_containers_is_handed_back_without_them_when_its_supervisor_is_killed";
    let Some(mut with) = WithEngine::start(test, &env) else { return };
    let mut agent = with.system.agent();
    let id = with.system.submit(COUNT);
    for attempt in [2, 3] {
        with.system.wait_for_log(&id, "line-10\n");
        let container = with.containers();
        let supervisor = with.system.supervisor_of(&id).unwrap();
        let killed = Instant::now();
        if attempt == 3 {
            // Nobody is left but guardians.
            agent.kill();
            kill(supervisor);
            agent = with.system.agent();
        } else {
            kill(supervisor);
        }
        wait(SOON, "another attempt", || {
            let job = with.system.show(&id);
            (job["attempt"] == attempt).then_some(())
        });
        assert!(killed.elapsed() < Duration::from_secs(15), "nobody waits for its lease");
        let left = with.containers();
        assert!(container.iter().all(|old| !left.contains(old)), "{container:?} and then {left:?}");
    }
    let job = with.system.wait_for_state(&id, "completed");
    assert_eq!(job["attempt"], 3, "{job}");
    is_whole(&with.system.ok(&["job", "logs", &id]), 100);
    agent.stop();
    with.nothing_is_left();
}
