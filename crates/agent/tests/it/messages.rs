//! What a job is said to have failed at, in the documented words.

use crate::support::{Act, Harness, Plan, Told, job, step};
use serde_json::{Value, json};
use std::path::Path;

/// The message of a job with this payload, whose step does this, and the last entry of its log.
async fn message(payload: Value, acts: Vec<Act>, place: &Path) -> (String, Option<String>) {
    let plan = Plan { jobs: [payload.to_string()].into(), ..Plan::default() };
    let harness = Harness::start_in(place, plan, vec![acts], |config| {
        config.src_steps = true;
        config.audit.in_log = true;
        // Nothing can be found there.
        config.tool_env = vec![("PATH".to_owned(), "/nowhere".to_owned())];
    });
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markErrored", "{body}");
    let last = harness.plane.plan().entry("teardown.fs").map(|entry| entry.out);
    harness.end().await;
    (body["errorMessage"].as_str().unwrap().to_owned(), last)
}

/// A job that src has a part in.
fn with_src(payload: Value) -> Value {
    let mut payload = payload;
    payload["cliSteps"] = json!([{"key": "a", "command": ["batch", "exec"], "dir": "", "env": null}]);
    payload
}

/// A job with a repository.
fn with_clone(payload: Value) -> Value {
    let mut payload = payload;
    payload["repositoryName"] = json!("github.com/acme/app");
    payload["commit"] = json!("0123456789012345678901234567890123456789");
    payload
}

#[tokio::test]
async fn what_failed_is_told_with_what_was_being_done() {
    let told = Told::all();
    let temp = std::env::temp_dir();
    let plain = || job(1, &[step("a")]);

    let (said, last) = message(plain(), vec![Act::Exit(3)], &temp).await;
    assert_eq!(said, "running command \"step.docker.a\": command failed with exit code 3");
    assert!(last.unwrap().starts_with("Removing /"));
    assert!(told.lines().iter().any(|line| line.contains("Received new job to process")));

    let (said, _) = message(with_src(plain()), vec![Act::Exit(3)], &temp).await;
    assert_eq!(said, "failed to perform docker step: command failed with exit code 3");

    let (said, _) = message(with_clone(plain()), Vec::new(), &temp).await;
    assert!(said.starts_with("creating workspace: failed setup.git."), "{said}");
    assert!(said.contains(": starting command: No such file"), "{said}");
    let (said, _) = message(with_src(with_clone(plain())), Vec::new(), &temp).await;
    assert!(said.starts_with("failed to prepare workspace: failed setup.git."), "{said}");

    let (said, _) = message(plain(), Vec::new(), Path::new("/nowhere")).await;
    assert!(said.starts_with("creating runtime runner: "), "{said}");
}

/// What was never started came to no exit code, which has a number of its own.
#[tokio::test]
async fn a_program_that_could_not_be_started_has_the_exit_code_minus_one() {
    let plan = Plan { jobs: [with_clone(job(1, &[step("a")])).to_string()].into(), ..Plan::default() };
    let harness = Harness::start_with(plan, Vec::new(), |config| {
        config.tool_env = vec![("PATH".to_owned(), "/nowhere".to_owned())];
    });
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markErrored", "{body}");
    let entry = harness.plane.plan().entry("setup.git.init").unwrap();
    assert_eq!(entry.exit_code, Some(-1), "{entry:?}");
    harness.end().await;
}

#[tokio::test]
async fn what_can_t_be_cleaned_up_is_told_and_fails_no_job() {
    let plan = Plan { jobs: [job(1, &[step("a")]).to_string()].into(), ..Plan::default() };
    let work_dir = tempfile::tempdir().unwrap();
    // Where kept workspaces would be.
    std::fs::write(work_dir.path().join("kept"), "").unwrap();
    let harness = Harness::start_with(plan, vec![vec![Act::Exit(0)]], |config| {
        config.keep_workspaces = true;
        work_dir.path().clone_into(&mut config.work_dir);
    });
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markComplete", "{body}");
    let entry = harness.plane.plan().entry("teardown.fs").unwrap();
    assert!(entry.out.starts_with("Operation failed: keeping /"), "{entry:?}");
    assert_eq!(entry.exit_code, Some(0));
    harness.end().await;
}
