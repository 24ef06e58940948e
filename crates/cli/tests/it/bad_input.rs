//! Bad input gets one clear line at the right place, and loses nothing.

use crate::support::{System, http, system, text};

/// The most bytes of a submitted job. A sender of much more would be hung up on, and could miss why.
const JOB_BODY: usize = 16 << 20;

fn after_all_that_a_job_runs(system: &System) {
    let output = system.job("echo fine");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn what_can_be_known_at_once_is_refused_at_once() {
    let Some(mut system) = system("what_can_be_known_at_once_is_refused_at_once") else { return };
    let _agent = system.agent();
    let (path, _) = system.git_repository();
    system.ok(&["repo", "add", "app", &path]);
    let run = |args: &[&str]| system.refused(&[&["job", "run", "--image", "busybox"], args].concat());

    for (said, parts) in [
        (run(&["--repo", "nope", "--", "true"]), vec!["nope", "executor repo"]),
        (run(&["--repo", "app", "--rev", "no-such-branch", "--", "true"]), vec!["no-such-branch", "app"]),
        (run(&["--repo", "app", "--rev", &"0".repeat(40), "--", "true"]), vec!["00000000", "app"]),
        (run(&["--queue", "bulk", "--", "true"]), vec!["bulk", "batches", "codeintel"]),
        (run(&["--env", "1X=y", "--", "true"]), vec!["1X"]),
        (run(&[]), vec!["nothing to run"]),
        (system.refused(&["job", "show", "999"]), vec!["999"]),
        (system.refused(&["job", "cancel", "999"]), vec!["999"]),
        (system.refused(&["job", "list", "--state", "lost"]), vec!["lost", "queued"]),
        (system.refused(&["repo", "add", "app", &path]), vec!["app", "exists"]),
        (system.refused(&["repo", "add", "../x", &path]), vec!["../x"]),
        (system.refused(&["repo", "add", "y", "/no/such/path"]), vec!["/no/such/path"]),
        (system.refused(&["repo", "add", "z", "ext::sh -c true"]), vec!["ext::"]),
    ] {
        for part in parts {
            assert!(said.contains(part), "{part:?} in {said}");
        }
    }
    let jobs: serde_json::Value = serde_json::from_str(&system.ok(&["job", "list", "--json"])).unwrap();
    assert_eq!(jobs["items"].as_array().unwrap().len(), 0, "a refused job was stored: {jobs}");
    after_all_that_a_job_runs(&system);
}

#[test]
fn a_broken_job_file_is_refused_with_its_place() {
    let Some(mut system) = system("a_broken_job_file_is_refused_with_its_place") else { return };
    let _agent = system.agent();
    let file = system.dir.path().join("job.yaml");
    for (yaml, part) in [
        ("steps: [", "job.yaml"),
        ("image: a\nsteps:\n  - scirpt: x\n", "scirpt"),
        ("image: busybox\nsteps:\n  - script: not-there.sh\n", "not-there.sh"),
        ("image: busybox\nsteps: []\n", "no steps"),
    ] {
        std::fs::write(&file, yaml).unwrap();
        let said = system.refused(&["job", "run", "--file", &file.to_string_lossy()]);
        assert!(said.contains(part), "{part:?} in {said}");
    }
    assert!(system.refused(&["job", "run", "--file", "/no/such/file.yaml"]).contains("/no/such/file.yaml"));
    after_all_that_a_job_runs(&system);
}

#[test]
fn an_unknown_image_ends_the_job_with_its_reason() {
    let test = "an_unknown_image_ends_the_job_with_its_reason";
    let Some(mut system) = System::serving(test, &["--fault-retries", "0"], &[]) else { return };
    let _agent = system.agent();
    let output = system.run(&["job", "run", "--image", "localhost:1/no/such:image", "--", "true"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let job = system.newest();
    assert_eq!(job["reason"], "image_unavailable", "{job}");
    assert!(job["message"].as_str().unwrap().contains("localhost:1/no/such:image"), "{job}");
    let said = system.refused(&["job", "run", "--image", "Not A Reference", "--", "true"]);
    assert!(said.contains("Not A Reference"), "{said}");
    after_all_that_a_job_runs(&system);
}

#[test]
fn a_command_that_is_not_there_is_the_job_s_failure() {
    let Some(mut system) = system("a_command_that_is_not_there_is_the_job_s_failure") else { return };
    let _agent = system.agent();
    let output = system.run(&["job", "run", "--image", "busybox", "--", "./no-such-script.sh"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("no-such-script.sh"), "{}", text(&output));
    let job = system.newest();
    assert_eq!(
        (job["reason"].as_str(), job["end"]["exitCode"].as_i64()),
        (Some("exit_code"), Some(127)),
        "{job}"
    );
}

#[tokio::test]
async fn a_wrong_token_or_a_body_too_large_is_told_at_the_door() {
    let Some(system) = system("a_wrong_token_or_a_body_too_large_is_told_at_the_door") else { return };
    let output = system.executor(&["job", "list"]).env("EXECUTOR_API_TOKEN", "wrong").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("token"), "{}", text(&output));

    let client = http();
    let jobs = format!("{}/api/v1/jobs", system.url());
    let post = |body: Vec<u8>| client.post(&jobs).bearer_auth(system.setting("apiToken")).body(body).send();
    let large = post(vec![b' '; JOB_BODY + 1]).await.unwrap();
    assert_eq!(large.status(), 413, "{}", large.text().await.unwrap());
    let broken = post(b"{".to_vec()).await.unwrap();
    assert!(broken.status().is_client_error());
    let dequeue = |token: String| {
        client
            .post(format!("{}/.executors/queue/batches/dequeue", system.url()))
            .header("Authorization", format!("token-executor {token}"))
            .json(&serde_json::json!({ "executorName": "x", "version": "5.9.0" }))
            .send()
    };
    assert_eq!(dequeue("wrong".into()).await.unwrap().status(), 401);
    assert_eq!(dequeue(system.shared_secret()).await.unwrap().status(), 204);
}

#[test]
fn a_server_that_is_not_there_is_told_with_its_address() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_executor"));
    command.args(["job", "list"]).env("XDG_CONFIG_HOME", dir.path());
    let none = command.output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none).contains("executor up"), "{}", text(&none));
    command.env("EXECUTOR_SERVER_URL", "http://127.0.0.1:1").env("EXECUTOR_API_TOKEN", "x");
    let gone = command.output().unwrap();
    assert_eq!(gone.status.code(), Some(3), "{}", text(&gone));
    assert!(text(&gone).contains("127.0.0.1:1"), "{}", text(&gone));
}

#[test]
fn the_agent_tells_every_fault_of_its_environment() {
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_executor")).arg("run").env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("4 errors occurred:"), "{}", text(&output));
}
