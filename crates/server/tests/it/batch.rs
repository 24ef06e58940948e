//! Many jobs submitted with one call: all of them, or none, and what is wrong with each is told.

use crate::harness::{Harness, job, job_on, problem, told};
use crate::source::SourceRepo;
use jobs::JobSpec;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use server::api::{JobFault, Problem, SubmittedJobs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn batch(harness: &Harness, jobs: &[Value]) -> RequestBuilder {
    harness.api(Method::POST, "/jobs/batch").json(&json!({"jobs": jobs}))
}

fn of(spec: &JobSpec) -> Value {
    json!({"job": spec})
}

fn keyed(spec: &JobSpec, key: &str) -> Value {
    json!({"job": spec, "idempotencyKey": key})
}

async fn ids(request: RequestBuilder) -> Vec<i64> {
    let (status, text) = told(request).await;
    assert_eq!(status, 201, "{text}");
    serde_json::from_str::<SubmittedJobs>(&text).unwrap().ids
}

async fn faults(request: RequestBuilder) -> (Vec<(usize, String)>, Problem) {
    let (status, text) = told(request).await;
    let problem: Problem = serde_json::from_str(&text).unwrap();
    assert_eq!((status, problem.code.as_str()), (422, "invalid_jobs"), "{text}");
    let told = problem.jobs.iter().map(|JobFault { index, code, .. }| (*index, code.clone())).collect();
    (told, problem)
}

async fn how_many(harness: &Harness) -> usize {
    harness.list("/jobs?limit=500").await.as_array().unwrap().len()
}

#[tokio::test]
async fn many_jobs_are_submitted_with_one_call_in_their_order() {
    let harness = Harness::start().await;
    let specs: Vec<Value> =
        (0..200).map(|n| of(&job_on(if n % 2 == 0 { "batches" } else { "codeintel" }))).collect();
    let ids = ids(batch(&harness, &specs)).await;
    assert!(ids.len() == 200 && ids.is_sorted());
    assert_eq!(harness.get(&format!("/jobs/{}", ids[1])).await["queue"], "codeintel");
    assert_eq!(harness.dequeue("batches").await.unwrap().id.0, ids[0]);
    assert_eq!(harness.dequeue("batches").await.unwrap().id.0, ids[2]);
    let metrics = told(harness.api(Method::GET, "/metrics")).await.1;
    let counted = metrics.lines().find(|line| line.contains("submitted") && line.contains("codeintel"));
    assert!(counted.is_some_and(|line| line.ends_with(" 100")), "{counted:?}");
}

#[tokio::test]
async fn one_that_can_not_be_run_keeps_all_from_it_and_every_such_one_is_told() {
    let harness = Harness::start().await;
    let nothing = json!({"steps": []});
    let upload = json!([{"path": "a", "upload": "0".repeat(32)}]);
    let step = json!([{"image": "a", "run": "b"}]);
    let (bad, problem) = faults(batch(
        &harness,
        &[
            of(&job()),
            json!({"job": nothing}),
            json!({"job": {"stepz": []}}),
            json!(nothing),
            json!([nothing]),
            json!({"job": [nothing]}),
            keyed(&job(), "not a key"),
            of(&job()),
        ],
    ))
    .await;
    let invalid = |index| (index, "invalid_job".to_owned());
    let expected = [invalid(1), invalid(2), invalid(3), invalid(4), invalid(5)];
    assert_eq!(bad[..5], expected);
    assert_eq!(bad[5..], [(6, "invalid_idempotency_key".to_owned())]);
    assert!(problem.detail.starts_with("6 of 8 jobs") && problem.detail.contains("job 1: "), "{problem:?}");
    let detail = |nth: usize| problem.jobs[nth].detail.clone();
    assert!(detail(0).contains("no steps"), "{}", detail(0));
    assert!(detail(1).contains("stepz") && detail(3).contains("list"), "{} {}", detail(1), detail(3));
    assert!(detail(5).contains("not a key"), "{}", detail(5));

    // What is only known when it is looked up.
    let (bad, _) = faults(batch(
        &harness,
        &[
            of(&job()),
            json!({"job": {"steps": step, "repo": "none"}}),
            json!({"job": {"steps": step, "storedSecrets": ["NONE"]}}),
            json!({"job": {"steps": step, "files": upload}}),
            json!({"job": {"steps": step, "repo": "none"}}),
        ],
    ))
    .await;
    let codes = ["unknown_repository", "unknown_secret", "unknown_file", "unknown_repository"];
    assert_eq!(
        bad,
        codes.map(str::to_owned).into_iter().enumerate().map(|(n, code)| (n + 1, code)).collect::<Vec<_>>()
    );
    assert_eq!(how_many(&harness).await, 0);
}

#[tokio::test]
async fn a_call_has_so_many_jobs_and_bytes_and_no_key_of_its_own() {
    let harness = Harness::start_with(|config| config.limits.api_body = 100_000).await;
    let many = vec![of(&job()); 1_001];
    let (_, problem) = faults(batch(&harness, &many)).await;
    assert!(problem.detail.contains("more than 1000") && problem.jobs.is_empty(), "{problem:?}");
    assert_eq!(ids(batch(&harness, &many[1..])).await.len(), 1_000);
    let (_, problem) = faults(batch(&harness, &[])).await;
    assert!(problem.detail.contains("empty"), "{problem:?}");
    let (_, problem) = faults(harness.api(Method::POST, "/jobs/batch").json(&many[..1])).await;
    assert!(problem.detail.contains("list"), "{problem:?}");
    let large = "x".repeat(100_000);
    let sent = self::problem(batch(&harness, &[json!({"job": {"steps": [], "env": {"A": large}}})])).await;
    assert_eq!((sent.0, sent.1.as_str()), (413, "body_too_large"));
    let one_key = batch(&harness, &[of(&job())]).header("Idempotency-Key", "k1");
    let (status, code, detail) = self::problem(one_key).await;
    assert_eq!((status, code.as_str()), (400, "invalid_idempotency_key"));
    assert!(detail.contains("idempotencyKey"), "{detail}");
    assert_eq!(self::problem(harness.api(Method::POST, "/jobs/batch").body("{")).await.1, "invalid_json");
}

#[tokio::test]
async fn jobs_with_keys_may_be_submitted_again_each_by_itself() {
    let harness = Harness::start().await;
    let first = ids(batch(&harness, &[keyed(&job(), "a"), of(&job()), keyed(&job(), "b")])).await;
    let alone = harness.api(Method::POST, "/jobs").header("Idempotency-Key", "b").json(&job());
    assert_eq!(alone.send().await.unwrap().json::<Value>().await.unwrap()["id"], first[2]);
    let again = ids(batch(&harness, &[keyed(&job(), "c"), keyed(&job(), "b"), keyed(&job(), "a")])).await;
    assert_eq!(again[1..], [first[2], first[0]]);
    assert!(!first.contains(&again[0]));
    let twice = ids(batch(&harness, &[keyed(&job(), "d"), keyed(&job(), "d")])).await;
    assert_eq!(twice[0], twice[1]);
    let other = job_on("codeintel");
    let (bad, _) = faults(batch(&harness, &[keyed(&job(), "e"), keyed(&other, "a")])).await;
    assert_eq!(bad, [(1, "idempotency_key_reused".to_owned())]);
    assert_eq!(how_many(&harness).await, 5);
}

#[tokio::test]
async fn revisions_are_looked_up_and_what_was_submitted_is_found_when_they_are_gone() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository("demo", &source.path()).await;
    let head = source.commit("more", "x\n");
    let of_demo =
        |rev: Option<&str>| JobSpec { repo: Some("demo".to_owned()), rev: rev.map(str::to_owned), ..job() };
    let jobs: Vec<Value> =
        (0..20).map(|n| keyed(&of_demo([None, Some("main")][n % 2]), &format!("k{n}"))).collect();
    let first = ids(batch(&harness, &jobs)).await;
    for id in &first[..2] {
        assert_eq!(harness.get(&format!("/jobs/{id}")).await["commit"], head);
    }
    let (bad, _) = faults(batch(&harness, &[of(&of_demo(Some("nope"))), of(&of_demo(None))])).await;
    assert_eq!(bad, [(0, "unknown_revision".to_owned())]);
    let removed = harness.api(Method::DELETE, "/repositories/demo").send().await.unwrap();
    assert_eq!(removed.status(), 204);
    assert_eq!(ids(batch(&harness, &jobs)).await, first);
}

/// Serves a repository's files, and counts how often somebody asks which branches there are.
async fn counting(source: &SourceRepo) -> (String, Arc<AtomicU32>) {
    source.git(&["update-server-info"]);
    let (root, asked) = (source.path().join(".git"), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&asked);
    let files = move |uri: axum::http::Uri| async move {
        if uri.path() == "/info/refs" {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        let content = std::fs::read(root.join(uri.path().trim_start_matches('/')));
        content.map_err(|_| axum::http::StatusCode::NOT_FOUND)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(files)).await.unwrap() });
    (url, asked)
}

#[tokio::test]
async fn a_repository_is_fetched_once_for_all_jobs_of_a_call() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    source.git(&["branch", "other"]);
    let (url, asked) = counting(&source).await;
    let body = json!({"name": "demo", "source": url});
    assert_eq!(told(harness.api(Method::POST, "/repositories").json(&body)).await.0, 201);
    let mut took = Vec::new();
    for revs in [&[None][..], &[None, Some("main"), Some("other"), Some("main~0"), None]] {
        let before = asked.load(Ordering::Relaxed);
        let jobs: Vec<Value> = revs
            .iter()
            .map(|rev| JobSpec { repo: Some("demo".to_owned()), rev: rev.map(str::to_owned), ..job() })
            .map(|spec| of(&spec))
            .collect();
        assert_eq!(ids(batch(&harness, &jobs)).await.len(), revs.len());
        took.push(asked.load(Ordering::Relaxed) - before);
    }
    assert!(took[0] > 0 && took[0] == took[1], "{took:?}");
}

#[tokio::test]
async fn all_of_a_call_find_room_in_the_queue_or_none() {
    let harness = Harness::start_with(|config| config.limits.queued_jobs = 5).await;
    assert_eq!(ids(batch(&harness, &vec![of(&job()); 3])).await.len(), 3);
    let (status, code, _) = problem(batch(&harness, &vec![of(&job()); 3])).await;
    assert_eq!((status, code.as_str()), (503, "queue_full"));
    assert_eq!(how_many(&harness).await, 3);
    assert_eq!(ids(batch(&harness, &vec![of(&job()); 2])).await.len(), 2);
}
