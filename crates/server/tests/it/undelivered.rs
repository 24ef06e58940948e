//! Jobs whose answer never reached the executor that asked.

use crate::harness::{EXECUTOR, Harness, job, job_in, told};
use jobs::JobSpec;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use wire::Job;

/// Far below the 25 s of a lease.
const SOON: Duration = Duration::from_secs(5);

/// Sends a dequeue by hand, over a connection that takes next to nothing in.
async fn raw_dequeue(harness: &Harness, wait: u32) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(harness.server.addr()).await.unwrap();
    let body = json!({"executorName": "exec-raw", "version": "5.2.0"}).to_string();
    let head = format!(
        "POST /.executors/queue/batches/dequeue HTTP/1.1\r\nHost: x\r\nAuthorization: token-executor {}\r\n\
         Prefer: wait={wait}\r\nContent-Length: {}\r\n\r\n{body}",
        harness.shared_secret(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// A job whose payload is more than the kernel takes off the server's hands.
fn large_job() -> JobSpec {
    let mut spec = job();
    spec.steps[0].run = "\u{1}".repeat(2 << 20);
    spec
}

async fn state(harness: &Harness, id: i64) -> Value {
    harness.get(&format!("/jobs/{id}")).await["state"].clone()
}

async fn until_processing(harness: &Harness, id: i64) {
    let begun = Instant::now();
    while state(harness, id).await != "processing" {
        assert!(begun.elapsed() < SOON, "the job was not claimed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A job that is there, or soon is.
async fn dequeue_soon(harness: &Harness) -> Job {
    let begun = Instant::now();
    let next = harness.dequeue_request("batches").header("Prefer", "wait=10").send().await.unwrap();
    let job = job_in(next).await.expect("the job was stranded");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    job
}

#[tokio::test]
async fn a_job_whose_answer_was_cut_half_way_is_queued_again() {
    let harness = Harness::start().await;
    let mut stream = raw_dequeue(&harness, 0).await;
    let id = harness.submit(&large_job()).await;
    drop(stream);
    // Whether the first dequeue came before the job or after it, the second finds it.
    stream = raw_dequeue(&harness, 10).await;
    until_processing(&harness, id).await;
    stream.read_exact(&mut [0; 1_000]).await.unwrap();
    drop(stream);
    let again = dequeue_soon(&harness).await;
    assert_eq!(again.id.0, id);
    assert!(harness.get(&format!("/jobs/{id}")).await["attempt"].as_u64() >= Some(2), "as a new try");
    assert_eq!(harness.mark(&again, "markComplete", json!({})).await.status(), 204);
}

/// A client that says it has gone, and then tells whether the whole answer reached it all the same.
async fn hang_up_after(mut stream: TcpStream, pause: Duration) -> Option<Job> {
    tokio::time::sleep(pause).await;
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // An answer that breaks off is none.
    let _ = stream.read_to_end(&mut answer).await;
    payload(&answer)
}

/// The job in an answer, if all of it is there.
fn payload(answer: &[u8]) -> Option<Job> {
    let head = answer.windows(4).position(|part| part == b"\r\n\r\n")?;
    serde_json::from_slice(&answer[head + 4..]).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_in_any_moment_strands_no_job() {
    const ROUNDS: u32 = 150;
    let harness = Harness::start().await;
    let mut reached = 0;
    for round in 0..ROUNDS {
        let stream = raw_dequeue(&harness, 10).await;
        // From well before the job is claimed to well after it.
        let hang_up = tokio::spawn(hang_up_after(stream, Duration::from_micros(u64::from(round) * 10)));
        let id = harness.submit(&job()).await;
        let (taken, executor) = match hang_up.await.unwrap() {
            Some(taken) => {
                reached += 1;
                (taken, "exec-raw")
            }
            None => (dequeue_soon(&harness).await, EXECUTOR),
        };
        assert_eq!(taken.id.0, id, "round {round}");
        let body = json!({"executorName": executor, "jobId": id});
        let done = told(harness.about(&taken, "batches", "markComplete").json(&body)).await;
        assert_eq!(done.0, 204, "round {round}: {}", done.1);
    }
    println!("{reached} of {ROUNDS} answers arrived");
}

#[tokio::test]
async fn an_answer_that_arrived_is_not_taken_back_when_the_connection_ends() {
    let harness = Harness::start().await;
    let id = harness.submit(&job()).await;
    let mut stream = raw_dequeue(&harness, 10).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"}}") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{}", String::from_utf8_lossy(&answer));
    }
    let taken = payload(&answer).unwrap();
    // As rude as can be.
    stream.set_zero_linger().unwrap();
    drop(stream);
    for _ in 0..50 {
        assert_eq!(state(&harness, id).await, "processing");
    }
    let body = json!({"executorName": "exec-raw", "jobId": taken.id});
    let done = harness.about(&taken, "batches", "markComplete").json(&body);
    assert_eq!(told(done).await.0, 204, "its token is good");
}

#[tokio::test]
async fn jobs_that_arrive_over_one_connection_stay_where_they_are() {
    let harness = Harness::start().await;
    for _ in 0..20 {
        let job = harness.running_job().await;
        assert_eq!(harness.add_log(&job, "setup.x").await, 1);
    }
    let processing = harness.get("/jobs?state=processing").await;
    assert_eq!(processing["items"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn a_cancelled_job_that_comes_back_is_cancelled() {
    let harness = Harness::start().await;
    let id = harness.submit(&large_job()).await;
    let mut stream = raw_dequeue(&harness, 10).await;
    stream.read_exact(&mut [0; 1_000]).await.unwrap();
    assert_eq!(harness.api(Method::POST, &format!("/jobs/{id}/cancel")).send().await.unwrap().status(), 200);
    assert_eq!(state(&harness, id).await, "processing", "the executor may have it");
    drop(stream);
    let begun = Instant::now();
    while state(&harness, id).await != "canceled" {
        assert!(begun.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
