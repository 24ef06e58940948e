//! `kill -9` of each part in the middle of a job.

use crate::leftovers::{leftovers_of, nothing_is_left};
use crate::support::{SOON, System, http, system, wait};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Prints numbered lines for a while.
const COUNT: &str = "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo line-$i; usleep 50000; done";

fn numbers(log: &str) -> Vec<u32> {
    log.lines().filter_map(|line| line.strip_prefix("line-")?.parse().ok()).collect()
}

#[test]
fn a_job_goes_on_while_the_server_dies_and_no_byte_of_its_log_is_lost() {
    let Some(mut system) = system("a_job_goes_on_while_the_server_dies_and_no_byte_of_its_log_is_lost")
    else {
        return;
    };
    let _agent = system.agent();
    let id = system.submit(&format!("set +x; {COUNT}"));
    system.wait_for_log(&id, "line-20\n");
    system.restart_server();
    let job = system.wait_for_state(&id, "completed");
    assert_eq!(job["attempt"], 1, "it was not run again: {job}");
    let log = system.ok(&["job", "logs", &id]);
    assert_eq!(numbers(&log), (1..=200).collect::<Vec<_>>());
}

#[test]
fn a_followed_log_survives_the_server() {
    let Some(mut system) = system("a_followed_log_survives_the_server") else { return };
    let _agent = system.agent();
    let id = system.submit(&format!("set +x; {COUNT}"));
    let follower =
        system.executor(&["job", "logs", "-f", &id]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    system.wait_for_log(&id, "line-20\n");
    system.restart_server();
    let output = follower.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(numbers(&String::from_utf8_lossy(&output.stdout)), (1..=200).collect::<Vec<_>>());
}

#[test]
fn a_job_of_a_dead_agent_completes_on_another() {
    let test = "a_job_of_a_dead_agent_completes_on_another";
    let Some(mut system) = System::serving(test, &["--lease", "15s"], &[]) else { return };
    let mut first = system.agent();
    // Both tries last long enough for the first to be ended before its lease is over, 12 s after its last heartbeat.
    let id = system.submit("echo begun; sleep 18");
    system.wait_for_log(&id, "begun");
    let killed = Instant::now();
    first.kill();
    let second = system.agent_elsewhere();
    let data_dir = PathBuf::from(system.agent_dir());
    let (mut gone, mut left) = (None, Vec::new());
    let job = wait(Duration::from_secs(35), "the job to be taken again", || {
        // Looked for first: what is there now may be gone when the job is asked for.
        if gone.is_none() {
            left = leftovers_of(&data_dir);
            gone = left.is_empty().then(|| killed.elapsed());
        }
        let job = system.show(&id);
        (job["attempt"] == 2).then_some(job)
    });
    assert!(killed.elapsed() < Duration::from_secs(35), "{job}");
    let gone = gone.unwrap_or_else(|| panic!("its sandbox is gone before the job is given away: {left:#?}"));
    assert!(gone > Duration::from_secs(5), "an agent that returns in time finds the job: {gone:?}");
    assert!(job["executor"].as_str().unwrap().starts_with("agent2-"), "{job}");
    let job = system.wait_for_state(&id, "completed");
    assert_eq!(job["attempt"], 2);
    second.stop();
    nothing_is_left(system.dir.path());
}

#[test]
fn with_the_shortest_lease_a_job_is_kept_and_is_given_away_soon() {
    let test = "with_the_shortest_lease_a_job_is_kept_and_is_given_away_soon";
    let Some(mut system) = System::serving(test, &["--lease", "3s"], &[]) else { return };
    let mut first = system.agent();
    let kept = system.submit("sleep 10");
    let job = system.wait_for_state(&kept, "completed");
    assert_eq!(job["attempt"], 1, "it outlasts three leases: {job}");
    let id = system.submit("echo begun; sleep 60");
    system.wait_for_log(&id, "begun");
    let second = system.agent_elsewhere();
    let killed = Instant::now();
    first.kill();
    let job = wait(SOON, "the job to be taken again", || {
        let job = system.show(&id);
        (job["attempt"] == 2).then_some(job)
    });
    // The lease, the time from one look for such leases to the next, and what a slow machine takes to hand the job on.
    let soon = Duration::from_millis(3_000 + 750) + Duration::from_secs(3);
    assert!(killed.elapsed() < soon, "{:?}: {job}", killed.elapsed());
    let first = job["earlierTries"][0]["executor"].clone();
    let agents: serde_json::Value = serde_json::from_str(&system.ok(&["agent", "list", "--json"])).unwrap();
    let silent = agents.as_array().unwrap().iter().find(|agent| agent["name"] == first);
    assert_eq!(silent.unwrap()["active"], false, "{agents}");
    assert!(job["executor"].as_str().unwrap().starts_with("agent2-"), "{job}");
    system.ok(&["job", "cancel", &id]);
    system.wait_for_state(&id, "canceled");
    second.stop();
}

#[tokio::test]
async fn an_old_token_is_dead_once_the_job_was_given_away() {
    let test = "an_old_token_is_dead_once_the_job_was_given_away";
    let Some(mut system) = System::serving(test, &["--lease", "10s"], &[]) else { return };
    let id = system.submit("echo by-the-second; sleep 5");
    let client = http();
    let (url, secret) = (system.url(), system.shared_secret());
    let call = |path: &str| client.post(format!("{url}/.executors/queue/batches/{path}"));
    let taken = call("dequeue")
        .header("Authorization", format!("token-executor {secret}"))
        .json(&serde_json::json!({ "executorName": "silent", "version": "5.9.0" }))
        .send()
        .await
        .unwrap();
    let job: serde_json::Value = taken.json().await.unwrap();
    assert_eq!(job["id"].to_string(), id);
    let token = job["token"].as_str().unwrap().to_owned();
    let mark = |token: String| {
        call("markComplete")
            .header("Authorization", format!("Bearer {token}"))
            .header("X-Sourcegraph-Job-ID", &id)
            .header("X-Sourcegraph-Executor-Name", "silent")
            .json(&serde_json::json!({ "executorName": "silent", "jobId": job["id"] }))
            .send()
    };
    let _agent = system.agent();
    wait(Duration::from_secs(35), "the job to begin on the second executor", || {
        let job = system.show(&id);
        (job["state"] == "processing" && job["attempt"] == 2).then_some(())
    });
    assert_eq!(mark(token).await.unwrap().status(), 401, "the old token still works");
    let job = system.show(&id);
    assert_eq!(job["state"], "processing", "the second executor's job was ended by the first: {job}");
    system.wait_for_state(&id, "completed");
}

#[test]
fn a_submitted_job_survives_the_server() {
    let Some(mut system) = system("a_submitted_job_survives_the_server") else { return };
    let ids: Vec<String> = (0..5).map(|n| system.submit(&format!("echo survivor {n}"))).collect();
    system.restart_server();
    let _agent = system.agent();
    for id in &ids {
        system.wait_for_state(id, "completed");
    }
    wait(SOON, "the log", || system.ok(&["job", "logs", &ids[4]]).contains("survivor 4").then_some(()));
}
