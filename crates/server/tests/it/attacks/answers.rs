//! Answers that take more than they seem to, and such that nobody reads.

use super::{api_token, is_well, peak_memory};
use crate::harness::{EXECUTOR, Harness, in_api, problem, told};
use reqwest::Method;
use serde_json::{Value, json};
use server::Limits;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::Job;

const MIB: usize = 1 << 20;
/// What nobody should have to wait for longer, whatever else the machine does.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// Refusals in a row, after which there is no room for longer than a moment.
const REFUSALS: usize = 10;

/// A list of six bytes each, which as values are hundreds.
fn small_objects(bytes: usize) -> String {
    format!("[{}]", vec![r#"{"":0}"#; bytes / 7].join(","))
}

/// An execution of so many steps, as text, with more in it.
fn execution(steps: usize, script: &str, more: &str) -> String {
    let steps = vec![json!({"run": script, "container": "alpine:3"}).to_string(); steps].join(",");
    format!(r#"{{"queue":"batches","execution":{{"repository":{{"name":"app"}},"steps":[{steps}]{more}}}}}"#)
}

/// Submits an execution in a repository that is there, and takes it.
async fn running(harness: &Harness, execution: String) -> Job {
    let source = crate::source::SourceRepo::new();
    harness.add_repository("app", &source.path()).await;
    let (status, text) = told(harness.api(Method::POST, "/jobs").body(execution)).await;
    assert_eq!(status, 201, "{text}");
    harness.dequeue("batches").await.unwrap()
}

/// Logs what the helper would have written, and ends the job.
pub(super) async fn ended(harness: &Harness, job: &Job, lines: &[String]) {
    for (step, line) in lines.iter().enumerate() {
        let key = format!("step.docker.step.{step}.post");
        let body = json!({"executorName": EXECUTOR, "jobId": job.id, "key": key, "command": [], "out": line,
                          "startTime": "2023-01-02T03:04:05Z", "exitCode": 0, "durationMs": 1});
        let logged = harness.about(job, "batches", "addExecutionLogEntry").json(&body);
        assert_eq!(told(logged).await.0, 200);
    }
    assert_eq!(harness.mark(job, "markComplete", json!({})).await.status(), 204);
}

fn event(value: &str) -> String {
    format!("stdout: {{\"operation\":\"CACHE_AFTER_STEP_RESULT\",\"metadata\":{{\"value\":{value}}}}}\n")
}

#[tokio::test]
async fn a_job_takes_no_more_memory_to_show_than_to_send() {
    let harness = Harness::start().await;
    let outputs = small_objects(3 * MIB / 2);
    let cached = format!(
        r#","cachedStepResultFound":true,"cachedStepResult":{{"stepIndex":0,"outputs":{{"a":{outputs}}}}}"#
    );
    let job = running(&harness, execution(2, "true", &cached)).await;
    let path = format!("/jobs/{}", job.id);
    harness.get(&path).await;
    let before = peak_memory();
    let shown = futures_util::future::join_all((0..40).map(|_| harness.get(&path))).await;
    assert!(shown.iter().all(|job| job["steps"][0]["key"] == "step.1.run"));
    harness.get(&format!("{path}/explain")).await;
    let grown = peak_memory().saturating_sub(before);
    assert!(grown < 60, "{grown} MiB more");
}

#[tokio::test]
async fn what_is_refused_takes_no_more_memory_than_its_body() {
    let harness = Harness::start().await;
    let steps = ",{}".repeat(4 * MIB);
    let objects = small_objects(15 * MIB);
    for (more, part) in [
        (format!(r#","cachedStepResult":{{"zzz":{objects}}}"#), "cachedStepResultFound is false"),
        (format!(r#","cachedStepResult":{{"outputs":{{"a":{objects}}}}}"#), "cachedStepResultFound is false"),
        (format!(r#","skippedSteps":{objects}"#), "a map"),
    ] {
        let body = execution(1, "true", &more);
        let before = peak_memory();
        let (status, code, detail) = problem(harness.api(Method::POST, "/jobs").body(body)).await;
        assert_eq!((status, code.as_str()), (422, "invalid_job"), "{detail}");
        assert!(detail.contains(part), "{detail}");
        let grown = peak_memory().saturating_sub(before);
        assert!(grown < 130, "{grown} MiB more");
    }
    let body = execution(1, "true", "").replace("}]", &format!("}}{steps}]"));
    let before = peak_memory();
    let (_, _, detail) = problem(harness.api(Method::POST, "/jobs").body(body)).await;
    assert!(detail.contains("at most 1000"), "{detail}");
    let grown = peak_memory().saturating_sub(before);
    assert!(grown < 130, "{grown} MiB more");
    is_well(&harness, 0).await;
}

#[tokio::test]
async fn results_take_no_more_memory_than_their_lines() {
    let harness = Harness::start().await;
    let job = running(&harness, execution(2, "true", "")).await;
    let lines = [0, 1]
        .map(|step| event(&format!(r#"{{"stepIndex":{step},"diff":"","zzz":{}}}"#, small_objects(7 * MIB))));
    ended(&harness, &job, &lines).await;
    let before = peak_memory();
    let answer = harness.api(Method::GET, &format!("/jobs/{}/results", job.id)).send().await.unwrap();
    let text = answer.text().await.unwrap();
    assert!(text.len() > 14 * MIB, "{} bytes", text.len());
    let grown = peak_memory().saturating_sub(before);
    assert!(grown < 160, "{grown} MiB more");
}

#[tokio::test]
async fn keys_of_a_thousand_results_keep_nobody_waiting() {
    let harness = Harness::start().await;
    let job = running(&harness, execution(1_000, &"<".repeat(4_000), "")).await;
    let lines: String = (0..1_000).map(|step| event(&format!(r#"{{"stepIndex":{step}}}"#))).collect();
    ended(&harness, &job, &[lines]).await;
    let begun = Instant::now();
    let results = harness.get(&format!("/jobs/{}/results", job.id)).await;
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    let keys = results["results"].as_array().unwrap().iter().filter(|result| result["cacheKey"].is_string());
    assert_eq!((keys.count(), &results["problem"]), (1_000, &Value::Null));
}

/// Asks for something again and again and reads none of it, until that is refused for good: what was sent meanwhile gives room
/// back, until the connections can take no more of it.
pub(super) async fn unread(harness: &Harness, path: &str, most: usize) -> Vec<TcpStream> {
    let token = api_token(harness);
    let mut held = Vec::new();
    let mut refused = 0;
    while held.len() <= most {
        let mut stream = TcpStream::connect(harness.server.addr()).await.unwrap();
        let path = in_api(path);
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        if &status == b"HTTP/1.1 503" {
            refused += 1;
            if refused == REFUSALS {
                return held;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        assert_eq!(&status, b"HTTP/1.1 200");
        refused = 0;
        held.push(stream);
    }
    panic!("{path}: {} answers that nobody reads are in memory", held.len());
}

#[tokio::test]
async fn who_reads_no_answers_is_given_only_some() {
    let harness = Harness::start_with(|config| {
        let limits = Limits { answers: 40 * MIB, answers_per_client: 40 * MIB, ..config.limits.clone() };
        config.limits = limits;
    })
    .await;
    let job = running(&harness, execution(2, "true", "")).await;
    let line = |step| event(&format!(r#"{{"stepIndex":{step},"diff":"{}"}}"#, "x".repeat(7 * MIB)));
    ended(&harness, &job, &[line(0), line(1)]).await;
    let results = format!("/jobs/{}/results", job.id);
    // One namespace has half of the room, which is for one of these.
    let held = unread(&harness, &results, 1).await;
    assert!(!held.is_empty());
    let (status, code, detail) = problem(harness.api(Method::GET, &results)).await;
    assert_eq!((status, code.as_str()), (503, "busy"), "{detail}");
    // What is small goes on.
    is_well(&harness, 1).await;
    drop(held);
    let begun = Instant::now();
    while told(harness.api(Method::GET, &results)).await.0 != 200 {
        assert!(begun.elapsed() < LIMIT, "there is no room again");
    }
}

#[tokio::test]
async fn who_reads_no_texts_is_given_only_some() {
    let harness = Harness::start_with(|config| {
        let limits = Limits { answers: 2 * MIB, answers_per_client: 2 * MIB, ..config.limits.clone() };
        config.limits = limits;
    })
    .await;
    let job = running(&harness, execution(1, "true", "")).await;
    ended(&harness, &job, &["x".repeat(32 * MIB)]).await;
    let entry = harness.get(&format!("/jobs/{}/logs", job.id)).await[0]["entry"].clone();
    let path = format!("/jobs/{}/logs/{entry}/text", job.id);
    // As many pieces as there is room for, and of each connection one at least once its buffers are full.
    let held = unread(&harness, &path, 400).await;
    drop(held);
    let begun = Instant::now();
    loop {
        let (status, text) = told(harness.api(Method::GET, &path)).await;
        if status == 200 {
            assert_eq!(text.len(), 32 * MIB);
            break;
        }
        assert!(begun.elapsed() < LIMIT, "there is no room again");
    }
}
