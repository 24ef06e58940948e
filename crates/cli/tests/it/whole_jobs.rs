//! Jobs from submit to their end.

use crate::leftovers::nothing_is_left;
use crate::support::{GATE, Process, SOON, System, git, system, text, wait};
use std::process::Stdio;
use std::time::{Duration, Instant};
use testkit::registry::{Registry, Setup};

#[test]
fn three_steps_on_a_repository_end_with_a_diff() {
    let Some(mut system) = system("three_steps_on_a_repository_end_with_a_diff") else { return };
    let agent = system.agent();
    let (path, [first, _]) = system.git_repository();
    system.ok(&["repo", "add", "app", &path]);
    assert!(system.ok(&["repo", "list"]).contains("app"));

    let steps = [
        "cp sub/file.txt /data/before",
        "echo changed >> sub/file.txt",
        "diff -u before sub/file.txt || true",
    ];
    let args = ["job", "run", "--repo", "app", "--rev", &first, "--image", "busybox"];
    let steps: Vec<&str> = steps.iter().flat_map(|step| ["--step", step]).collect();
    let output = system.run(&[&args[..], &steps].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains(" one\n+changed\n"), "the diff goes to standard output: {}", text(&output));

    let job = system.newest();
    assert_eq!(job["state"], "completed");
    assert_eq!(job["reason"], "succeeded");
    assert_eq!(job["queue"], "batches");
    assert_eq!(job["attempt"], 1);
    assert_eq!(job["commit"], first.as_str());
    assert!(job["executor"].as_str().unwrap().starts_with("agent1-"));
    for time in ["queuedAt", "startedAt", "finishedAt"] {
        assert!(job[time].is_string(), "{time} in {job}");
    }
    let steps = job["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 3);
    for (index, step) in steps.iter().enumerate() {
        assert_eq!(step["key"], index.to_string());
        assert_eq!(step["exitCode"], 0);
        assert!(step["startedAt"].is_string() && step["durationMs"].is_number(), "{step}");
    }
    let keys = system.ok(&["job", "logs", &job["id"].to_string()]);
    let order = [
        "setup.git.init",
        "setup.git.fetch",
        "setup.git.checkout",
        "setup.fs.extras",
        "step.docker.0",
        "teardown.fs",
    ];
    let places: Vec<_> =
        order.iter().map(|key| keys.find(key).unwrap_or_else(|| panic!("{key} in {keys}"))).collect();
    assert!(places.is_sorted(), "{keys}");
    agent.stop();
    nothing_is_left(system.dir.path());
}

#[test]
fn the_exit_code_tells_how_a_job_ended() {
    let Some(mut system) = system("the_exit_code_tells_how_a_job_ended") else { return };
    let _agent = system.agent();
    assert_eq!(system.job("true").status.code(), Some(0));

    let failed = system.job("exit 7");
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed));
    let job = system.newest();
    assert_eq!((job["state"].as_str(), job["reason"].as_str()), (Some("failed"), Some("exit_code")));
    assert_eq!(job["steps"][0]["exitCode"], 7);

    let id = system.submit("echo begun; sleep 600");
    system.wait_for_log(&id, "begun");
    system.ok(&["job", "cancel", &id]);
    let job = system.wait_for_state(&id, "canceled");
    assert_eq!(job["reason"], "canceled");

    let follower = system.executor(&["job", "run", "--image", "busybox", "--step", "echo begun; sleep 600"]);
    let mut follower = Process::start(follower, "begun");
    follower.signal("INT");
    assert_eq!(follower.wait_exit().code(), Some(130));
    assert_eq!(system.newest()["state"], "canceled", "an interrupt cancels the job that is followed");
}

#[test]
fn a_later_step_does_not_run_after_one_that_failed() {
    let Some(mut system) = system("a_later_step_does_not_run_after_one_that_failed") else { return };
    let _agent = system.agent();
    let output =
        system.run(&["job", "run", "--image", "busybox", "--step", "exit 3", "--step", "echo not-reached"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output).contains("not-reached"), "{}", text(&output));
    let job = system.newest();
    assert_eq!(job["end"]["step"], "0");
    assert_eq!(job["steps"][1]["exitCode"], serde_json::Value::Null);
}

#[test]
fn a_job_file_says_all_that_a_job_needs() {
    let Some(mut system) = system("a_job_file_says_all_that_a_job_needs") else { return };
    let _agent = system.agent();
    let (path, _) = system.git_repository();
    system.ok(&["repo", "add", "github.com/acme/app", &path]);
    std::fs::write(system.dir.path().join("tail.sh"), "pwd; cat file.txt; echo $WHO $WHAT\n").unwrap();
    let file = system.dir.path().join("job.yaml");
    let yaml = "repo: github.com/acme/app\nrev: main\nimage: busybox\nenv: {WHO: job, WHAT: job}\nsteps:\n  - name: head\n    run: echo \
                from $WHO\n  - name: tail\n    dir: sub\n    script: tail.sh\n    env: {WHAT: step}\n";
    std::fs::write(&file, yaml).unwrap();
    let output = system.run(&["job", "run", "--file", &file.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "from job\n/data/sub\ntwo\njob step\n");
    let keys: Vec<_> =
        system.newest()["steps"].as_array().unwrap().iter().map(|step| step["key"].clone()).collect();
    assert_eq!(keys, ["head", "tail"]);
}

#[test]
fn an_image_that_its_registry_does_not_have_is_the_job_s_fault() {
    let test = "an_image_that_its_registry_does_not_have_is_the_job_s_fault";
    let Some(registry) = Registry::start(test, &Setup::default()) else { return };
    let Some(mut system) = system(test) else { return };
    let _agent = system.agent();
    let image = registry.name("team/none:1");
    let output = system.run(&["job", "run", "--image", &image, "--", "true"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    for part in ["step.docker.0 came to no exit code\n", &image, "`executor image list`", "(image)"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let job = system.newest();
    assert_eq!((job["reason"].as_str(), job["blame"].as_str()), (Some("image"), Some("job")), "{job}");
    let step = &job["steps"][0];
    assert!(step["exitCode"].is_null() && step["durationMs"].is_number(), "{job}");
    assert!(system.ok(&["job", "show", &job["id"].to_string()]).contains("did not start"));
    let missing = text(&system.run(&["job", "show", "99"]));
    assert!(missing.contains("no job 99") && missing.contains("`executor job list`"), "{missing}");
}

#[test]
fn a_branch_is_looked_up_afresh() {
    let Some(mut system) = system("a_branch_is_looked_up_afresh") else { return };
    let _agent = system.agent();
    let (path, [_, second]) = system.git_repository();
    system.ok(&["repo", "add", "app", &path]);
    let cat =
        ["job", "run", "--repo", "app", "--rev", "main", "--image", "busybox", "--", "cat", "sub/file.txt"];
    assert_eq!(system.ok(&cat), "two\n");
    std::fs::write(format!("{path}/sub/file.txt"), "three\n").unwrap();
    git(
        path.as_ref(),
        &["-c", "user.name=T", "-c", "user.email=t@t", "commit", "--quiet", "-a", "-m", "three"],
    );
    assert_eq!(system.ok(&cat), "three\n");
    let old =
        ["job", "run", "--repo", "app", "--rev", &second, "--image", "busybox", "--", "cat", "sub/file.txt"];
    assert_eq!(system.ok(&old), "two\n");
}

#[test]
fn everything_lives_in_one_process_with_up() {
    let Some(system) = system("everything_lives_in_one_process_with_up") else { return };
    let data_dir = system.agent_dir();
    let mut up = system.executor(&["up", "--listen", "127.0.0.1:0", "--data-dir", &data_dir]);
    up.stderr(Stdio::inherit());
    let up = Process::start(up, "listening on ");
    let lines = up.lines();
    let place = |start| lines.iter().position(|line| line.starts_with(start));
    assert!(place("runtime oci: ").is_some(), "{lines:?}");
    assert!(place("agent ") < place("listening on "), "{lines:?}");
    assert_eq!(system.ok(&["job", "run", "--image", "busybox", "--", "echo", "hello"]), "hello\n");
    assert!(system.ok(&["image", "list"]).contains("busybox"), "the client finds the images of `up`");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(system.dir.path().join("config/executor/client.json")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    up.stop();
    nothing_is_left(system.dir.path());
}

#[test]
fn the_first_signal_drains_and_the_second_stops() {
    let Some(mut system) = system("the_first_signal_drains_and_the_second_stops") else { return };
    let mut agent = system.agent();
    let id = system.submit(&format!("echo begun; {GATE}; echo done-anyway"));
    system.wait_for_log(&id, "begun");
    agent.signal("TERM");
    agent.wait_for_line("draining: ");
    let next = system.submit("echo next");
    system.open_gates(&agent);
    assert!(agent.wait_exit().success());
    let job = system.show(&id);
    assert_eq!(job["state"], "completed", "the first signal lets a job finish: {job}");
    assert!(system.ok(&["job", "logs", &id]).contains("done-anyway"));
    assert_eq!(system.show(&next)["state"], "queued", "after the first signal nothing new is taken");

    let mut agent = system.agent();
    system.wait_for_state(&next, "completed");
    let run = ["job", "run", "--image", "busybox", "--step", "echo begun; sleep 600"];
    let mut client = Process::start(system.executor(&run), "begun");
    agent.signal("TERM");
    agent.wait_for_line("draining: ");
    agent.signal("TERM");
    agent.wait_exit();
    let job = system.newest();
    assert_eq!((&job["state"], &job["reason"]), (&"errored".into(), &"executor_stopped".into()), "{job}");
    assert_eq!(job["blame"], "system", "it failed the job, not the user: {job}");
    nothing_is_left(system.dir.path());

    // Another one takes over at once, and what became of the first try is told.
    let other = system.agent_elsewhere();
    let id = job["id"].to_string();
    wait(SOON, "the second try", || system.ok(&["job", "logs", &id]).contains("begun").then_some(()));
    let told = system.show(&id);
    assert_eq!((&told["attempt"], &told["earlierTries"][0]["reason"]), (&2.into(), &job["reason"]), "{told}");
    assert_eq!(told["earlierTries"][0]["executor"], job["executor"], "{told}");

    system.ok(&["job", "cancel", &id]);
    assert_eq!(client.wait_exit().code(), Some(130));
    let shown = system.ok(&["job", "show", &id]);
    assert!(
        shown.contains("evidence    by whoever has the API's token, from 127.0.0.1, with executor/"),
        "{shown}"
    );
    let first = format!("attempt 1   executor_stopped on {}: ", job["executor"].as_str().unwrap());
    assert!(shown.contains(&first), "{shown}");
    other.stop();
    nothing_is_left(system.dir.path());
}

/// As where a container or a pod is ended, whatever its jobs do.
#[test]
fn jobs_that_outlast_the_time_for_a_drain_are_handed_back() {
    let test = "jobs_that_outlast_the_time_for_a_drain_are_handed_back";
    // Half of it is for the jobs.
    let limit = Duration::from_secs(8);
    let env = [("SRC_GRACEFUL_SHUTDOWN_TIMEOUT", "8s"), ("EXECUTOR_MAXIMUM_NUM_JOBS", "2")];
    let Some(mut system) = System::with(test, &env) else { return };
    let mut agent = system.agent();
    let long = system.submit("echo begun; exec sleep 600");
    let short = system.submit(&format!("echo begun; {GATE}; echo done-anyway"));
    for id in [&long, &short] {
        system.wait_for_log(id, "begun");
    }
    let begun = Instant::now();
    agent.signal("TERM");
    agent.wait_for_line("draining: ");
    system.open_gates(&agent);
    assert!(agent.wait_exit().success());
    let took = begun.elapsed();
    assert!((limit / 2..limit).contains(&took), "it took {took:?}");
    let job = system.show(&short);
    assert_eq!(job["state"], "completed", "one that can ends by itself: {job}");
    let job = system.show(&long);
    assert_eq!((&job["state"], &job["reason"]), (&"errored".into(), &"executor_stopped".into()), "{job}");
    nothing_is_left(system.dir.path());

    let other = system.agent_elsewhere();
    let told = wait(SOON, "the second try", || {
        Some(system.show(&long)).filter(|job| job["state"] == "processing" && job["attempt"] == 2)
    });
    assert_eq!(told["earlierTries"][0]["reason"], "executor_stopped", "{told}");
    system.ok(&["job", "cancel", &long]);
    other.stop();
    nothing_is_left(system.dir.path());
}

#[test]
fn many_jobs_run_side_by_side() {
    let Some(mut system) = System::with("many_jobs_run_side_by_side", &[("EXECUTOR_MAXIMUM_NUM_JOBS", "8")])
    else {
        return;
    };
    let _agent = system.agent();
    let ids: Vec<String> = (0..16).map(|n| system.submit(&format!("echo job number {n}"))).collect();
    for (n, id) in ids.iter().enumerate() {
        system.wait_for_state(id, "completed");
        assert!(system.ok(&["job", "logs", id]).contains(&format!("job number {n}")));
    }
    let list = wait(SOON, "the list", || Some(system.ok(&["job", "list", "--state", "completed"])));
    assert_eq!(list.lines().count(), 17, "{list}");
}

#[test]
fn an_idle_agent_keeps_little_memory() {
    /// Of its own, code and what else is read from files aside, in bytes. A release build keeps a
    /// quarter of it.
    const MOST: u64 = 8 << 20;
    let Some(mut system) = system("an_idle_agent_keeps_little_memory") else { return };
    let agent = system.agent();
    assert_eq!(system.job("true").status.code(), Some(0));
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kept = line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024;
    assert!(kept < MOST, "{kept} bytes after one job");
    agent.stop();
}
