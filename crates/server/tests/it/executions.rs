//! Executions of batch changes: a scripted stock executor works through one in each form, and what it prints is read.

use crate::harness::{EXECUTOR, Harness, problem, told};
use crate::source::SourceRepo;
use jobs::batches::{ExecutionInput, cache_keys};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wire::Job;

const APP: &str = "github.com/acme/app";

fn execution() -> Value {
    json!({"execution": {
        "BatchChangeAttributes": {"Name": "hello", "Description": ""},
        "repository": {"id": "UmVwb3NpdG9yeTox", "name": APP},
        "branch": {"name": "HEAD"},
        "steps": [
            {"run": "echo one > one.txt", "container": "alpine:3"},
            {"run": "echo two > two.txt", "container": "gcc:13", "env": ["NPM_TOKEN", "NEVER_KEPT"]},
        ],
    }})
}

async fn submit(harness: &Harness, spec: &Value) -> i64 {
    let (status, text) = told(harness.api(Method::POST, "/jobs").json(spec)).await;
    assert_eq!(status, 201, "{text}");
    serde_json::from_str::<Value>(&text).unwrap()["id"].as_i64().unwrap()
}

async fn dequeue(harness: &Harness, version: &str) -> (Value, Job) {
    let body = json!({"executorName": EXECUTOR, "version": version});
    let request = harness.executor("/.executors/queue/batches/dequeue").json(&body);
    let (status, text) = told(request).await;
    assert_eq!(status, 200, "{text}");
    (serde_json::from_str(&text).unwrap(), serde_json::from_str(&text).unwrap())
}

/// A log entry with all of its text, as stock executors tell it.
async fn logged(harness: &Harness, job: &Job, key: &str, out: &str) {
    let number = harness.add_log(job, key).await;
    let body = json!({"executorName": EXECUTOR, "jobId": job.id, "entryId": number, "key": key, "command": ["x"],
                      "startTime": "2026-01-02T03:04:05.678Z", "exitCode": 0, "durationMs": 5, "out": out});
    let (status, text) = told(harness.about(job, "batches", "updateExecutionLogEntry").json(&body)).await;
    assert_eq!(status, 204, "{text}");
}

fn event(index: usize, version: u32, diff: &str) -> String {
    let value =
        json!({"version": version, "stepIndex": index, "diff": diff, "outputs": {"k": index}, "stdout": "o"});
    let event = json!({"operation": "CACHE_AFTER_STEP_RESULT", "timestamp": "2023-01-02T03:04:05.678Z",
                       "status": "SUCCESS", "metadata": {"key": format!("told-{index}"), "value": value}});
    format!("stdout: {event}\n")
}

#[tokio::test]
async fn a_stock_executor_works_through_an_execution_in_its_native_form() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository(APP, &source.path()).await;
    harness.set_secret("NPM_TOKEN", "s3cret-value").await;
    let commit = source.git(&["rev-parse", "HEAD"]);
    let id = submit(&harness, &execution()).await;
    let shown = harness.get(&format!("/jobs/{id}")).await;
    assert_eq!((&shown["repository"], &shown["commit"]), (&json!(APP), &json!(commit)));
    assert_eq!(shown["steps"][1]["key"], "step.1.run");
    let results = format!("/jobs/{id}/results");
    let (status, code, detail) = problem(harness.api(Method::GET, &results)).await;
    assert_eq!((status, code.as_str()), (409, "job_not_ended"), "{detail}");

    let (payload, job) = dequeue(&harness, "5.2.0").await;
    assert_eq!(
        (&payload["repositoryName"], &payload["repositoryDirectory"]),
        (&json!(APP), &json!("repository"))
    );
    assert_eq!((&payload["commit"], &payload["cliSteps"]), (&json!(commit), &Value::Null));
    let keys: Vec<_> = payload["dockerSteps"].as_array().unwrap().iter().map(|step| &step["key"]).collect();
    assert_eq!(keys, ["step.0.pre", "step.0.run", "step.0.post", "step.1.pre", "step.1.run", "step.1.post"]);
    assert_eq!(payload["dockerSteps"][0]["image"], "sourcegraph/batcheshelper:insiders");
    assert_eq!(payload["dockerSteps"][0]["env"], json!(["NPM_TOKEN=s3cret-value"]));
    assert_eq!(payload["dockerSteps"][1]["env"], json!([]));
    assert_eq!(payload["redactedValues"]["s3cret-value"], "${{ secrets.NPM_TOKEN }}");

    logged(&harness, &job, "step.docker.step.0.pre", &event(0, 2, "Zm9yZ2Vk")).await;
    logged(&harness, &job, "step.docker.step.0.run", &event(1, 2, "Zm9yZ2Vk")).await;
    logged(
        &harness,
        &job,
        "step.docker.step.0.post",
        &format!("stdout: hi\nstderr: x\n{}", event(0, 2, "b25l")),
    )
    .await;
    logged(&harness, &job, "step.docker.step.1.post", &(event(9, 2, "b25l") + &event(1, 2, "dHdv"))).await;
    assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);

    let found = harness.get(&results).await;
    assert_eq!(
        (&found["job"], &found["state"], &found["problem"]),
        (&json!(id), &json!("completed"), &Value::Null)
    );
    let of = |index: usize| &found["results"][index];
    assert_eq!(found["results"].as_array().unwrap().len(), 2);
    assert_eq!((&of(0)["result"]["diff"], &of(1)["result"]["diff"]), (&json!("b25l"), &json!("dHdv")));
    assert_eq!(
        (&of(0)["reportedCacheKey"], &of(1)["reportedCacheKey"]),
        (&json!("told-0"), &json!("told-1"))
    );
    let mut input: ExecutionInput = serde_json::from_value(execution()["execution"].take()).unwrap();
    input.branch.target.oid.clone_from(&commit);
    let keys = cache_keys(&input, &[0].into(), &BTreeMap::new(), &[]).keys;
    assert_eq!(of(0)["cacheKey"], json!(keys[&0]));
    // A secret's value is part of it.
    assert_eq!(of(1)["cacheKey"], Value::Null);

    // What came of it is what another execution goes on from.
    let mut again = execution();
    again["execution"]["cachedStepResultFound"] = json!(true);
    again["execution"]["cachedStepResult"] = of(0)["result"].clone();
    submit(&harness, &again).await;
    let (payload, _) = dequeue(&harness, "5.2.0").await;
    assert_eq!(payload["dockerSteps"][0]["key"], "apply-diff");
    assert_eq!(payload["dockerSteps"][1]["key"], "step.1.pre");
    assert_eq!(payload["files"]["state.diff"]["content"], "b25l");
}

#[tokio::test]
async fn an_old_executor_works_through_an_execution_in_its_classic_form() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository(APP, &source.path()).await;
    let mut spec = execution();
    spec["files"] = json!([{"path": "lib/x.sh", "content": "echo x"}]);
    spec["secrets"] = json!({"NPM_TOKEN": "brought-along"});
    let id = submit(&harness, &spec).await;
    let (payload, job) = dequeue(&harness, "4.2.0").await;
    let command = json!([
        "batch",
        "exec",
        "-f",
        "input.json",
        "-repo",
        "repository",
        "-tmp",
        ".src-tmp",
        "-workspaceFiles",
        "workspace-files"
    ]);
    let step =
        json!({"key": "batch-exec", "command": command, "dir": ".", "env": ["NPM_TOKEN=brought-along"]});
    assert_eq!((&payload["cliSteps"], &payload["dockerSteps"]), (&json!([step]), &Value::Null));
    assert_eq!(payload["files"]["workspace-files/lib/x.sh"]["content"], "echo x");
    let input: Value =
        serde_json::from_str(payload["files"]["input.json"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(input["branch"]["target"]["oid"], payload["commit"]);
    logged(
        &harness,
        &job,
        "step.src.batch-exec",
        &(event(0, 0, "diff one") + "stdout: {junk\n" + &event(1, 0, "diff two")),
    )
    .await;
    let failed = harness.mark(&job, "markFailed", json!({"errorMessage": "exit code 1"})).await;
    assert_eq!(failed.status(), 204);
    // A step that succeeded is worth keeping, however the job ended.
    let found = harness.get(&format!("/jobs/{id}/results")).await;
    assert_eq!(
        (&found["state"], &found["results"][1]["result"]["diff"]),
        (&json!("failed"), &json!("diff two"))
    );
}

#[tokio::test]
async fn it_is_told_where_there_are_no_results() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository(APP, &source.path()).await;
    let id = submit(&harness, &execution()).await;
    let (_, job) = dequeue(&harness, "5.2.0").await;
    logged(&harness, &job, "step.docker.step.0.post", "stdout: nothing\n").await;
    assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);
    let found = harness.get(&format!("/jobs/{id}/results")).await;
    assert_eq!(found["results"], json!([]));
    assert!(found["problem"].as_str().unwrap().starts_with("found no step results"), "{found}");
    let plain = harness.running_job().await;
    let (status, code, _) = problem(harness.api(Method::GET, &format!("/jobs/{}/results", plain.id))).await;
    assert_eq!((status, code.as_str()), (409, "no_execution"));
    let (status, code, _) = problem(harness.api(Method::GET, "/jobs/999/results")).await;
    assert_eq!((status, code.as_str()), (404, "unknown_job"));
}
