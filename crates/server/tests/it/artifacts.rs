//! Files that jobs leave.

use crate::access::Holder;
use crate::harness::{EXECUTOR, Harness, job, problem, told};
use jobs::{ArtifactSpec, JobSpec, Role};
use reqwest::Method;
use serde_json::{Value, json};
use wire::Job;

pub(crate) fn leaving(artifacts: &[(&str, &str)]) -> JobSpec {
    let artifact = |(name, path): &(&str, &str)| ArtifactSpec {
        name: (*name).to_owned(),
        path: (*path).to_owned(),
        optional: false,
    };
    JobSpec { artifacts: artifacts.iter().map(artifact).collect(), ..job() }
}

/// A job that an executor of ours took, and its payload as it was sent.
pub(crate) async fn taken(harness: &Harness, spec: &JobSpec) -> (Job, Value) {
    harness.submit(spec).await;
    let request = harness.dequeue_request("batches").header("Prefer", "lease-term");
    let payload: Value = request.send().await.unwrap().json().await.unwrap();
    (serde_json::from_value(payload.clone()).unwrap(), payload)
}

pub(crate) async fn put(harness: &Harness, job: &Job, file: &str, content: &str) -> (u16, String) {
    let path = format!("/.executors/queue/batches/artifacts/{file}");
    told(harness.with_job_token(Method::POST, job, &path).body(content.to_owned())).await
}

#[tokio::test]
async fn a_file_is_kept_listed_and_handed_out() {
    let harness = Harness::start().await;
    let (job, payload) = taken(&harness, &leaving(&[("app", "out/app"), ("reports", "**/*.xml")])).await;
    let expected = json!([{"name": "app", "path": "out/app"}, {"name": "reports", "path": "**/*.xml"}]);
    assert_eq!(payload["artifacts"], expected);
    for (file, content) in [
        ("app/out/app", "first"),
        ("app/out/app", "<script>app</script>"),
        ("reports/a.xml", "<a/>"),
        ("reports/deep/%C3%A4%20b.xml", "<b/>"),
    ] {
        let (status, kept) = put(&harness, &job, file, content).await;
        assert_eq!(status, 200, "{kept}");
        assert_eq!(serde_json::from_str::<Value>(&kept).unwrap()["size"], content.len());
    }
    let base = format!("/jobs/{}/artifacts", job.id);
    let listed = harness.get(&base).await;
    let files: Vec<_> =
        listed.as_array().unwrap().iter().map(|file| (file["name"].clone(), file["path"].clone())).collect();
    assert_eq!(
        files,
        [("app", "out/app"), ("reports", "a.xml"), ("reports", "deep/ä b.xml")]
            .map(|(n, p)| (json!(n), json!(p)))
    );
    let response = harness.api(Method::GET, &format!("{base}/app")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.headers()["content-security-policy"], "default-src 'none'; sandbox");
    assert!(
        response.headers()["content-disposition"]
            .to_str()
            .unwrap()
            .starts_with("attachment; filename=\"app\"")
    );
    assert_eq!(response.text().await.unwrap(), "<script>app</script>");
    let part = harness.api(Method::GET, &format!("{base}/app")).header("Range", "bytes=1-6");
    assert_eq!(told(part).await, (206, "script".to_owned()));
    let of_several = told(harness.api(Method::GET, &format!("{base}/reports/deep/%C3%A4%20b.xml"))).await;
    assert_eq!(of_several, (200, "<b/>".to_owned()));
    for (path, words) in [("reports", "has 2 files"), ("none", "has left no"), ("app/other", "has left no")] {
        let (status, code, detail) = problem(harness.api(Method::GET, &format!("{base}/{path}"))).await;
        assert_eq!((status, code.as_str()), (404, "unknown_artifact"), "{path}");
        assert!(detail.contains(words), "{detail}");
    }
    // It stays when the job has ended, and nothing is added to it.
    assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);
    assert_eq!(put(&harness, &job, "app/out/app", "late").await.0, 401);
    assert_eq!(told(harness.api(Method::GET, &format!("{base}/app"))).await.0, 200);
}

#[tokio::test]
async fn only_what_a_job_declared_is_taken_and_only_from_it() {
    let harness = Harness::start().await;
    let (job, _) = taken(&harness, &leaving(&[("app", "out/*")])).await;
    let (other, _) = taken(&harness, &leaving(&[("app", "out/*")])).await;
    for file in
        ["app/other", "app/out/a/b", "else/out/a", "app/out/..%2f..%2fx", "app/..", "app/%2Fetc%2Fpasswd"]
    {
        let (status, told) = put(&harness, &job, file, "x").await;
        assert_eq!(status, 404, "{file}: {told}");
    }
    let path = "/.executors/queue/batches/artifacts/app/out/x";
    let shared = harness.executor(path).header("X-Sourcegraph-Job-ID", job.id.to_string()).body("x");
    assert_eq!(told(shared).await.0, 403, "an executor's own name is no job");
    assert_eq!(told(harness.client.post(harness.url(path)).body("x")).await.0, 401);
    let elsewhere = harness.with_job_token(Method::POST, &job, &path.replace("batches", "codeintel"));
    assert_eq!(told(elsewhere.body("x")).await.0, 403);
    let mut foreign = other.clone();
    foreign.id = job.id;
    assert_eq!(put(&harness, &foreign, "app/out/x", "x").await.0, 403);
    assert_eq!(harness.get(&format!("/jobs/{}/artifacts", job.id)).await, json!([]));
    // A stock executor is told of nothing that it would not do.
    harness.submit(&leaving(&[("app", "out/*")])).await;
    let request = harness.executor("/.executors/queue/batches/dequeue");
    let stock = request.json(&json!({"executorName": EXECUTOR, "version": "5.2.0"})).send().await.unwrap();
    let payload: Value = stock.json().await.unwrap();
    assert_eq!(payload.get("artifacts"), None);
}

#[tokio::test]
async fn there_is_room_for_so_much() {
    let harness = Harness::start_with(|config| config.limits.artifacts_total = 100).await;
    let (job, _) = taken(&harness, &leaving(&[("all", "*")])).await;
    assert_eq!(put(&harness, &job, "all/a", &"x".repeat(60)).await.0, 200);
    for _ in 0..2 {
        let (status, told) = put(&harness, &job, "all/b", &"x".repeat(60)).await;
        assert_eq!((status, told.contains("100 bytes")), (507, true), "{told}");
    }
    assert_eq!(put(&harness, &job, "all/b", &"x".repeat(40)).await.0, 200);
    assert_eq!(harness.get(&format!("/jobs/{}/artifacts", job.id)).await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn one_namespace_leaves_half_of_the_room_to_the_others() {
    let harness = Harness::start_with(|config| config.limits.artifacts_total = 100).await;
    let acme = Holder::new(&harness, Role::Submitter, "org:acme").await;
    let submitted = acme.call(&harness, Method::POST, "/jobs").json(&leaving(&[("all", "*")]));
    assert_eq!(told(submitted).await.0, 201);
    let theirs = harness.dequeue_request("batches").header("Prefer", "lease-term").send().await.unwrap();
    let theirs: Job = theirs.json().await.unwrap();
    let (ours, _) = taken(&harness, &leaving(&[("all", "*")])).await;
    assert_eq!(put(&harness, &theirs, "all/a", &"x".repeat(30)).await.0, 200);
    let (status, why) = put(&harness, &theirs, "all/b", &"x".repeat(30)).await;
    assert_eq!(status, 507, "{why}");
    assert!(why.contains("100 bytes") && why.contains("namespace 50, and org:acme has reached"), "{why}");
    assert_eq!(put(&harness, &ours, "all/a", &"x".repeat(60)).await.0, 200);
    assert_eq!(put(&harness, &theirs, "all/b", &"x".repeat(10)).await.0, 200);
    let (status, why) = put(&harness, &theirs, "all/c", "x").await;
    assert_eq!((status, why.contains("together may take 100 bytes, and that")), (507, true), "{why}");
}

#[tokio::test]
async fn what_is_wrong_with_a_declaration_is_told() {
    let harness = Harness::start().await;
    for (name, path) in [("a b", "x"), ("a", "/x"), ("a", "../x"), ("a", "")] {
        let (status, code, detail) =
            problem(harness.api(Method::POST, "/jobs").json(&leaving(&[(name, path)]))).await;
        assert_eq!((status, code.as_str()), (422, "invalid_job"), "{detail}");
        assert!(detail.starts_with("artifact \""), "{detail}");
    }
}
