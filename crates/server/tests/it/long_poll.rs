//! Dequeues that wait.

use crate::harness::{Harness, job, job_in};
use reqwest::{Response, StatusCode};
use serde_json::json;
use server::{SecretKeys, ServerConfig};
use std::time::{Duration, Instant};
use testkit::Postgres;
use tokio::task::JoinHandle;

/// A dequeue that waits, known to have reached the server: its connection is established, and a
/// second request on the same harness is answered after it was sent.
async fn waiting(harness: &Harness, seconds: u64) -> JoinHandle<Response> {
    let request = harness.dequeue_request("batches").header("Prefer", format!("wait={seconds}"));
    let answer = tokio::spawn(async move { request.send().await.unwrap() });
    for _ in 0..20 {
        tokio::task::yield_now().await;
        harness.get("/version").await;
    }
    answer
}

#[tokio::test]
async fn a_waiting_dequeue_gets_a_job_within_50_ms_of_its_submission() {
    let harness = Harness::start().await;
    let answer = waiting(&harness, 30).await;
    assert!(!answer.is_finished());
    let id = harness.submit(&job()).await;
    let submitted = Instant::now();
    let response = answer.await.unwrap();
    assert!(submitted.elapsed() < Duration::from_millis(50), "{:?}", submitted.elapsed());
    assert_eq!(response.headers()["preference-applied"], "wait=30");
    assert_eq!(job_in(response).await.unwrap().id.0, id);
}

/// From then on the job's lease runs, whenever the answer arrives.
#[tokio::test]
async fn an_answer_tells_how_long_its_job_was_waited_for() {
    let harness = Harness::start().await;
    let sent = Instant::now();
    let answer = waiting(&harness, 30).await;
    // On a busy host the request takes its time to be read.
    let (here, pause) = (Instant::now(), Duration::from_millis(500));
    while here.elapsed() < pause {
        harness.get("/version").await;
    }
    harness.submit(&job()).await;
    let response = answer.await.unwrap();
    let held = wire::additions::parse_held(response.headers()["executors-held"].to_str().unwrap()).unwrap();
    assert!(held >= pause / 5 && held <= sent.elapsed(), "{held:?} of {:?}", sent.elapsed());
    // A job that is there is given at once.
    harness.submit(&job()).await;
    let sent = Instant::now();
    let response = harness.dequeue_request("batches").send().await.unwrap();
    let held = wire::additions::parse_held(response.headers()["executors-held"].to_str().unwrap()).unwrap();
    assert!(held <= sent.elapsed(), "{held:?} of {:?}", sent.elapsed());
    let response = harness.dequeue_request("batches").send().await.unwrap();
    assert!(!response.headers().contains_key("executors-held"), "there is no job");
}

#[tokio::test]
async fn a_wait_that_finds_nothing_ends_in_time() {
    let harness = Harness::start().await;
    let begun = Instant::now();
    let response = waiting(&harness, 1).await.await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(response.headers()["preference-applied"], "wait=1");
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_wait_is_cut_to_the_limit() {
    let harness = Harness::start_with(|config| config.limits.long_poll = Duration::ZERO).await;
    let response = waiting(&harness, 3_600).await.await.unwrap();
    assert_eq!(response.headers()["preference-applied"], "wait=0");
}

#[tokio::test]
async fn a_stop_ends_a_wait_at_once() {
    let harness = Harness::start().await;
    let answer = waiting(&harness, 60).await;
    let begun = Instant::now();
    harness.stop().await;
    let response = answer.await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert!(
        response.headers().get("preference-applied").is_none(),
        "so the executor pauses before it asks again"
    );
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn of_two_that_wait_exactly_one_gets_the_job() {
    let harness = Harness::start().await;
    let (first, second) = (waiting(&harness, 2).await, waiting(&harness, 2).await);
    harness.submit(&job()).await;
    let statuses = [first.await.unwrap().status(), second.await.unwrap().status()];
    assert!(statuses.contains(&StatusCode::OK) && statuses.contains(&StatusCode::NO_CONTENT), "{statuses:?}");
}

#[tokio::test]
async fn nothing_is_claimed_for_a_client_that_hung_up() {
    let harness = Harness::start().await;
    let answer = waiting(&harness, 60).await;
    answer.abort();
    assert!(answer.await.unwrap_err().is_cancelled());
    // The other side's close is on its way before this request is, on the same loopback.
    for _ in 0..20 {
        harness.get("/version").await;
    }
    let id = harness.submit(&job()).await;
    assert_eq!(harness.dequeue("batches").await.unwrap().id.0, id);
}

/// Nothing but the time makes it claimable, so whoever waits has to be told.
async fn a_held_dequeue_gets_a_retry_when_its_pause_is_over(adjust: impl FnOnce(&mut ServerConfig)) {
    let pause = Duration::from_secs(1);
    let harness = Harness::start_with(|config| {
        config.retry.fault_pause = pause;
        adjust(config);
    })
    .await;
    let job = harness.running_job().await;
    let other = json!({"executorName": "exec-2", "version": "5.2.0"});
    let request = harness.executor("/.executors/queue/batches/dequeue").json(&other);
    let answer = tokio::spawn(request.header("Prefer", "wait=30").send());
    let end = json!({"errorMessage": "no sandbox", "end": {"reason": "sandbox"}});
    assert_eq!(harness.mark(&job, "markErrored", end).await.status(), 204);
    let errored = Instant::now();
    let again = job_in(answer.await.unwrap().unwrap()).await.unwrap();
    assert_eq!(again.id, job.id);
    // Its pause, up to a second until it is looked for, and another one for a busy machine: less than until waiters look by
    // themselves.
    assert!(errored.elapsed() < pause + Duration::from_secs(2), "{:?}", errored.elapsed());
}

#[tokio::test]
async fn a_held_dequeue_gets_a_retry_in_time() {
    a_held_dequeue_gets_a_retry_when_its_pause_is_over(|_| {}).await;
}

#[tokio::test]
async fn a_held_dequeue_gets_a_retry_in_time_on_postgres() {
    let Some(postgres) = Postgres::start("a_held_dequeue_gets_a_retry_in_time_on_postgres") else { return };
    let set = |config: &mut ServerConfig| {
        config.database_url = Some(postgres.url());
        config.secret_keys = SecretKeys::Given(format!("first:{}", "1".repeat(64)).into());
    };
    a_held_dequeue_gets_a_retry_when_its_pause_is_over(set).await;
}
