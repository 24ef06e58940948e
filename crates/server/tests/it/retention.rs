//! How long jobs are kept after their end, and how many may wait.

use crate::harness::{Harness, job, job_on, problem};
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::MockClock;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A server that looks for ended jobs all the time, and takes none from its executor.
async fn attentive(clock: &Arc<MockClock>) -> Harness {
    Harness::start_with(|config| {
        config.clock = clock.clone();
        config.limits.forget_jobs_every = Duration::from_millis(10);
        config.lease.untold = Duration::from_hours(100_000);
    })
    .await
}

async fn until_unknown(harness: &Harness, id: i64) {
    let begun = Instant::now();
    while harness.api(Method::GET, &format!("/jobs/{id}")).send().await.unwrap().status() != 404 {
        assert!(begun.elapsed() < Duration::from_secs(10), "job {id} is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_job_goes_a_month_after_its_end_with_its_log() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let harness = attentive(&clock).await;
    let ended = harness.running_job().await;
    let entry = harness.add_log(&ended, "step.docker.step.0.run").await;
    harness.append(&ended, entry, 0, "stdout: x\n").await;
    assert_eq!(harness.mark(&ended, "markComplete", json!({})).await.status(), 204);
    let running = harness.running_job().await;
    let entry = harness.add_log(&running, "step.docker.step.0.run").await;
    harness.append(&running, entry, 0, "stdout: y\n").await;
    let queued = harness.submit(&job_on("codeintel")).await;
    clock.advance(DAY * 30);
    assert_eq!(harness.get(&format!("/jobs/{}", ended.id)).await["state"], "completed");
    clock.advance(SignedDuration::from_secs(1));
    until_unknown(&harness, ended.id.0).await;
    for path in ["", "/logs", "/logs/1/text", "/logs/stream"] {
        let (status, code, _) = problem(harness.api(Method::GET, &format!("/jobs/{}{path}", ended.id))).await;
        assert_eq!((status, code.as_str()), (404, "unknown_job"), "{path}");
    }
    let logs = std::fs::read_dir(harness.data().join("logs")).unwrap();
    let logs: Vec<_> = logs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(logs, [running.id.to_string()]);
    assert_eq!(harness.get(&format!("/jobs/{queued}")).await["state"], "queued");
    assert_eq!(harness.mark(&running, "markComplete", json!({})).await.status(), 204);
}

#[tokio::test]
async fn how_long_jobs_are_kept_is_configured_while_the_server_runs() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let harness = attentive(&clock).await;
    let site = harness.data().join("site-config.jsonc");
    let keep = |days: u32| {
        let secret = harness.shared_secret();
        let text = json!({"executors.accessToken": secret, "executors.endedJobsKeptDays": days}).to_string();
        std::fs::write(&site, text).unwrap();
    };
    keep(0);
    let id = harness.submit(&job()).await;
    harness.cancel(id).await;
    clock.advance(DAY * 3_000);
    assert_eq!(harness.get(&format!("/jobs/{id}")).await["state"], "canceled");
    keep(3_001);
    assert_eq!(harness.get(&format!("/jobs/{id}")).await["state"], "canceled");
    keep(2);
    until_unknown(&harness, id).await;
}

#[tokio::test]
async fn a_full_queue_says_so() {
    let harness = Harness::start_with(|config| config.limits.queued_jobs = 1).await;
    let first = harness.submit(&job()).await;
    let (status, code, detail) = problem(harness.api(Method::POST, "/jobs").json(&job())).await;
    assert_eq!((status, code.as_str()), (503, "queue_full"));
    assert!(detail.contains("a queue may hold 1 jobs") && !detail.contains('\n'), "{detail}");
    harness.cancel(first).await;
    harness.submit(&job()).await;
}
