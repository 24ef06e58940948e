//! Writing and reading log entries.

use crate::harness::{EXECUTOR, Harness, entry, problem, told};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use wire::Job;

async fn update(harness: &Harness, job: &Job, number: i64, extra: Value) -> (u16, String) {
    let mut body = entry(job, "setup.x");
    body["entryId"] = number.into();
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    told(harness.about(job, "batches", "updateExecutionLogEntry").json(&body)).await
}

#[tokio::test]
async fn entries_are_numbered_from_one_and_replaced_as_a_whole() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    assert_eq!(harness.add_log(&job, "setup.x").await, 1);
    assert_eq!(harness.add_log(&job, "setup.y").await, 2);
    let ended = json!({"out": "stdout: <b>hi</b>\n", "exitCode": 0, "durationMs": 12});
    for _ in 0..2 {
        assert_eq!(update(&harness, &job, 1, ended.clone()).await, (204, String::new()));
    }
    let logs = harness.get(&format!("/jobs/{}/logs", job.id)).await;
    assert_eq!(logs[0]["exitCode"], 0);
    assert_eq!(logs[0]["length"], 18);
    assert_eq!(logs[1]["exitCode"], Value::Null);
    let text = harness.api(Method::GET, &format!("/jobs/{}/logs/1/text?attempt=1&offset=8", job.id));
    let text = text.send().await.unwrap();
    assert_eq!(text.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(text.headers()["x-content-type-options"], "nosniff");
    assert_eq!(text.text().await.unwrap(), "<b>hi</b>\n");
    let missing = harness.api(Method::GET, &format!("/jobs/{}/logs/9/text", job.id));
    let (status, code, _) = problem(missing).await;
    assert_eq!((status, code.as_str()), (404, "unknown_log_entry"));
}

#[tokio::test]
async fn foreign_jobs_and_entries_are_unknown() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let unknown = (500, r#"{"error":"unknown job"}"#.to_owned());
    assert_eq!(update(&harness, &job, 7, json!({})).await, unknown, "no such entry");
    assert_eq!(update(&harness, &job, 1, json!({"jobId": 999})).await, unknown, "another job");
    for call in ["addExecutionLogEntry", "updateExecutionLogEntry", "appendExecutionLog"] {
        let body = json!({"executorName": "exec-2", "jobId": job.id, "entryId": 1, "key": "k", "offset": 0,
                          "chunk": "x", "startTime": "2023-01-02T03:04:05Z"});
        assert_eq!(told(harness.about(&job, "batches", call).json(&body)).await, unknown, "{call}");
    }
}

#[tokio::test]
async fn an_append_may_be_repeated_but_leaves_no_gap() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let number = harness.add_log(&job, "step.docker.0").await;
    for (offset, chunk, expected) in [
        (0, "stdout: a\n", (200, r#"{"length":10}"#)),
        (0, "stdout: a\n", (200, r#"{"length":10}"#)),
        (8, "a\nstdout: b\n", (200, r#"{"length":20}"#)),
        (21, "x", (409, r#"{"length":20}"#)),
        (20, "", (200, r#"{"length":20}"#)),
    ] {
        let response = harness.append(&job, number, offset, chunk).await;
        let answer = (response.status().as_u16(), response.text().await.unwrap());
        assert_eq!((answer.0, answer.1.as_str()), expected, "{offset} {chunk:?}");
    }
    let text = harness.api(Method::GET, &format!("/jobs/{}/logs/1/text", job.id)).send().await.unwrap();
    assert_eq!(text.text().await.unwrap(), "stdout: a\nstdout: b\n");
}

#[tokio::test]
async fn a_full_log_is_told_as_such() {
    let harness = Harness::start_with(|config| config.limits.log_text = 10).await;
    let job = harness.running_job().await;
    let number = harness.add_log(&job, "step.docker.0").await;
    let response = harness.append(&job, number, 0, "more than ten bytes").await;
    assert_eq!(response.status(), 413);
    assert!(response.text().await.unwrap().contains("may take 10 bytes"));
}

/// Whoever looks at a job reads the commands of all its entries.
#[tokio::test]
async fn commands_of_one_job_take_so_much_and_fail_nothing() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let long = "x".repeat(256 << 10);
    for number in 1..=48 {
        let mut entry = entry(&job, &format!("setup.{number}"));
        entry["command"] = json!(["docker", format!("--name={number}"), long]);
        let told = told(harness.about(&job, "batches", "addExecutionLogEntry").json(&entry)).await;
        assert_eq!(told, (200, number.to_string()));
    }
    let ended = json!({"command": ["docker", "--name=48", long], "exitCode": 0});
    assert_eq!(update(&harness, &job, 48, ended).await, (204, String::new()));
    let logs = harness.get(&format!("/jobs/{}/logs", job.id)).await;
    assert!((7 << 20..9 << 20).contains(&logs.to_string().len()), "{}", logs.to_string().len());
    assert!(logs[0]["command"][2].as_str().unwrap().len() > 200_000);
    assert_eq!((&logs[47]["command"][1], &logs[47]["exitCode"]), (&json!("--name=48"), &json!(0)));
    assert!(logs[47]["command"][2].as_str().unwrap().ends_with("x…"));
}

#[tokio::test]
async fn steps_show_what_their_log_entries_know() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let before = harness.get(&format!("/jobs/{}", job.id)).await;
    assert_eq!(before["steps"][0]["startedAt"], Value::Null);
    let number = harness.add_log(&job, "step.docker.0").await;
    let body = json!({"executorName": EXECUTOR, "jobId": job.id, "entryId": number, "offset": 0, "chunk": "",
                      "exitCode": 3, "durationMs": 5});
    assert_eq!(told(harness.about(&job, "batches", "appendExecutionLog").json(&body)).await.0, 200);
    let steps = harness.get(&format!("/jobs/{}", job.id)).await["steps"].clone();
    let expected = json!([{"key": "0", "image": "alpine", "exitCode": 3, "durationMs": 5,
                           "startedAt": "2023-01-02T03:04:05.678Z"}]);
    assert_eq!(steps, expected);
}

/// Waits until the logs of all that ended have left the data directory.
async fn sealed(harness: &Harness) {
    let begun = Instant::now();
    while std::fs::read_dir(harness.data().join("logs")).unwrap().next().is_some() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the log is not sealed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_sealed_log_is_read_as_before() {
    let harness =
        Harness::start_with(|config| config.limits.seal_logs_every = Duration::from_millis(10)).await;
    let job = harness.running_job().await;
    let entry = harness.add_log(&job, "step.docker.step.0.run").await;
    let text = "stdout: ä€😀\n".repeat(40_000);
    assert_eq!(harness.append(&job, entry, 0, &text).await.status(), 200);
    assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);
    sealed(&harness).await;
    let logs = harness.get(&format!("/jobs/{}/logs", job.id)).await;
    assert_eq!(logs[0]["length"], text.len());
    let part = async |query: &str| {
        let path = format!("/jobs/{}/logs/1/text{query}", job.id);
        harness.api(Method::GET, &path).send().await.unwrap().text().await.unwrap()
    };
    assert!(part("").await == text);
    assert!(part("?offset=360008").await == text[360_008..]);
    assert_eq!(part("?offset=99999999").await, "");
    // A follower that was cut goes on at its byte, wherever that is kept by now.
    let stream = |cursor: &str| {
        let path = format!("/jobs/{}/logs/stream{cursor}", job.id);
        told(harness.api(Method::GET, &path))
    };
    let (status, whole) = stream("").await;
    assert_eq!(status, 200);
    let events: Vec<&str> = whole.split("\n\n").collect();
    let cut = events.iter().position(|event| event.contains("\"offset\":32")).unwrap();
    let id = events[cut].lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    let (_, rest) = stream(&format!("?cursor={id}")).await;
    let told_again = |events: &str| events.matches("event: text").count();
    assert_eq!(told_again(&rest) + told_again(&events[..=cut].join("\n\n")), told_again(&whole));
}
