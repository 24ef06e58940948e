//! Several agents of one user on one host, with nothing said of where each keeps its state.

use crate::leftovers::nothing_is_left;
use crate::support::{Process, SOON, System, system, text, wait};
use std::collections::BTreeSet;
use std::net::TcpListener;

/// A step that waits, from its first words on, until the test lets it go on.
const GATED: &str = "touch /data/gate; echo begun; while [ -e /data/gate ]; do usleep 20000; done";

/// An agent as an operator starts one more: only its queue may be another's.
fn one_more(system: &mut System, queue: &str) -> Process {
    let mut command = system.agent_command();
    command.env("HOSTNAME", "host").env("EXECUTOR_QUEUE_NAME", queue);
    Process::start(command, "agent host-")
}

fn submit(system: &System, queue: &str) -> String {
    let args = ["job", "run", "--detach", "--queue", queue, "--image", "busybox", "--step", GATED];
    let id = system.ok(&args).trim().to_owned();
    system.wait_for_log(&id, "begun");
    id
}

fn names<'a>(agents: impl IntoIterator<Item = &'a Process>) -> BTreeSet<String> {
    agents.into_iter().map(Process::executor_name).collect()
}

fn told(job: &serde_json::Value, key: &str) -> String {
    job[key].as_str().map_or_else(|| job[key].to_string(), str::to_owned)
}

#[test]
fn agents_side_by_side_find_their_own_jobs_again() {
    let Some(mut system) = system("agents_side_by_side_find_their_own_jobs_again") else { return };
    let mut batches = [one_more(&mut system, "batches"), one_more(&mut system, "batches")];
    let mut codeintel = one_more(&mut system, "codeintel");
    let jobs = ["batches", "batches", "codeintel"].map(|queue| submit(&system, queue));
    let whose: Vec<String> = jobs.iter().map(|id| told(&system.show(id), "executor")).collect();
    let (of_batches, of_codeintel) = (names(&batches), codeintel.executor_name());
    assert_eq!(whose[..2].iter().cloned().collect::<BTreeSet<_>>(), of_batches, "each has one");
    assert_eq!(whose[2], of_codeintel);

    batches.iter_mut().chain([&mut codeintel]).for_each(Process::kill);
    let codeintel = one_more(&mut system, "codeintel");
    let batches = [one_more(&mut system, "batches"), one_more(&mut system, "batches")];
    assert_eq!((names(&batches), codeintel.executor_name()), (of_batches, of_codeintel));

    // Only an agent that has them can stop them.
    for id in [&jobs[0], &jobs[2]] {
        system.ok(&["job", "cancel", id]);
        system.wait_for_state(id, "canceled");
    }
    system.open_gates(&batches[0]);
    system.wait_for_state(&jobs[1], "completed");
    for (id, whose) in jobs.iter().zip(&whose) {
        let job = system.show(id);
        assert_eq!((told(&job, "attempt"), &told(&job, "executor")), ("1".to_owned(), whose), "{job}");
    }
    batches.into_iter().chain([codeintel]).for_each(Process::stop);
    nothing_is_left(system.dir.path());
}

#[test]
fn the_jobs_of_an_agent_that_does_not_come_back_are_looked_after() {
    let Some(mut system) = system("the_jobs_of_an_agent_that_does_not_come_back_are_looked_after") else {
        return;
    };
    let first = one_more(&mut system, "batches");
    let its_own = submit(&system, "batches");
    let mut second = one_more(&mut system, "codeintel");
    let left = submit(&system, "codeintel");
    let name = second.executor_name();
    second.kill();
    let lock = std::path::Path::new(&system.agent_dir()).join("agent/2/lock");
    wait(SOON, "the first agent to take the second one's jobs", || {
        let holder = std::fs::read_to_string(&lock).unwrap();
        (holder.trim() == first.pid().to_string()).then_some(())
    });
    // The second one is back, after all.
    let second = one_more(&mut system, "codeintel");
    assert_ne!(second.executor_name(), name, "the other's jobs run under that name");

    system.ok(&["job", "cancel", &left]);
    let job = system.wait_for_state(&left, "canceled");
    assert_eq!((told(&job, "attempt"), told(&job, "executor")), ("1".to_owned(), name), "{job}");
    system.open_gates(&first);
    assert_eq!(told(&system.wait_for_state(&its_own, "completed"), "attempt"), "1");
    [first, second].into_iter().for_each(Process::stop);
    nothing_is_left(system.dir.path());
}

#[test]
fn an_agent_whose_health_port_is_anothers_says_so_and_does_not_start() {
    let test = "an_agent_whose_health_port_is_anothers_says_so_and_does_not_start";
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let Some(mut system) = System::with(test, &[("EXECUTOR_HEALTH_SERVER_ADDR", &address)]) else { return };
    let output = system.agent_command().output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.trim_end().lines().count(), 1, "a refusal is one line: {said}");
    for part in
        [&*format!("can't listen on {address} "), "another agent", "ss -ltnp", "EXECUTOR_HEALTH_SERVER_ADDR"]
    {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    nothing_is_left(system.dir.path());
}
