//! A job runs nowhere twice at a time, whatever stands between an agent and a control plane that goes on.

use crate::adoption::signal;
use crate::forwarder::Forwarder;
use crate::leftovers::nothing_is_left;
use crate::support::{Process, SOON, System, wait};
use std::time::Instant;

/// A step's process, by a duration that no other has.
fn step() -> String {
    format!("sleep 4321.{}", std::process::id())
}

/// How many processes of the step this host has.
fn steps() -> usize {
    let step = step();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let line = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let is_step = |line: &Vec<u8>| String::from_utf8_lossy(line).replace('\0', " ").trim() == step;
    all.map(line).filter(is_step).count()
}

/// A refused connection is no proof that nobody is there: here it is a proxy that is gone.
#[test]
fn a_job_behind_a_proxy_that_died_runs_nowhere_twice() {
    let test = "a_job_behind_a_proxy_that_died_runs_nowhere_twice";
    runs_nowhere_twice(test, "15s", &format!("echo begun; exec {}", step()), |_, _| {});
}

/// There is no time to ask it, and to wait for it to end: it is killed.
#[test]
fn with_the_shortest_lease_not_even_a_job_that_heeds_no_signal_runs_twice() {
    let test = "with_the_shortest_lease_not_even_a_job_that_heeds_no_signal_runs_twice";
    runs_nowhere_twice(test, "3s", &format!("trap '' TERM; echo begun; exec {}", step()), |_, _| {});
}

/// Its step goes on, and nobody but its agent can end it.
#[test]
fn with_the_shortest_lease_a_job_whose_supervisor_stands_still_does_not_run_twice_either() {
    let test = "with_the_shortest_lease_a_job_whose_supervisor_stands_still_does_not_run_twice_either";
    runs_nowhere_twice(test, "3s", &format!("echo begun; exec {}", step()), |system, job| {
        signal("STOP", system.supervisor_of(job).unwrap());
    });
}

/// `meanwhile` befalls the job before its agent is cut off.
fn runs_nowhere_twice(test: &str, lease: &str, commands: &str, meanwhile: impl FnOnce(&System, &str)) {
    let Some(mut system) = System::serving(test, &["--lease", lease], &[]) else { return };
    let proxy = Forwarder::to(&system.url());
    let mut command = system.agent_command();
    command.env("EXECUTOR_FRONTEND_URL", proxy.url());
    let first = Process::start(command, "agent ");
    let id = system.submit(commands);
    system.wait_for_log(&id, "begun");
    wait(SOON, "the step", || (steps() == 1).then_some(()));

    meanwhile(&system, &id);
    drop(proxy);
    let refused = Instant::now();
    let second = system.agent_elsewhere();
    wait(SOON, "the job to run elsewhere", || {
        let running = steps();
        assert!(running <= 1, "{running} at a time, {:?} after the proxy died", refused.elapsed());
        let job = system.show(&id);
        (job["attempt"] == 2 && running == 1).then_some(())
    });
    system.ok(&["job", "cancel", &id]);
    system.wait_for_state(&id, "canceled");
    first.stop();
    second.stop();
    system.server.kill();
    nothing_is_left(system.dir.path());
}
