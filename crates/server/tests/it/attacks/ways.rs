//! Where a source leads to, and how long it keeps others waiting.

use super::peak_memory;
use super::sources::{add, serve};
use crate::harness::{Harness, job, problem, told};
use crate::source::SourceRepo;
use http::header::LOCATION;
use http::{StatusCode, Uri};
use jobs::JobSpec;
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

#[tokio::test]
async fn a_metadata_service_is_no_source() {
    let harness = Harness::start().await;
    for source in [
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/",
        "http://ann:hunter2@169.254.169.254:80/x",
        "http://0xa9fea9fe/x",
        "http://2852039166/x",
        "http://0251.0376.0251.0376/x",
        "http://[::ffff:169.254.169.254]/x",
        "http://[64:ff9b::a9fe:a9fe]/x",
        "http://[fd00:ec2::254]/x",
        "http://[fe80::1]/x",
        "http://100.100.100.200/x",
        "http://0.0.0.0/x",
        "ssh://git@169.254.169.254/x",
        "git://169.254.169.254/x",
        "git://0xa9fea9fe/x",
    ] {
        let (status, code, detail) = problem(add(&harness, source)).await;
        assert_eq!((status, code.as_str()), (422, "forbidden_source"), "{source}: {detail}");
        assert!(detail.contains("link-local or a metadata service's"), "{source}: {detail}");
        assert!(!detail.contains("hunter2"), "{detail}");
    }
    assert_eq!(std::fs::read_dir(harness.data().join("repositories")).unwrap().count(), 0);
}

/// A web server that sends whoever asks for `/moved/…` elsewhere.
async fn redirecting(to: &str) -> String {
    let to = to.to_owned();
    let redirect = move |uri: Uri| async move {
        let rest = uri.path_and_query().unwrap().as_str().trim_start_matches("/moved").to_owned();
        (StatusCode::FOUND, [(LOCATION, format!("{to}{rest}"))])
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/moved", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(redirect);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test]
async fn a_source_that_redirects_is_followed_but_not_to_a_metadata_service() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    let (url, _serving) = serve(&source, false).await;
    for place in ["http://169.254.169.254/latest", "https://169.254.169.254", "http://[fd00:ec2::254]"] {
        let (status, code, detail) = problem(add(&harness, &redirecting(place).await)).await;
        assert_eq!((status, code.as_str()), (422, "forbidden_source"), "{place}: {detail}");
    }
    let moved = redirecting(url.trim_end_matches('/')).await;
    let (status, text) = told(add(&harness, &moved)).await;
    assert_eq!(status, 201, "{text}");
    harness.submit(&JobSpec { repo: Some("demo".to_owned()), rev: Some("main".to_owned()), ..job() }).await;
}

/// Serves a repository's files, and while `true` is sent to the gate keeps whoever asks waiting. Tells of
/// each who waits.
async fn stalling(source: &SourceRepo) -> (String, watch::Sender<bool>, mpsc::UnboundedReceiver<()>) {
    source.git(&["update-server-info"]);
    let root = source.path().join(".git");
    let (gate, shut) = watch::channel(false);
    let (waits, waiting) = mpsc::unbounded_channel();
    let files = move |uri: Uri| async move {
        let mut shut = shut.clone();
        if *shut.borrow_and_update() {
            let _ = waits.send(());
            shut.wait_for(|shut| !shut).await.unwrap();
        }
        let content = std::fs::read(root.join(uri.path().trim_start_matches('/')));
        content.map_err(|_| StatusCode::NOT_FOUND)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(files);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, gate, waiting)
}

/// A submit that waits for its source until `false` is sent to the gate.
async fn stuck_submit(
    harness: &Harness,
) -> (SourceRepo, watch::Sender<bool>, JoinHandle<Result<reqwest::Response, reqwest::Error>>) {
    let source = SourceRepo::new();
    let (url, gate, mut waiting) = stalling(&source).await;
    assert_eq!(add(harness, &url).send().await.unwrap().status(), 201);
    gate.send(true).unwrap();
    let spec = JobSpec { repo: Some("demo".to_owned()), ..job() };
    let stuck = tokio::spawn(harness.api(Method::POST, "/jobs").json(&spec).send());
    waiting.recv().await.unwrap();
    (source, gate, stuck)
}

#[tokio::test]
async fn submits_that_wait_for_a_source_do_not_pile_up() {
    let harness = Harness::start_with(|config| {
        (config.limits.submits, config.limits.submit_queue) = (1, Duration::from_millis(50));
    })
    .await;
    let (_source, gate, stuck) = stuck_submit(&harness).await;
    // Its client goes away, but the job was asked for.
    stuck.abort();
    let (status, code, _) = problem(harness.api(Method::POST, "/jobs").json(&job())).await;
    assert_eq!((status, code.as_str()), (503, "too_many_submits"));
    gate.send(false).unwrap();
    let begun = Instant::now();
    while harness.get("/jobs").await["items"].as_array().unwrap().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the job that was asked for did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    while told(harness.api(Method::POST, "/jobs").json(&job())).await.0 != 201 {
        assert!(begun.elapsed() < Duration::from_secs(10), "there is room again");
    }
}

/// What waits for its turn is in memory as it came: as what it means it may be far more.
#[tokio::test]
async fn submits_that_wait_take_no_more_memory_than_their_bodies() {
    let harness = Harness::start_with(|config| {
        (config.limits.submits, config.limits.submit_queue) = (1, Duration::from_secs(3));
    })
    .await;
    let (_source, gate, stuck) = stuck_submit(&harness).await;
    let execution = json!({"repository": {"name": "demo"}, "searchResultPaths": vec!["a"; 15_500],
                           "steps": [{"run": "true", "container": "alpine:3"}]});
    let one = json!({"queue": "batches", "execution": execution});
    for (path, body) in
        [("/jobs", one.to_string()), ("/jobs/batch", json!({"jobs": [{"job": one}]}).to_string())]
    {
        let before = peak_memory();
        let submits = (0..300).map(|_| problem(harness.api(Method::POST, path).body(body.clone())));
        for (status, code, _) in futures_util::future::join_all(submits).await {
            assert_eq!((status, code.as_str()), (503, "too_many_submits"), "{path}");
        }
        let grown = peak_memory().saturating_sub(before);
        assert!(grown < 140, "{path}: {grown} MiB more");
    }
    // What can't be run need not wait to be told so.
    let begun = Instant::now();
    let (status, code, _) = problem(harness.api(Method::POST, "/jobs").json(&json!({"steps": []}))).await;
    assert_eq!((status, code.as_str()), (422, "invalid_job"));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    gate.send(false).unwrap();
    stuck.await.unwrap().unwrap();
}

#[tokio::test]
async fn repositories_are_bounded_in_number() {
    let harness = Harness::start_with(|config| config.limits.repositories = 1).await;
    let source = SourceRepo::new();
    harness.add_repository("first", &source.path()).await;
    let (status, code, detail) = problem(add(&harness, source.path().to_str().unwrap())).await;
    assert_eq!((status, code.as_str()), (507, "too_many_repositories"), "{detail}");
}
