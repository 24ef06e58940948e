//! Jobs that are too much of something.

use super::{is_well, peak_memory};
use crate::harness::{EXECUTOR, Harness, job, problem, told};
use jiff::SignedDuration;
use jobs::spec::{MAX_SPEC_BYTES, MAX_STEPS};
use jobs::{JobSpec, StepSpec};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::MockClock;

/// What nobody should have to wait for longer.
const PROMPT: Duration = Duration::from_secs(5);

fn steps(count: usize) -> Vec<StepSpec> {
    let step = |n| StepSpec {
        name: Some(format!("s{n}")),
        image: "a".into(),
        run: "true".into(),
        ..StepSpec::default()
    };
    (0..count).map(step).collect()
}

/// A job as large as one may be.
fn largest_job() -> JobSpec {
    let mut spec = job();
    spec.steps[0].run = "x".repeat(MAX_SPEC_BYTES - 100);
    spec
}

#[tokio::test]
async fn a_thousand_steps_are_given_out_and_shown_at_once() {
    let harness = Harness::start().await;
    let id = harness.submit(&JobSpec { steps: steps(MAX_STEPS), ..job() }).await;
    let given = harness.dequeue("batches").await.unwrap();
    assert_eq!(given.docker_steps.len(), MAX_STEPS);
    for n in 0..MAX_STEPS {
        let body = json!({"executorName": EXECUTOR, "jobId": id, "key": format!("step.docker.s{n}"), "command": [],
                          "startTime": "2023-01-02T03:04:05Z", "out": "", "exitCode": n % 3});
        let added = harness.about(&given, "batches", "addExecutionLogEntry").json(&body);
        assert_eq!(told(added).await.0, 200);
    }
    let begun = Instant::now();
    let shown = harness.get(&format!("/jobs/{id}")).await;
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    let shown = shown["steps"].as_array().unwrap();
    assert_eq!(shown.len(), MAX_STEPS);
    for (n, step) in shown.iter().enumerate() {
        assert_eq!((&step["key"], &step["exitCode"]), (&json!(format!("s{n}")), &json!(n % 3)));
    }
    let (status, _, detail) = {
        let spec = JobSpec { steps: steps(MAX_STEPS + 1), ..job() };
        problem(harness.api(Method::POST, "/jobs").json(&spec)).await
    };
    assert_eq!(status, 422);
    assert!(detail.contains("1001 steps"), "{detail}");
}

#[tokio::test]
async fn variables_times_steps_have_a_bound() {
    let harness = Harness::start().await;
    let env = (0..8).map(|n| (format!("V{n}"), "x".repeat(120_000))).collect();
    let spec = JobSpec { env, steps: steps(MAX_STEPS), ..job() };
    let (status, code, detail) = problem(harness.api(Method::POST, "/jobs").json(&spec)).await;
    assert_eq!((status, code.as_str()), (422, "invalid_job"));
    assert!(detail.contains("33554432"), "{detail}");
    // As much as is allowed reaches an executor in one piece.
    let fits = JobSpec { steps: steps(34), ..spec };
    harness.submit(&fits).await;
    let given = harness.dequeue("batches").await.unwrap();
    assert_eq!(given.docker_steps[33].env.len(), 8);
    is_well(&harness, 1).await;
}

#[tokio::test]
async fn many_of_the_largest_jobs_cost_lists_and_resets_next_to_nothing() {
    const LARGE: usize = 25;
    const ALL: usize = 200;
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let harness = Harness::start_with(|config| {
        config.clock = clock.clone();
        config.lease.scan_interval = Duration::from_millis(20);
    })
    .await;
    let body = serde_json::to_string(&largest_job()).unwrap();
    for _ in 0..LARGE {
        let submitted = harness.api(Method::POST, "/jobs").body(body.clone()).send().await.unwrap();
        assert_eq!(submitted.status(), 201);
    }
    for _ in LARGE..ALL {
        harness.submit(&job()).await;
    }
    let before = peak_memory();
    let begun = Instant::now();
    is_well(&harness, ALL).await;
    let queued = harness.get("/jobs?state=queued&limit=500").await;
    assert_eq!(queued["items"].as_array().unwrap().len(), ALL);
    assert!(begun.elapsed() < PROMPT, "listing took {:?}", begun.elapsed());

    for _ in 0..20 {
        let given = harness.dequeue_request("batches").send().await.unwrap();
        assert_eq!(given.status(), 200);
        given.bytes().await.unwrap();
    }
    clock.advance(SignedDuration::from_secs(60));
    let begun = Instant::now();
    while !harness.get("/jobs?state=processing").await["items"].as_array().unwrap().is_empty() {
        assert!(begun.elapsed() < PROMPT, "jobs were not taken back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let grown = peak_memory().saturating_sub(before);
    assert!(grown < 70, "{grown} MiB more");
}

#[tokio::test]
async fn texts_that_only_look_harmless_come_back_as_they_were() {
    let harness = Harness::start().await;
    let odd =
        "'; DROP TABLE jobs; --\u{0}\u{1b}[2J\u{202e}<script>\"\\\r\n%s${{ secrets.X }}\u{feff}\u{10ffff}";
    let mut spec = JobSpec { env: [("A".to_owned(), odd.replace('\0', ""))].into(), ..job() };
    spec.steps[0].run = odd.to_owned();
    let id = harness.submit(&spec).await;
    let given = harness.dequeue("batches").await.unwrap();
    assert_eq!(given.docker_steps[0].commands.join("\n"), odd);
    assert_eq!(given.docker_steps[0].env, [format!("A={}", odd.replace('\0', ""))]);
    let marked = harness.mark(&given, "markFailed", json!({"errorMessage": odd})).await;
    assert_eq!(marked.status(), 204);
    // One database's texts have no NUL.
    assert_eq!(harness.get(&format!("/jobs/{id}")).await["message"], odd.replace('\0', "\u{fffd}"));
    is_well(&harness, 1).await;
}

#[tokio::test]
async fn a_job_can_not_end_twice_or_for_another() {
    let harness = Harness::start().await;
    let (one, other) = (harness.running_job().await, harness.running_job().await);
    for (id, executor, expected) in [
        (json!(other.id), EXECUTOR, 404),
        (json!(one.id), "exec-2", 404),
        (json!(other.id.to_string()), EXECUTOR, 400),
        (json!(i64::MAX), EXECUTOR, 404),
        (json!(-1), EXECUTOR, 404),
        (json!(1e300), EXECUTOR, 400),
        (json!([one.id]), EXECUTOR, 400),
        (Value::Null, EXECUTOR, 400),
        (json!(one.id), EXECUTOR, 204),
        (json!(one.id), EXECUTOR, 401),
    ] {
        let body = json!({"executorName": executor, "jobId": id});
        let marked = told(harness.about(&one, "batches", "markComplete").json(&body)).await;
        assert_eq!(marked.0, expected, "{body}: {}", marked.1);
    }
    assert_eq!(harness.get(&format!("/jobs/{}", other.id)).await["state"], "processing");
}
