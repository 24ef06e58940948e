//! What scrapers and scalers are told.

use crate::harness::{EXECUTOR, Harness, job, job_on, told};
use jiff::SignedDuration;
use jobs::JobSpec;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{MockClock, Postgres};

/// A server that looks at its queues each time it is asked.
async fn start() -> Harness {
    Harness::start_with(|config| config.limits.depths_kept = Duration::ZERO).await
}

async fn metrics(harness: &Harness) -> String {
    let (status, text) = told(harness.api(Method::GET, "/metrics")).await;
    assert_eq!(status, 200, "{text}");
    text
}

fn holds(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|told| told == *line), "{line} in\n{text}");
    }
}

async fn beat(harness: &Harness, executor: &str, metrics: &str) {
    let body = json!({"version": "V2", "executorName": executor, "jobIds": [], "prometheusMetrics": metrics});
    let request = harness.executor("/.executors/queue/batches/heartbeat").json(&body);
    assert_eq!(told(request).await.0, 200);
}

#[tokio::test]
async fn a_jobs_life_is_counted_and_executors_metrics_are_told_with_it() {
    let harness = start().await;
    harness.set_secret("KEPT", "v4lue").await;
    let spec = JobSpec { stored_secrets: vec!["KEPT".to_owned()], ..job() };
    for spec in [&spec, &job(), &job_on("codeintel")] {
        harness.submit(spec).await;
    }
    let first = harness.dequeue("batches").await.unwrap();
    let entry = harness.add_log(&first, "step.docker.0").await;
    harness.append(&first, entry, 0, "0123456789").await;
    assert_eq!(harness.mark(&first, "markComplete", json!({})).await.status(), 204);
    let second = harness.dequeue("batches").await.unwrap();
    let third = harness.submit(&job()).await;
    harness.cancel(third).await;
    let wrong = harness.client.get(harness.url("/api/v1/jobs")).bearer_auth("wrong");
    assert_eq!(told(wrong).await.0, 401);
    beat(&harness, EXECUTOR, "# TYPE up gauge\nup 1\nsrc_executor_total{queue=\"batches\"} 99\n").await;
    beat(&harness, "exec-2", "# TYPE up gauge\nup{sg_instance=\"docker-registry\"} 0\nnonsense\n").await;
    let text = metrics(&harness).await;
    holds(
        &text,
        &[
            "src_executor_total{queue=\"batches\"} 0",
            "src_executor_total{queue=\"codeintel\"} 1",
            "multiqueue_executor_dequeue_cache_size{queue=\"batches\"} 0",
            "src_codeintel_background_index_record_resets_total 0",
            "executor_server_queue_size{queue=\"batches\"} 1",
            "executor_server_queue_jobs{queue=\"batches\",state=\"running\"} 1",
            "executor_server_jobs_submitted_total{queue=\"batches\"} 3",
            "executor_server_jobs_given_total{queue=\"batches\"} 2",
            "executor_server_job_wait_seconds_count{queue=\"batches\"} 2",
            "executor_server_jobs_ended_total{queue=\"batches\",state=\"completed\"} 1",
            "executor_server_jobs_ended_total{queue=\"batches\",state=\"canceled\"} 1",
            "executor_server_leases_lost_total{queue=\"batches\"} 0",
            "executor_server_auth_failures_total{who=\"api\",why=\"wrong\"} 1",
            "executor_server_log_bytes_total 10",
            "executor_server_secrets 1",
            "executor_server_secrets_handed_out_total 1",
            "executor_server_requests_total{route=\"/api/v1/jobs\",code=\"2xx\"} 4",
            "executor_server_requests_total{route=\"/api/v1/jobs\",code=\"4xx\"} 1",
            "executor_server_executors{state=\"active\"} 2",
            "executor_server_queue_executors{queue=\"codeintel\"} 0",
            "executor_server_database_up 1",
            "executor_server_site_config_good 1",
            "up{sg_instance=\"exec-1\",sg_job=\"sourcegraph-executors\"} 1",
            "up{sg_instance=\"docker-registry\",sg_job=\"sourcegraph-executors-registry\"} 0",
        ],
    );
    assert!(!text.contains(" 99\n") && !text.contains("nonsense"), "{text}");
    let read = |line: &str| line.starts_with("# ") || exposition::Sample::read(line).is_some();
    assert!(text.lines().all(read), "every line can be read");
    harness.mark(&second, "markFailed", json!({"errorMessage": "no"})).await;
}

/// What the documented names of both queues begin with.
const RESETTERS: [&str; 2] =
    ["src_batch_spec_workspace_execution_worker_resetter", "src_codeintel_background_index_record"];

/// Of both queues under the documented names: what was taken back and waits again, what has failed thereby, and looks that failed.
#[tokio::test]
async fn what_is_taken_back_from_silent_executors_is_counted() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let harness = Harness::start_with(|config| {
        config.clock = clock.clone();
        config.lease.scan_interval = Duration::from_millis(5);
        config.retry.max_resets = 1;
        config.limits.depths_kept = Duration::ZERO;
    })
    .await;
    let counted = async |lines: [(&str, u32); 3]| {
        let begun = Instant::now();
        loop {
            let text = metrics(&harness).await;
            let missing = RESETTERS.iter().find_map(|of| {
                let told = lines.map(|(what, count)| format!("{of}_{what}_total {count}"));
                told.into_iter().find(|line| !text.lines().any(|there| there == line))
            });
            let Some(missing) = missing else { return };
            assert!(begun.elapsed() < Duration::from_secs(10), "{missing} in\n{text}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for queue in ["batches", "codeintel"] {
        harness.submit(&job_on(queue)).await;
        harness.dequeue(queue).await.unwrap();
    }
    counted([("resets", 0), ("reset_failures", 0), ("reset_errors", 0)]).await;
    clock.advance(SignedDuration::from_secs(60));
    counted([("resets", 1), ("reset_failures", 0), ("reset_errors", 0)]).await;
    for queue in ["batches", "codeintel"] {
        harness.dequeue(queue).await.unwrap();
    }
    clock.advance(SignedDuration::from_secs(60));
    counted([("resets", 1), ("reset_failures", 1), ("reset_errors", 0)]).await;
}

#[tokio::test]
async fn a_scaler_reads_a_number() {
    let harness = start().await;
    for queue in ["batches", "batches", "codeintel"] {
        harness.submit(&job_on(queue)).await;
    }
    harness.dequeue("batches").await.unwrap();
    let mut later = job();
    later.not_before = Some("2100-01-01T00:00:00Z".parse().unwrap());
    harness.submit(&later).await;
    let json = harness.get("/metrics/queues?format=json").await;
    let batches = &json["queues"]["batches"];
    let numbers =
        ["size", "queued", "held", "running", "errored"].map(|name| batches[name].as_u64().unwrap());
    assert_eq!(numbers, [2, 2, 1, 1, 0], "{json}");
    assert!(batches["oldestSeconds"].as_f64().is_some_and(|age| (0.0..60.0).contains(&age)), "{json}");
    assert_eq!(json["together"], json!({"name": "batches_codeintel", "size": 3}));
    assert_eq!(json["unreadable"], 0);
    let (status, text) = told(harness.api(Method::GET, "/metrics/queues")).await;
    assert_eq!(status, 200);
    holds(
        &text,
        &["executor_server_queue_size{queue=\"codeintel\"} 1", "executor_server_queue_unreadable 0"],
    );
    assert_eq!(told(harness.api(Method::GET, "/metrics/queues?format=xml")).await.0, 400);
}

/// Rows that no version of this program wrote.
#[tokio::test]
async fn no_row_that_can_not_be_read_is_in_the_way() {
    let harness = start().await;
    let ids = [harness.submit(&job()).await, harness.submit(&job_on("codeintel")).await];
    for name in ["exec-1", "exec-2"] {
        beat(&harness, name, "up 1\n").await;
    }
    let database = SqliteConnectOptions::new().filename(harness.data().join("executor.db"));
    let mut intruder = database.connect().await.unwrap();
    for spoil in [
        format!("UPDATE job_specs SET spec = '?' WHERE job = {}", ids[0]),
        format!("UPDATE jobs SET queued_at = -5, end_detail = '?' WHERE id = {}", ids[0]),
        "UPDATE executors SET telemetry = '?', queues = '' WHERE name = 'exec-1'".to_owned(),
        "UPDATE lanes SET needs = '?' WHERE queue = 'batches'".to_owned(),
        "INSERT INTO queues (name, paused_at, max_running) VALUES ('batches', 9000000000000000000, NULL)"
            .to_owned(),
    ] {
        sqlx::query(AssertSqlSafe(spoil)).execute(&mut intruder).await.unwrap();
    }
    let text = metrics(&harness).await;
    holds(
        &text,
        &[
            "src_executor_total{queue=\"batches\"} 1",
            "src_executor_total{queue=\"codeintel\"} 1",
            "executor_server_queue_paused{queue=\"batches\"} 1",
            "executor_server_queue_unreadable 2",
            "executor_server_executors_unreadable 1",
            "executor_server_executors{state=\"active\"} 1",
        ],
    );
    let json = harness.get("/metrics/queues?format=json").await;
    assert_eq!((&json["queues"]["codeintel"]["size"], &json["unreadable"]), (&json!(1), &json!(2)));
    let met = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("executor_server_unreadable_values_total "));
        line.unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert!(met(&text) > 0, "{text}");
}

#[tokio::test]
async fn a_database_that_is_away_is_told_in_time() {
    let Some(mut postgres) = Postgres::start("a_database_that_is_away_is_told_in_time") else { return };
    let url = postgres.url();
    let harness = Harness::start_with(|config| {
        config.database_url = Some(url);
        config.limits.depths_kept = Duration::ZERO;
    })
    .await;
    holds(&metrics(&harness).await, &["executor_server_database_up 1"]);
    postgres.crash();
    let begun = Instant::now();
    let text = metrics(&harness).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "a scraper gives up after ten seconds");
    holds(&text, &["executor_server_database_up 0", "executor_server_queue_unreadable 2"]);
    let (status, problem) = told(harness.api(Method::GET, "/metrics/queues")).await;
    let problem: Value = serde_json::from_str(&problem).unwrap();
    assert_eq!((status, &problem["code"]), (503, &json!("queues_unknown")));
    postgres.restart();
    let begun = Instant::now();
    while !metrics(&harness).await.contains("executor_server_database_up 1") {
        assert!(begun.elapsed() < Duration::from_mins(1), "it is there again");
    }
}
