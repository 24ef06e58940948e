//! Jobs that were given to an agent which never had them, or died before it began them.

use crate::harness::{EXECUTOR, Harness, job, job_in};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use wire::Job;

/// Far below the 25 s of a lease.
const SOON: Duration = Duration::from_secs(5);

/// A job for a dequeue with these headers.
async fn given(harness: &Harness, incarnation: &str, dequeue: u64) -> Job {
    harness.submit(&job()).await;
    let request = harness.dequeue_request("batches").header("Executors-Incarnation", incarnation);
    job_in(request.header("Executors-Dequeue", dequeue).send().await.unwrap()).await.unwrap()
}

async fn beat(harness: &Harness, named: &[&Job], headers: &[(&str, &str)]) {
    let ids: Vec<String> = named.iter().map(|job| job.id.to_string()).collect();
    let body = json!({"executorName": EXECUTOR, "jobIds": ids, "os": "linux"});
    let request = harness.executor("/.executors/queue/batches/heartbeat").json(&body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
}

async fn seen(harness: &Harness, job: &Job) -> Value {
    harness.get(&format!("/jobs/{}", job.id)).await
}

async fn until_queued(harness: &Harness, job: &Job) -> Value {
    let began = Instant::now();
    loop {
        let seen = seen(harness, job).await;
        if seen["state"] == "queued" {
            return seen;
        }
        assert!(began.elapsed() < SOON, "{seen}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_job_of_an_earlier_start_that_nobody_names_is_queued_at_once() {
    let harness = Harness::start().await;
    let lost = given(&harness, "place=a; start=1", 0).await;
    let kept = given(&harness, "place=a; start=1", 1).await;
    let under_way = given(&harness, "place=a; start=2", 0).await;
    let elsewhere = given(&harness, "place=b; start=1", 0).await;
    // What comes late or is not sure changes nothing.
    for word in ["place=a; start=2", "place=a; start=1; settled", "place=c; start=9; settled", "x"] {
        beat(&harness, &[], &[("Executors-Incarnation", word)]).await;
    }
    beat(&harness, &[], &[]).await;
    beat(&harness, &[&kept], &[("Executors-Incarnation", "place=a; start=2; settled")]).await;
    until_queued(&harness, &lost).await;
    for job in [&kept, &under_way, &elsewhere] {
        assert_eq!(seen(&harness, job).await["state"], "processing");
    }
    // It costs as much as a lease that ran out: it may be the job that kills its agents.
    let again = harness.dequeue("batches").await.unwrap();
    assert_eq!((again.id, seen(&harness, &lost).await["attempt"].as_u64()), (lost.id, Some(2)));
    assert_eq!(harness.mark(&lost, "markComplete", json!({})).await.status(), 401, "its token is dead");
    // What was named once is not given away before its lease is over.
    beat(&harness, &[], &[("Executors-Incarnation", "place=a; start=3; settled")]).await;
    until_queued(&harness, &under_way).await;
    assert_eq!(seen(&harness, &kept).await["state"], "processing");
}

#[tokio::test]
async fn a_job_whose_answer_did_not_arrive_is_queued_at_once_and_free_of_charge() {
    let harness = Harness::start().await;
    let lost = given(&harness, "place=a; start=1", 7).await;
    let arrived = given(&harness, "place=a; start=1", 8).await;
    let word = |start, lost| [("Executors-Incarnation", start), ("Executors-Lost-Dequeues", lost)];
    beat(&harness, &[], &word("place=a; start=2", "7, 8")).await;
    beat(&harness, &[], &word("place=a; start=1", "6, 9")).await;
    assert_eq!(seen(&harness, &lost).await["state"], "processing");
    beat(&harness, &[], &word("place=a; start=1", "7")).await;
    until_queued(&harness, &lost).await;
    assert_eq!(seen(&harness, &arrived).await["state"], "processing");
    let ended = harness.mark(&arrived, "markComplete", json!({})).await;
    assert_eq!(ended.status(), 204);
    beat(&harness, &[], &word("place=a; start=1", "7, 8")).await;
    assert_eq!(seen(&harness, &arrived).await["state"], "completed");
}
