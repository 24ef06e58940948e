//! Files that are uploaded for jobs, and read by the jobs that name them.

mod bounds;

use crate::harness::{Harness, job, job_on, problem, told};
use jiff::SignedDuration;
use jobs::{FileSpec, JobSpec};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::MockClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::Job;

const LAST_CHANGE: &str = "2001-02-03T04:05:06.789Z";

fn upload(harness: &Harness, body: impl Into<reqwest::Body>) -> RequestBuilder {
    harness.api(Method::POST, &format!("/files?name=data.bin&modifiedAt={LAST_CHANGE}")).body(body)
}

async fn uploaded(harness: &Harness, body: impl Into<reqwest::Body>) -> Value {
    let response = upload(harness, body).send().await.unwrap();
    assert_eq!(response.status(), 201);
    response.json().await.unwrap()
}

pub(crate) async fn uploaded_id(harness: &Harness, body: &'static str) -> String {
    uploaded_id_of(harness, body).await
}

pub(crate) async fn uploaded_id_of(harness: &Harness, body: impl Into<reqwest::Body>) -> String {
    uploaded(harness, body).await["id"].as_str().unwrap().to_owned()
}

pub(crate) fn with_upload(spec: JobSpec, path: &str, id: &str) -> JobSpec {
    let file = FileSpec { path: path.to_owned(), upload: Some(id.to_owned()), ..FileSpec::default() };
    JobSpec { files: [spec.files.clone(), vec![file]].concat(), ..spec }
}

pub(crate) fn file_path(job: &Job, id: &str) -> String {
    format!("/.executors/files/batch-changes/{}/{id}", job.id)
}

/// What lies in the directory of uploaded files.
pub(crate) fn kept(harness: &Harness) -> Vec<String> {
    let entries = std::fs::read_dir(harness.data().join("files")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

async fn until_nothing_is_kept(harness: &Harness) {
    let begun = Instant::now();
    while !kept(harness).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", kept(harness));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_upload_is_told_what_arrived_and_lies_in_a_private_file() {
    let harness = Harness::start().await;
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let view = uploaded(&harness, content.clone()).await;
    let id = view["id"].as_str().unwrap();
    assert!(jobs::files::is_file_id(id), "{id}");
    let sha256 = hex::encode(Sha256::digest(&content));
    assert_eq!(
        view,
        json!({"id": id, "name": "data.bin", "size": 3_000_000, "sha256": sha256, "modifiedAt": LAST_CHANGE})
    );
    let dir = harness.data().join("files");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join(id))), (0o700, 0o600));
    assert!(std::fs::read(dir.join(id)).unwrap() == content);
    assert_eq!(kept(&harness), [id]);
}

#[tokio::test]
async fn a_job_gets_its_files_in_the_documented_shapes() {
    let harness = Harness::start().await;
    let id = uploaded_id(&harness, "uploaded\n").await;
    let inline = FileSpec {
        path: "a/inline.txt".to_owned(),
        content: Some("größer\n".to_owned()),
        ..FileSpec::default()
    };
    let spec = with_upload(JobSpec { files: vec![inline], ..job() }, "b/stored.bin", &id);
    let job_id = harness.submit(&spec).await;
    let payload: Value = harness.dequeue_request("batches").send().await.unwrap().json().await.unwrap();
    let expected = json!({
        "a/inline.txt": {"content": "Z3LDtsOfZXIK", "modifiedAt": "0001-01-01T00:00:00Z"},
        "b/stored.bin": {"bucket": "batch-changes", "key": format!("{job_id}/{id}"), "modifiedAt": LAST_CHANGE},
    });
    assert_eq!(payload["files"], expected);

    let job: Job = serde_json::from_value(payload).unwrap();
    let get = harness.with_job_token(Method::GET, &job, &file_path(&job, &id)).send().await.unwrap();
    assert_eq!((get.status().as_u16(), &get.headers()["content-length"]), (200, &"9".parse().unwrap()));
    assert_eq!(get.text().await.unwrap(), "uploaded\n");
    let head = all_that_comes_of_head(&harness, &job, &file_path(&job, &id)).await;
    let (headers, body) = head.split_once("\r\n\r\n").unwrap();
    assert!(headers.starts_with("HTTP/1.1 200"), "{headers}");
    assert!(headers.to_lowercase().contains("content-length: 9\r\n"), "{headers}");
    assert_eq!(body, "", "a client would take it for the next answer");
}

/// A client reads no body of an answer to HEAD, so whether one comes is seen below it only.
async fn all_that_comes_of_head(harness: &Harness, job: &Job, path: &str) -> String {
    let request = harness.with_job_token(Method::HEAD, job, path).build().unwrap();
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("{name}: {}\r\n", value.to_str().unwrap())
    };
    let headers: Vec<String> = request.headers().iter().map(line).collect();
    let request = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", headers.concat());
    let mut stream = TcpStream::connect(harness.server.addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_job_reads_its_own_files_and_no_others() {
    let harness = Harness::start().await;
    let (mine, other) = (uploaded_id(&harness, "mine").await, uploaded_id(&harness, "other").await);
    harness.submit(&with_upload(job(), "x", &mine)).await;
    harness.submit(&with_upload(job_on("codeintel"), "x", &other)).await;
    let me = harness.dequeue("batches").await.unwrap();
    let you = harness.dequeue("codeintel").await.unwrap();
    let not_there = (404, "workspace file does not exist\n".to_owned());
    for (path, expected) in [
        (file_path(&me, &mine), (200, "mine".to_owned())),
        (file_path(&me, &other), not_there.clone()),
        (file_path(&you, &other), not_there.clone()),
        (file_path(&you, &mine), not_there.clone()),
        (format!("/.executors/files/other-bucket/{}/{mine}", me.id), not_there.clone()),
        (format!("/.executors/files/batch-changes/{}/{}", me.id, "0".repeat(32)), not_there.clone()),
        (format!("/.executors/files/batch-changes/{}/..%2f{mine}", me.id), not_there.clone()),
        (format!("/.executors/files/batch-changes/{}/%00", me.id), not_there.clone()),
        (
            format!("/.executors/files/batch-changes/{mine}"),
            (400, "the path must be batch-changes/{job}/{file}\n".to_owned()),
        ),
    ] {
        assert_eq!(told(harness.with_job_token(Method::GET, &me, &path)).await, expected, "{path}");
    }
    assert_eq!(told(harness.with_job_token(Method::HEAD, &me, &file_path(&me, &other))).await.0, 404);
    let yours = harness.with_job_token(Method::GET, &you, &file_path(&you, &other));
    assert_eq!(told(yours).await, (200, "other".to_owned()), "whatever the queue");

    let url = harness.url(&file_path(&me, &mine));
    assert_eq!(told(harness.client.get(&url)).await.0, 401);
    let shared = harness.client.get(&url);
    let shared = shared.header("Authorization", format!("token-executor {}", harness.shared_secret()));
    assert_eq!(told(shared).await, (200, "mine".to_owned()), "as old executors do");
    assert_eq!(harness.mark(&me, "markComplete", json!({})).await.status(), 204);
    assert_eq!(told(harness.with_job_token(Method::GET, &me, &file_path(&me, &mine))).await.0, 401);
}

#[tokio::test]
async fn an_upload_that_is_not_understood_is_refused_with_the_reason() {
    let harness = Harness::start().await;
    let post = |query: &str| harness.api(Method::POST, &format!("/files{query}")).body("x");
    let long = format!("?name={}", "n".repeat(256));
    for (request, expected) in [
        (post(""), (400, "invalid_query")),
        (post("?name="), (400, "invalid_query")),
        (post("?name=a%0Ab"), (400, "invalid_query")),
        (post(&long), (400, "invalid_query")),
        (post("?name=a&modifiedAt=yesterday"), (400, "invalid_query")),
        (post("?name=a&mode=777"), (400, "invalid_query")),
        (post("?name=a").header("Content-Encoding", "gzip"), (415, "encoded_file")),
        (harness.client.post(harness.url("/api/v1/files?name=a")).body("x"), (401, "unauthorized")),
    ] {
        let (status, code, detail) = problem(request).await;
        assert_eq!((status, code.as_str()), expected, "{detail}");
    }
    assert_eq!(kept(&harness), [""; 0]);
}

#[tokio::test]
async fn leftovers_of_a_crash_are_cleared_away_and_files_stay() {
    let harness = Harness::start().await;
    let id = uploaded_id(&harness, "kept").await;
    harness.submit(&with_upload(job(), "x", &id)).await;
    let files = harness.data().join("files");
    let dir = harness.stop().await;
    std::fs::write(files.join("unfinished-x"), "half").unwrap();
    std::fs::write(files.join("0".repeat(32)), "its row was never written").unwrap();
    let harness = Harness::start_in(dir, |_| {}).await;
    assert_eq!(kept(&harness), std::slice::from_ref(&id));
    let job = harness.dequeue("batches").await.unwrap();
    let get = harness.with_job_token(Method::GET, &job, &file_path(&job, &id));
    assert_eq!(told(get).await, (200, "kept".to_owned()));
}

#[tokio::test]
async fn a_file_goes_when_no_job_has_needed_it_for_long() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let harness = Harness::start_with(|config| {
        config.clock = clock.clone();
        config.limits.files_kept = Duration::from_millis(20);
        // The job is not to be taken back.
        config.lease.untold = Duration::from_hours(100);
    })
    .await;
    let (needed, unneeded) = (uploaded_id(&harness, "needed").await, uploaded_id(&harness, "unneeded").await);
    harness.submit(&with_upload(job(), "x", &needed)).await;
    let job = harness.dequeue("batches").await.unwrap();
    clock.advance(SignedDuration::from_secs(60));
    let begun = Instant::now();
    while kept(&harness).contains(&unneeded) {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(kept(&harness), [needed], "its job runs");
    assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);
    clock.advance(SignedDuration::from_secs(60));
    until_nothing_is_kept(&harness).await;
}

#[tokio::test]
async fn a_content_that_was_lost_is_our_fault_and_told_so() {
    let harness = Harness::start().await;
    let id = uploaded_id(&harness, "lost").await;
    harness.submit(&with_upload(job(), "x", &id)).await;
    let job = harness.dequeue("batches").await.unwrap();
    std::fs::remove_file(harness.data().join("files").join(&id)).unwrap();
    let get = harness.with_job_token(Method::GET, &job, &file_path(&job, &id));
    assert_eq!(told(get).await.0, 500);
}
