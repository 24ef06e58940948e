//! Agents come and go; jobs stay.

use crate::leftovers::nothing_is_left;
use crate::support::{Process, SOON, System, files_below, system, wait};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Prints numbered lines for some seconds.
const COUNT: &str = "set +x; i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line-$i; usleep 50000; done";

/// Fails unless `log` has each of the lines of [`COUNT`] once, in order.
pub(crate) fn is_whole(log: &str, lines: u32) {
    let numbers = log.lines().filter_map(|line| line.strip_prefix("line-")?.parse::<u32>().ok());
    assert_eq!(numbers.collect::<Vec<_>>(), (1..=lines).collect::<Vec<_>>());
}

pub(crate) fn kill(pid: u32) {
    signal("KILL", pid);
}

pub(crate) fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "there is a process {pid}");
}

fn two_at_a_time(test: &str) -> Option<System> {
    System::with(test, &[("EXECUTOR_MAXIMUM_NUM_JOBS", "2")])
}

/// The next agent is an upgraded one: another file.
#[test]
fn jobs_go_on_while_their_agent_is_killed_and_are_the_next_one_s() {
    let Some(mut system) = two_at_a_time("jobs_go_on_while_their_agent_is_killed_and_are_the_next_one_s")
    else {
        return;
    };
    let mut first = system.agent();
    let name = first.executor_name();
    let (counting, endless) = (system.submit(COUNT), system.submit("echo begun; sleep 600"));
    system.wait_for_log(&counting, "line-10\n");
    system.wait_for_log(&endless, "begun");
    first.kill();

    let upgraded = system.dir.path().join("executor");
    std::fs::copy(env!("CARGO_BIN_EXE_executor"), &upgraded).unwrap();
    let mut command = Command::new(upgraded);
    let as_before = system.agent_command();
    command.args(as_before.get_args());
    for (variable, value) in as_before.get_envs() {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    let mut second = Process::start(command, "agent ");
    assert_eq!(second.executor_name(), name, "jobs of the old name are there");

    let waiting = system.submit("echo its-turn");
    system.ok(&["job", "cancel", &endless]);
    let canceled = system.wait_for_state(&endless, "canceled");
    assert_eq!(
        (&canceled["attempt"], &canceled["executor"]),
        (&1.into(), &name.as_str().into()),
        "{canceled}"
    );
    system.wait_for_state(&waiting, "completed");

    // The first signal waits for jobs of others as well.
    second.signal("TERM");
    second.wait_for_line("draining: ");
    assert!(second.wait_exit().success());
    let counted = system.show(&counting);
    assert_eq!(counted["state"], "completed", "{counted}");
    assert_eq!((&counted["attempt"], &counted["executor"]), (&1.into(), &name.as_str().into()), "{counted}");
    is_whole(&system.ok(&["job", "logs", &counting]), 100);
    nothing_is_left(system.dir.path());
}

#[test]
fn an_agent_that_is_told_to_leave_leaves_its_jobs() {
    let Some(mut system) = system("an_agent_that_is_told_to_leave_leaves_its_jobs") else { return };
    // Whoever reads its log leaves as well, and jobs must not notice that either.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = system.agent_command();
    command.env("SRC_LOG_LEVEL", "info").stderr(writer);
    let mut first = Process::start(command, "agent ");
    let id = system.submit(COUNT);
    system.wait_for_log(&id, "line-10\n");
    drop(reader);
    first.signal("USR2");
    first.wait_for_line("leaving: ");
    assert!(first.wait_exit().success());
    assert_eq!(system.show(&id)["state"], "processing");
    // It ends while nobody is there, and its end is told all the same.
    let job = system.wait_for_state(&id, "completed");
    assert_eq!(job["attempt"], 1, "{job}");
    is_whole(&system.ok(&["job", "logs", &id]), 100);
    nothing_is_left(system.dir.path());
    let next = system.agent();
    assert_eq!(system.job("echo next").status.code(), Some(0));
    next.stop();
}

#[test]
fn a_job_whose_supervisor_is_killed_is_queued_again_at_once() {
    let Some(mut system) = two_at_a_time("a_job_whose_supervisor_is_killed_is_queued_again_at_once") else {
        return;
    };
    let mut agent = system.agent();
    let id = system.submit(COUNT);
    let begun_again = |system: &System, attempt: u32| {
        let killed = Instant::now();
        wait(SOON, "another attempt", || (system.show(&id)["attempt"] == attempt).then_some(()));
        assert!(
            killed.elapsed() < Duration::from_secs(15),
            "nobody waits for its lease: {:?}",
            killed.elapsed()
        );
    };
    system.wait_for_log(&id, "line-10\n");
    kill(system.supervisor_of(&id).unwrap());
    begun_again(&system, 2);

    // Nobody is left but guardians; the next agent finds what there was.
    system.wait_for_log(&id, "line-10\n");
    let supervisor = system.supervisor_of(&id).unwrap();
    agent.kill();
    kill(supervisor);
    let next = system.agent();
    begun_again(&system, 3);
    let job = system.wait_for_state(&id, "completed");
    assert_eq!(job["attempt"], 3, "{job}");
    is_whole(&system.ok(&["job", "logs", &id]), 100);
    next.stop();
    nothing_is_left(system.dir.path());
}

/// It is given up long before the job's lease is over, and another one takes the job.
#[test]
fn a_spare_supervisor_that_stands_still_costs_no_try() {
    let Some(mut system) = system("a_spare_supervisor_that_stands_still_costs_no_try") else { return };
    let agent = system.agent();
    let spare = wait(SOON, "a spare", || system.supervisors().first().copied());
    signal("STOP", spare);
    let id = system.submit("echo its-turn");
    let job = system.wait_for_state(&id, "completed");
    assert_eq!(job["attempt"], 1, "{job}");
    assert!(!system.supervisors().contains(&spare), "it is killed");
    agent.stop();
    nothing_is_left(system.dir.path());
}

/// It has begun to live, and nobody has found out that it does not any more.
#[test]
fn a_spare_supervisor_that_was_killed_leaves_nothing() {
    let Some(mut system) = system("a_spare_supervisor_that_was_killed_leaves_nothing") else { return };
    let agent = system.agent();
    let jobs = Path::new(&system.agent_dir()).join("agent/jobs");
    wait(SOON, "a spare that is ready", || files_below(&jobs, &|path| path.ends_with("lock")).pop());
    kill(system.supervisors()[0]);
    agent.stop();
    nothing_is_left(system.dir.path());
}
