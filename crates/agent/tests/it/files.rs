//! Files and scripts in the workspace.

use crate::support::{Call, Harness, Plan, job, step};
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

fn with_files(files: Value) -> Plan {
    let mut payload = job(1, &[step("a")]);
    payload["files"] = files;
    Plan { jobs: [payload.to_string()].into(), ..Plan::default() }
}

#[tokio::test]
async fn files_come_from_the_payload_and_from_the_files_api() {
    let mut failures = 1;
    let mut plan = with_files(json!({
        "a/inline.txt": {"content": STANDARD.encode("inline"), "modifiedAt": "2001-02-03T04:05:06Z"},
        "/abs//./b.txt": {"content": STANDARD.encode("abs")},
        "stored.bin": {"bucket": "uploads", "key": "some/key 1"},
        "empty": {},
    }));
    plan.before = Some(Box::new(move |call| {
        let fail = call.path.contains("/files/") && failures > 0;
        failures -= i32::from(fail);
        fail.then(|| StatusCode::BAD_GATEWAY.into_response())
    }));
    plan.extra = Some(Box::new(|call: &Call, _: Bytes| -> Option<Response> {
        assert_eq!(call.header("authorization"), Some("Bearer job-token-0123"));
        (call.path == "/.executors/files/uploads/some/key%201").then(|| "stored bytes".into_response())
    }));
    let harness = Harness::start(plan, Vec::new());
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markComplete", "{body}");
    let files = harness.runtime.opened()[0].files.clone();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [".sourcegraph-executor/1.0_@.sh", "a/inline.txt", "abs/b.txt", "empty", "stored.bin"]);
    let contents: Vec<&str> = files[1..].iter().map(|(_, content)| content.as_str()).collect();
    assert_eq!(contents, ["inline", "abs", "", "stored bytes"]);
    let entry = harness.plane.plan().entry("setup.fs.extras").unwrap();
    assert_eq!((entry.out.lines().count(), entry.exit_code, entry.command), (5, Some(0), Value::Null));
    harness.end().await;
}

#[tokio::test]
async fn nothing_is_written_outside_of_the_workspace() {
    for name in ["../x", "a/../../x", "/../../tmp/x", "..", "."] {
        let harness = Harness::start(with_files(json!({name: {"content": ""}})), Vec::new());
        let (mark, body) = harness.marked().await;
        assert_eq!((mark.as_str(), &body["end"]["reason"]), ("markErrored", &json!("bad_job")), "{name}");
        let opened = harness.runtime.opened()[0].clone();
        assert!(opened.closed && opened.steps.is_empty());
        let entry = harness.plane.plan().entry("setup.fs.extras").unwrap();
        assert_eq!(entry.exit_code, Some(1));
        harness.end().await;
    }
}

#[tokio::test]
async fn a_stored_file_that_is_not_there_fails_the_job() {
    let mut plan = with_files(json!({"x": {"bucket": "b", "key": "k"}}));
    let mut tries = 0;
    plan.before = Some(Box::new(move |call| {
        let missing = (StatusCode::NOT_FOUND, "workspace file does not exist\n");
        // The first answer is somebody else's, and says nothing of the file.
        tries += i32::from(call.path.contains("/files/"));
        match (call.path.contains("/files/"), tries) {
            (true, 1) => Some((StatusCode::NOT_FOUND, "<html>default backend</html>").into_response()),
            (true, _) => Some(missing.into_response()),
            _ => None,
        }
    }));
    let harness = Harness::start(plan, Vec::new());
    let (mark, body) = harness.marked().await;
    assert_eq!((mark.as_str(), &body["end"]["reason"]), ("markErrored", &json!("bad_job")));
    assert_eq!(
        body["errorMessage"],
        "creating workspace: failed to get workspace files: b/k: unexpected status code 404: workspace file does not exist"
    );
    let asked = harness.plane.plan().calls.iter().filter(|call| call.path.contains("/files/")).count();
    assert_eq!(asked, 2);
    harness.end().await;
}

#[tokio::test]
async fn a_stored_files_name_does_not_lead_to_another_call() {
    let plan = with_files(json!({"x": {"bucket": "..", "key": "queue/batches/dequeue"}}));
    let harness = Harness::start(plan, Vec::new());
    assert_eq!(harness.marked().await.1["end"]["reason"], "bad_job");
    harness.end().await;
}
