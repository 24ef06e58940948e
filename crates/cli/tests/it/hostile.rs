//! Steps that misbehave end with the right reason, leave nothing, and the next job runs.

use crate::leftovers::nothing_is_left;
use crate::support::{GATE, Process, System, git, system, text};
use serde_json::Value;
use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

/// The next job runs, and nothing of the last one is left.
fn still_well(system: &System) {
    let output = system.job("echo still-well");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("still-well"));
}

#[test]
fn a_daemon_does_not_outlive_its_step() {
    let Some(mut system) = system("a_daemon_does_not_outlive_its_step") else { return };
    let agent = system.agent();
    let begun = Instant::now();
    let mark = unique("daemon");
    let output = system.job(&format!(
        "for i in 1 2 3; do (setsid sh -c \"touch /data/up-$i; sleep 600; : {mark}\" &) ; done\n\
         while [ \"$(ls -d /data/up-* 2>/dev/null | wc -l)\" -lt 3 ]; do usleep 10000; done; echo step-done"
    ));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("step-done"), "{}", text(&output));
    assert!(begun.elapsed() < Duration::from_secs(20), "it waited for the daemons");
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(&mark), "a daemon is left");
    }
    still_well(&system);
    agent.stop();
    nothing_is_left(system.dir.path());
}

#[test]
fn a_step_that_ignores_sigterm_is_killed() {
    let Some(mut system) = system("a_step_that_ignores_sigterm_is_killed") else { return };
    let _agent = system.agent();
    let id = system.submit("trap '' TERM INT HUP; echo begun; while true; do sleep 1; done");
    system.wait_for_log(&id, "begun");
    let asked = Instant::now();
    system.ok(&["job", "cancel", &id]);
    let job = system.wait_for_state(&id, "canceled");
    assert!(asked.elapsed() < Duration::from_secs(20), "it took {:?}: {job}", asked.elapsed());
    still_well(&system);
}

#[test]
fn a_job_that_takes_too_long_ends_with_timeout() {
    let limit = [("EXECUTOR_MAXIMUM_RUNTIME_PER_JOB", "3s")];
    let Some(mut system) = System::with("a_job_that_takes_too_long_ends_with_timeout", &limit) else {
        return;
    };
    let _agent = system.agent();
    let output = system.job("trap '' TERM; while true; do sleep 1; done");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let job = system.newest();
    assert_eq!(job["reason"], "timeout");
    assert_eq!(job["end"]["limit"], 3_000, "{job}");
    still_well(&system);
}

#[test]
fn two_hundred_megabytes_are_cut_and_told() {
    let Some(mut system) = system("two_hundred_megabytes_are_cut_and_told") else { return };
    let agent = system.agent();
    let id = system.submit(&format!(
        "set +x; yes 0123456789012345678901234567890123456789 | head -c 200000000; echo; echo the-very-end; {GATE}"
    ));
    uses_little_memory(&system, &agent, &id);
    let job = system.wait_for_state(&id, "completed");
    assert_eq!(job["reason"], "succeeded");
    let log = system.ok(&["job", "logs", &id]);
    assert!(log.len() < 80 << 20, "{} bytes were kept", log.len());
    assert!(log.contains("left out"), "the gap is told");
    assert!(log.contains("the-very-end"), "the end is kept");
    still_well(&system);
}

#[test]
fn one_line_of_64_megabytes_is_kept_without_taking_memory() {
    let Some(mut system) = system("one_line_of_64_megabytes_is_kept_without_taking_memory") else { return };
    let agent = system.agent();
    let id = system
        .submit(&format!("set +x; head -c 64000000 /dev/zero | tr '\\0' x; echo; echo after-it; {GATE}"));
    uses_little_memory(&system, &agent, &id);
    system.wait_for_state(&id, "completed");
    let log = system.ok(&["job", "logs", &id]);
    assert!(log.contains("after-it"));
    assert!(log.lines().any(|line| line.len() > 60_000_000), "the line was broken up");
    still_well(&system);
}

#[test]
fn a_full_disk_is_the_job_s_own() {
    let Some(mut system) = system("a_full_disk_is_the_job_s_own") else { return };
    let _agent = system.agent();
    for place in ["/data/big", "/big"] {
        let output = system.job(&format!("dd if=/dev/zero of={place} bs=1M count=400"));
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let job = system.newest();
        assert_eq!(job["reason"], "disk_full", "{place}: {job}");
        assert!(job["end"]["limit"].as_u64().is_some_and(|limit| limit >= 200 << 20), "{job}");
    }
    still_well(&system);
}

#[test]
fn too_much_memory_ends_with_its_limit_and_peak() {
    let Some(mut system) = system("too_much_memory_ends_with_its_limit_and_peak") else { return };
    let _agent = system.agent();
    let output = system.job("tail /dev/zero");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let job = system.newest();
    assert_eq!(job["reason"], "out_of_memory", "{job}");
    assert_eq!(job["end"]["limit"], 256 << 20, "{job}");
    assert!(job["end"]["observed"].as_u64().is_some_and(|peak| peak > 200 << 20), "{job}");
    still_well(&system);
}

/// A repository of some kilobytes can have git use any memory.
#[test]
fn a_repository_that_takes_too_much_memory_ends_with_the_limit_and_the_peak() {
    let limit = [("EXECUTOR_JOB_MEMORY", "64M")];
    let test = "a_repository_that_takes_too_much_memory_ends_with_the_limit_and_the_peak";
    let Some(mut system) = System::with(test, &limit) else { return };
    let _agent = system.agent();
    let dir = system.dir.path().join("large");
    std::fs::create_dir(&dir).unwrap();
    git(&dir, &["init", "-q"]);
    let tree = |kind: &str, id: &str| {
        let list = system.dir.path().join("list");
        let entries =
            (0..1_000).fold(String::new(), |all, number| format!("{all}{kind} {id}\t{number:03}\n"));
        std::fs::write(&list, entries).unwrap();
        let mut git = Command::new("git");
        let made = git.arg("-C").arg(&dir).arg("mktree").stdin(File::open(&list).unwrap()).output().unwrap();
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let file = git(&dir, &["hash-object", "-w", "/dev/null"]);
    let all = tree("040000 tree", &tree("100644 blob", file.trim()));
    let commit = git(&dir, &["-c", "user.name=t", "-c", "user.email=t@t", "commit-tree", &all, "-m", "one"]);
    git(&dir, &["update-ref", "HEAD", commit.trim()]);
    system.ok(&["repo", "add", "large", dir.to_str().unwrap()]);
    let output = system.run(&["job", "run", "--repo", "large", "--image", "busybox", "--", "true"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let job = system.newest();
    assert_eq!(job["reason"], "out_of_memory", "{job}");
    assert_eq!((&job["end"]["limit"], &job["end"]["step"]), (&(64 << 20).into(), &Value::Null), "{job}");
    assert!(job["end"]["observed"].as_u64().is_some_and(|peak| peak > 32 << 20), "{job}");
    still_well(&system);
}

#[test]
fn a_fork_bomb_stays_within_its_limit() {
    let limit = [("EXECUTOR_JOB_PIDS", "64"), ("EXECUTOR_MAXIMUM_RUNTIME_PER_JOB", "5s")];
    let Some(mut system) = System::with("a_fork_bomb_stays_within_its_limit", &limit) else { return };
    let _agent = system.agent();
    // The shell that began it becomes `sleep` without another process, so that it always outlives the
    // limit of time, whatever becomes of the bomb.
    let output = system.job("bomb() { bomb | bomb & }; bomb; exec sleep 600");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("can't fork"), "the limit was met: {}", text(&output));
    assert_eq!(system.newest()["reason"], "timeout");
    still_well(&system);
}

/// A word that no other process on this host has in its arguments.
fn unique(word: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{word}-{}-{}", std::process::id(), now.as_nanos())
}

/// Waits until job `id` is at its gate, having printed, looks at whoever handled its log, and lets it end.
fn uses_little_memory(system: &System, agent: &Process, id: &str) {
    system.wait_for_gate(agent);
    let supervisor = system.supervisor_of(id).expect("it runs the job");
    // The line that one of the jobs prints is longer than what its supervisor may take, all else included.
    for (who, pid, limit) in
        [("supervisor", supervisor, 60), ("agent", agent.pid(), 60), ("server", system.server.pid(), 200)]
    {
        let peak = peak_memory(pid);
        assert!(peak < limit << 20, "the {who} used {peak} bytes");
    }
    system.open_gates(agent);
}

/// The most memory that a process ever used.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
