//! When and where jobs run, as operators and users say it.

use crate::support::{GATE, Process, SOON, System, system, text, wait};

/// Submits a job that needs nothing but time, with these options; its id.
fn submit(system: &System, options: &[&str]) -> String {
    let args = ["job", "run", "--detach", "--image", "busybox"];
    let args: Vec<&str> = args.iter().chain(options).chain(&["--", "true"]).copied().collect();
    system.ok(&args).trim().to_owned()
}

/// What `job explain` says until it says `part`.
fn explained(system: &System, id: &str, part: &str) {
    wait(SOON, part, || system.ok(&["job", "explain", id]).contains(part).then_some(()));
}

#[test]
fn operators_hold_queues_and_agents_and_users_see_why_jobs_wait() {
    let Some(mut system) = system("operators_hold_queues_and_agents_and_users_see_why_jobs_wait") else {
        return;
    };
    let agent = system.agent();
    let done = submit(&system, &["--priority", "-3"]);
    system.wait_for_state(&done, "completed");
    let told = system.ok(&["job", "explain", &done]);
    assert_eq!(told, format!("job {done} is completed, succeeded\n"));

    let listed = |args: &[&str]| system.ok(&[&["agent", "list"], args].concat());
    assert!(listed(&["--active", "--text", "BATCHES"]).contains(&agent.executor_name()));
    assert_eq!(listed(&["--active", "--text", "no such text"]), "no such agents\n");
    assert_eq!(listed(&["--silent"]), "no such agents\n", "none is left out but those that are active");
    let both = system.refused(&["agent", "list", "--silent", "--active"]);
    assert!(both.contains("--active"), "{both}");

    assert!(system.ok(&["queue", "pause", "batches"]).starts_with("queue batches: paused"));
    let paused = submit(&system, &[]);
    explained(&system, &paused, "queue_paused: its queue has been paused since");
    let listed = system.ok(&["queue", "list"]);
    assert!(listed.contains("batches") && listed.contains("paused"), "{listed}");
    assert_eq!(system.ok(&["queue", "resume", "batches"]), "queue batches: open\n");
    system.wait_for_state(&paused, "completed");
    assert_eq!(system.ok(&["queue", "limit", "batches", "1"]), "queue batches: at most 1 at once\n");
    assert!(system.refused(&["queue", "pause", "bulk"]).contains("invalid queue \"bulk\""));

    let labelled = submit(&system, &["--needs", "label=gpu,isolation=container"]);
    explained(&system, &labelled, "needs_unmet: no executor has what it needs");
    let order =
        ["--delay", "1d", "--priority", "2", "--concurrency", "deploy:3", "--needs", "memory=64M,cpus=1"];
    let ordered = submit(&system, &order);
    let shown = system.ok(&["job", "show", &ordered]);
    for told in [
        "priority    2\n",
        "needs       cpus=1, memory=64 MiB\n",
        "concurrency at most 3 with the key deploy at once\n",
        "not before  ",
    ] {
        assert!(shown.contains(told), "{told} in {shown}");
    }
    assert_eq!(system.show(&ordered)["needs"]["memory"], 64 << 20, "to the byte for programs");
    system.ok(&["job", "cancel", &ordered]);
    let delayed = submit(&system, &["--delay", "1h"]);
    explained(&system, &delayed, "not_before: it is not to be run before");
    system.ok(&["job", "cancel", &delayed]);
    agent.stop();

    // One that has what is needed; it says so only once it knows whom it speaks to.
    let mut command = system.agent_command();
    command.env("EXECUTOR_LABELS", "gpu, zone=b");
    let agent = Process::start(command, "agent ");
    let ended = system.wait_for_state(&labelled, "completed");
    let name = ended["executor"].as_str().unwrap();
    let listed = system.ok(&["agent", "list"]);
    assert!(listed.contains("container") && listed.contains("gpu,zone=b"), "{listed}");

    let drained = system.ok(&["agent", "drain", name]);
    assert_eq!(drained, format!("agent {name} is given no more jobs; those it has go on\n"));
    let waiting = submit(&system, &[]);
    explained(&system, &waiting, "executors_in_maintenance: whoever has what it needs is in maintenance");
    system.ok(&["agent", "resume", name]);
    system.wait_for_state(&waiting, "completed");
    assert!(system.refused(&["agent", "drain", "nobody"]).contains("there is no executor \"nobody\""));
    agent.stop();
}

/// It goes on with its heartbeats, and so seems to be there for jobs.
#[test]
fn an_agent_that_asks_for_no_jobs_says_why() {
    let Some(mut system) = system("an_agent_that_asks_for_no_jobs_says_why") else { return };
    let listed_as = |system: &System, state: &str| {
        wait(SOON, state, || system.ok(&["agent", "list"]).contains(state).then_some(()));
    };
    let mut agent = system.agent();
    let held = system.submit(GATE);
    system.wait_for_gate(&agent);
    agent.signal("HUP");
    listed_as(&system, " draining ");
    let waiting = submit(&system, &[]);
    let none = "executors_take_none: whoever has what it needs takes no jobs for now: ";
    explained(&system, &waiting, &format!("{none}{} is draining", agent.executor_name()));
    system.open_gates(&agent);
    system.wait_for_state(&held, "completed");
    assert!(agent.wait_exit().success());

    let mut command = system.agent_command();
    command.env("EXECUTOR_DISK_FLOOR", "1000P");
    let agent = Process::start(command, "agent ");
    listed_as(&system, " disk-floor ");
    explained(
        &system,
        &waiting,
        &format!("{} has less room on its disk than its floor", agent.executor_name()),
    );
    agent.stop();

    let agent = system.agent();
    system.wait_for_state(&waiting, "completed");
    agent.stop();
}

#[test]
fn what_can_not_be_needed_is_told() {
    let Some(system) = system("what_can_not_be_needed_is_told") else { return };
    for (options, told) in [
        (["--needs", "gpu=1"], "use one of cpus, memory, disk, isolation, label"),
        (["--priority", "11"], "priority 11 is out of range"),
        (["--delay", "soon"], "soon"),
    ] {
        let args = ["job", "run", "--image", "busybox"].iter().chain(&options).chain(&["--", "true"]);
        let args: Vec<&str> = args.copied().collect();
        let output = system.run(&args);
        assert!(output.status.code() == Some(2) && text(&output).contains(told), "{}", text(&output));
    }
}
