//! What a dequeue answers.

use crate::harness::{EXECUTOR, Harness, job, job_in, job_on, told};
use crate::source::SourceRepo;
use jobs::{JobSpec, StepSpec};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

const SINGLE: &str = "/.executors/queue/batches/dequeue";
const MULTI: &str = "/.executors/queue/dequeue";

#[tokio::test]
async fn an_empty_queue_has_no_content() {
    let harness = Harness::start().await;
    for (path, body) in [
        (SINGLE, json!({"executorName": EXECUTOR, "version": "dev"})),
        (MULTI, json!({"executorName": EXECUTOR, "version": "dev", "queues": ["batches", "codeintel"]})),
        (MULTI, json!({"executorName": EXECUTOR, "version": "dev", "queues": []})),
        (MULTI, json!({"executorName": EXECUTOR, "version": "dev", "queues": null})),
    ] {
        assert_eq!(told(harness.executor(path).json(&body)).await, (204, String::new()), "{body}");
    }
}

#[tokio::test]
async fn each_bad_request_is_told_as_stock_executors_know_it_and_costs_no_job() {
    let harness = Harness::start().await;
    harness.submit(&job()).await;
    for (path, body, expected) in [
        (SINGLE, json!({"version": "5.2.0"}), r#"{"error":"worker hostname cannot be empty"}"#),
        (
            SINGLE,
            json!({"executorName": EXECUTOR, "version": "abc"}),
            r#"{"error":"failed to check version \"abc\": Invalid Semantic Version"}"#,
        ),
        (
            MULTI,
            json!({"executorName": EXECUTOR, "queues": ["bulk", "batches"]}),
            r#"{"error":"Invalid queue name(s) 'bulk' found. Supported queue names are 'batches, codeintel'."}"#,
        ),
    ] {
        assert_eq!(told(harness.executor(path).json(&body)).await, (500, expected.to_owned()));
    }
    let (status, text) = told(harness.executor(SINGLE).body("{")).await;
    assert_eq!(status, 400);
    assert!(text.starts_with("Failed to unmarshal payload: "), "{text}");
    assert_eq!(told(harness.executor("/.executors/queue/bulk/dequeue").body("{}")).await.0, 404);
    assert!(harness.dequeue("batches").await.is_some());
}

#[tokio::test]
async fn the_executors_version_decides_the_payload() {
    let harness = Harness::start().await;
    for (version, expected) in
        [("5.2.0", Some(2)), ("dev", Some(2)), ("4.2.0", None), ("0.0.0-dev", None), ("", None)]
    {
        harness.submit(&job()).await;
        let body = json!({"executorName": EXECUTOR, "version": version});
        let payload: Value = harness.executor(SINGLE).json(&body).send().await.unwrap().json().await.unwrap();
        assert_eq!(payload.get("version").and_then(Value::as_i64), expected, "{version:?}");
        assert_eq!(payload.get("dockerAuthConfig").is_some(), expected.is_some(), "{version:?}");
    }
}

#[tokio::test]
async fn a_job_holds_every_key_the_protocol_always_has() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository("github.com/acme/app", &source.path()).await;
    let spec = JobSpec {
        repo: Some("github.com/acme/app".to_owned()),
        env: [("A".to_owned(), "job".to_owned()), ("B".to_owned(), "job".to_owned())].into(),
        secrets: [("TOKEN".to_owned(), "s3cr3t".to_owned())].into(),
        steps: vec![
            StepSpec {
                name: Some("build".to_owned()),
                image: "alpine:3".to_owned(),
                run: "set -e\n\nmake\n".to_owned(),
                dir: "sub".to_owned(),
                env: [("B".to_owned(), "step".to_owned())].into(),
                ..StepSpec::default()
            },
            StepSpec { image: "busybox".to_owned(), run: "true".to_owned(), ..StepSpec::default() },
        ],
        ..job()
    };
    let id = harness.submit(&spec).await;
    // One of ours, which finds all forms of a secret by itself.
    let dequeue = harness.dequeue_request("batches").header("Prefer", "lease-term");
    let mut payload: Value = dequeue.send().await.unwrap().json().await.unwrap();
    let token = payload["token"].take();
    assert_eq!(token.as_str().map(str::len), Some(40));
    let expected = json!({
        "version": 2, "id": id, "token": null,
        "repositoryName": "github.com/acme/app", "repositoryDirectory": "",
        "commit": source.git(&["rev-parse", "HEAD"]),
        "fetchTags": false, "shallowClone": true, "sparseCheckout": null, "files": {},
        "dockerSteps": [
            {"key": "build", "image": "alpine:3", "commands": ["set -e", "", "make"], "dir": "sub",
             "env": ["A=job", "B=step", "TOKEN=s3cr3t"]},
            {"key": "1", "image": "busybox", "commands": ["true"], "dir": "",
             "env": ["A=job", "B=job", "TOKEN=s3cr3t"]},
        ],
        "cliSteps": null, "redactedValues": {"s3cr3t": "${{ secrets.TOKEN }}"}, "dockerAuthConfig": {},
    });
    assert_eq!(payload, expected);
}

#[tokio::test]
async fn a_multi_queue_answer_tells_the_queue_and_falls_through_empty_ones() {
    let harness = Harness::start().await;
    for queue in ["codeintel", "batches", "codeintel"] {
        harness.submit(&job_on(queue)).await;
    }
    let body = json!({"executorName": EXECUTOR, "version": "dev", "queues": ["batches", "codeintel"]});
    let mut queues = Vec::new();
    for _ in 0..3 {
        let response = harness.executor(MULTI).json(&body).send().await.unwrap();
        assert_eq!(response.headers()["executors-capabilities"], "log-append");
        assert_eq!(response.headers()["executors-lease-term"], "25000");
        queues.push(job_in(response).await.unwrap().queue.unwrap());
    }
    queues.sort();
    assert_eq!(queues, ["batches", "codeintel", "codeintel"]);
    assert_eq!(harness.executor(MULTI).json(&body).send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn dequeues_of_one_queue_do_not_count_towards_its_share() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.jsonc");
    // At its limit batches would come last; below it chance never favours codeintel.
    let write = |limit: u32, [batches, codeintel]: [u32; 2]| {
        let shares = json!({
            "batches": {"limit": limit, "weight": batches}, "codeintel": {"limit": limit, "weight": codeintel}
        });
        let text = json!({
            "executors.accessToken": "0123456789012345678901234567890123456789",
            "executors.multiqueue": {"dequeueCacheConfig": shares}
        });
        std::fs::write(&site, text.to_string()).unwrap();
    };
    write(1, [4_000_000_000, 1]);
    let harness = Harness::start_in(dir, |config| config.site_config = Some(site.clone())).await;
    for queue in ["batches", "batches", "batches", "codeintel"] {
        harness.submit(&job_on(queue)).await;
    }
    assert!(harness.dequeue("batches").await.is_some());
    let body = json!({"executorName": EXECUTOR, "version": "dev", "queues": ["batches", "codeintel"]});
    let given = async || {
        let response = harness.executor(MULTI).json(&body).send().await.unwrap();
        job_in(response).await.unwrap().queue.unwrap()
    };
    let queues = [given().await, given().await];
    assert_eq!(queues, ["batches", "codeintel"], "the second multi-queue dequeue meets the limit");
    // What is written there counts from the next dequeue on.
    for queue in ["codeintel", "codeintel"] {
        harness.submit(&job_on(queue)).await;
    }
    write(1_000, [1, 4_000_000_000]);
    let queues = [given().await, given().await, given().await];
    assert_eq!(queues, ["codeintel", "codeintel", "batches"]);
}

#[tokio::test]
async fn a_job_that_can_not_be_built_has_failed() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository("demo", &source.path()).await;
    let id = harness.submit(&JobSpec { repo: Some("demo".to_owned()), ..job() }).await;
    let removed = harness.api(Method::DELETE, "/repositories/demo").send().await.unwrap();
    assert_eq!(removed.status(), 204);
    let cause = r#"repository "demo" was removed after the job was submitted"#;
    let (status, text) = told(harness.dequeue_request("batches")).await;
    assert_eq!((status, text), (500, json!({"error": format!("RecordTransformer: {cause}")}).to_string()));
    let job = harness.get(&format!("/jobs/{id}")).await;
    assert_eq!(job["state"], "failed");
    assert_eq!(job["message"], format!("failed to transform record: {cause}"));
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_in_clear_words() {
    let harness = Harness::start_with(|config| config.limits.call_body = 100).await;
    let (status, text) = told(harness.executor(SINGLE).body(vec![b' '; 101])).await;
    assert_eq!(status, 413);
    assert_eq!(
        text,
        r#"{"error":"the request body is larger than 100 bytes, which is the limit for this call"}"#
    );
}

#[tokio::test]
async fn an_executor_of_ours_is_given_as_many_jobs_as_it_has_places_for() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository("demo", &source.path()).await;
    let mut on_repository = job();
    on_repository.repo = Some("demo".to_owned());
    let mut ids = Vec::new();
    for spec in [job(), on_repository, job(), job(), job()] {
        ids.push(harness.submit(&spec).await);
    }
    let removed = harness.api(Method::DELETE, "/repositories/demo").send().await.unwrap();
    assert_eq!(removed.status(), 204);
    let ask = |most: &str| harness.dequeue_request("batches").header("Executors-Most", most);
    let three: Value = ask("3").send().await.unwrap().json().await.unwrap();
    let more = three["more"].as_array().unwrap();
    // The second one can't be run, which costs the others nothing.
    assert_eq!((&three["id"], &more[0]["id"], more.len()), (&json!(ids[0]), &json!(ids[2]), 1));
    assert_eq!(harness.get(&format!("/jobs/{}", ids[1])).await["state"], "failed");
    assert_ne!(three["token"], more[0]["token"]);
    let second = wire::Job::deserialize(&more[0]).unwrap();
    assert_eq!(harness.mark(&second, "markComplete", json!({})).await.status(), 204);

    let one: Value = harness.dequeue_request("batches").send().await.unwrap().json().await.unwrap();
    assert_eq!((&one["id"], one.get("more")), (&json!(ids[3]), None), "whoever does not ask is given one");
    let last: Value = ask("9").send().await.unwrap().json().await.unwrap();
    assert_eq!((&last["id"], last.get("more")), (&json!(ids[4]), None));
    assert_eq!(told(ask("9")).await, (204, String::new()));
}
