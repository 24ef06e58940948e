//! Dequeues that wait.

use crate::harness::{Harness, job, job_in};
use reqwest::{Response, StatusCode};
use serde_json::json;
use server::{SecretKeys, ServerConfig};
use std::time::{Duration, Instant};
use testkit::Postgres;
use tokio::task::JoinHandle;

/// After so long the server looks by itself for a job that nobody told those who wait of.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

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

/// For how long the request was there before its job was looked for, as the answer has it.
fn held(response: &Response) -> Duration {
    wire::additions::parse_held(response.headers()["executors-held"].to_str().unwrap()).unwrap()
}

/// How long it takes is measured elsewhere.
#[tokio::test]
async fn a_waiting_dequeue_is_told_of_a_job_that_is_submitted() {
    let harness = Harness::start().await;
    let answer = waiting(&harness, 30).await;
    assert!(!answer.is_finished());
    let id = harness.submit(&job()).await;
    let response = answer.await.unwrap();
    assert!(held(&response) < LOOK_AGAIN, "{:?}", held(&response));
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
    let held_for = held(&answer.await.unwrap());
    assert!(held_for >= pause / 5 && held_for <= sent.elapsed(), "{held_for:?} of {:?}", sent.elapsed());
    // A job that is there is given at once.
    harness.submit(&job()).await;
    let sent = Instant::now();
    let held_for = held(&harness.dequeue_request("batches").send().await.unwrap());
    assert!(held_for <= sent.elapsed(), "{held_for:?} of {:?}", sent.elapsed());
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
    let response = answer.await.unwrap().unwrap();
    // Its pause, up to a second until it is looked for, and what a busy machine takes.
    assert!(held(&response) < LOOK_AGAIN, "{:?}", held(&response));
    assert_eq!(job_in(response).await.unwrap().id, job.id);
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
