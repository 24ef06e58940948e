//! Paths that pretend to be others.

use super::{api_token, is_well, raw, statuses};
use crate::harness::{EXECUTOR, Harness, job};
use crate::source::SourceRepo;
use jobs::JobSpec;

/// Makes a request whose target is sent as it is, byte for byte.
async fn status(harness: &Harness, method: &str, target: &str, headers: &str) -> u16 {
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: 0\r\n\r\n"
    );
    let answer = raw(harness, request.as_bytes()).await;
    let statuses = statuses(&answer);
    assert_eq!(statuses.len(), 1, "{target}: {answer}");
    statuses[0]
}

#[tokio::test]
async fn a_job_is_named_by_a_number_and_nothing_else() {
    let harness = Harness::start().await;
    let id = harness.submit(&job()).await;
    let token = format!("Authorization: Bearer {}\r\n", api_token(&harness));
    assert_eq!(status(&harness, "GET", &format!("/api/v1/jobs/{id}"), &token).await, 200);
    for name in [
        "0",
        "-1",
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999999999",
        "1e0",
        "0x1",
        "1.0",
        "%31%00",
        "1%00",
        "%00",
        "%ff%fe",
        "%c0%ae%c0%ae",
        "1%2f..%2f1",
        "..%2f1",
        "%2e%2e",
        "..",
        "1;x=y",
        "1%20or%201=1",
        "'%20or%20'1'='1",
        "%d9%a1",
        "%",
        "%zz",
        "",
    ] {
        for rest in ["", "/logs", "/logs/stream", "/logs/1/text"] {
            let target = format!("/api/v1/jobs/{name}{rest}");
            let got = status(&harness, "GET", &target, &token).await;
            let listed = name.is_empty() && rest.is_empty();
            assert!(if listed { got == 200 } else { [400, 404].contains(&got) }, "{target}: {got}");
        }
        let target = format!("/api/v1/jobs/{name}/cancel");
        let got = status(&harness, "POST", &target, &token).await;
        assert!([400, 404].contains(&got), "{target}: {got}");
    }
    assert_eq!(harness.get(&format!("/jobs/{id}")).await["state"], "queued");
    is_well(&harness, 1).await;
}

#[tokio::test]
async fn numbers_in_queries_have_bounds() {
    let harness = Harness::start().await;
    let id = harness.submit(&job()).await;
    for (path, expected) in [
        ("/jobs?limit=-1", 400),
        ("/jobs?limit=4294967296", 400),
        ("/jobs?limit=1e3", 400),
        ("/jobs?limit=501", 400),
        ("/jobs?limit=500", 200),
        ("/jobs?cursor=-9223372036854775808", 200),
        ("/jobs?cursor=9223372036854775808", 400),
        ("/jobs?cursor=1&cursor=2", 400),
        ("/jobs?queue=batches%00", 400),
        ("/jobs?state=queued'--", 400),
        ("/jobs?state=%ff", 400),
        (&format!("/jobs/{id}/logs?attempt=4294967295"), 200),
        (&format!("/jobs/{id}/logs?attempt=4294967296"), 400),
        (&format!("/jobs/{id}/logs?attempt=-1"), 400),
        (&format!("/jobs/{id}/logs/1/text?offset=18446744073709551615"), 404),
        (&format!("/jobs/{id}/logs/1/text?offset=18446744073709551616"), 400),
        (&format!("/jobs/{id}/logs/-9223372036854775808/text"), 404),
        (
            &format!("/jobs/{id}/logs/stream?cursor=4294967295.9223372036854775807.1-18446744073709551615"),
            400,
        ),
    ] {
        let mut response = harness.api(reqwest::Method::GET, path).send().await.unwrap();
        let status = response.status().as_u16();
        // A stream that was opened has no end.
        let opened = path.contains("stream") && status == 200;
        if opened {
            response.chunk().await.unwrap();
        }
        assert!(status == expected || opened, "{path}: {status}");
    }
    is_well(&harness, 1).await;
}

#[tokio::test]
async fn a_queue_is_one_of_two_words() {
    let harness = Harness::start().await;
    harness.submit(&job()).await;
    let secret = format!("Authorization: token-executor {}\r\n", harness.shared_secret());
    for queue in [
        "batches%2f..%2fcodeintel",
        "codeintel%2f..%2fbatches",
        "..%2fbatches",
        "batches%00",
        "batches%20",
        "BATCHES",
        "batches;codeintel",
        "%ff",
        "%2e",
        "..",
        "batches/..",
        "",
    ] {
        for call in ["dequeue", "heartbeat", "markComplete", "addExecutionLogEntry"] {
            let target = format!("/.executors/queue/{queue}/{call}");
            let got = status(&harness, "POST", &target, &secret).await;
            assert!([400, 401, 404].contains(&got), "{target}: {got}");
        }
    }
    assert!(harness.dequeue("batches").await.is_some(), "nobody got the job");
}

#[tokio::test]
async fn a_jobs_token_leads_to_its_repository_and_nowhere_else() {
    let harness = Harness::start().await;
    let (one, two) = (SourceRepo::new(), SourceRepo::new());
    harness.add_repository("demo", &one.path()).await;
    harness.add_repository("demo/private", &two.path()).await;
    harness.submit(&JobSpec { repo: Some("demo".to_owned()), ..job() }).await;
    let job = harness.dequeue("batches").await.unwrap();
    let headers = format!(
        "Authorization: Bearer {}\r\nX-Sourcegraph-Job-ID: {}\r\nX-Sourcegraph-Executor-Name: {EXECUTOR}\r\n",
        job.token, job.id
    );
    let refs = "info/refs?service=git-upload-pack";
    assert_eq!(status(&harness, "GET", &format!("/.executors/git/demo/{refs}"), &headers).await, 200);
    for name in [
        "demo/private",
        "demo%2fprivate",
        "demo/../demo/private",
        "demo/%2e%2e/demo%2fprivate",
        "demo//private",
        "private/../demo",
        "demo%00",
        "demo/.",
        "demo%2f.",
        "DEMO",
        "%ff",
        "..%2f..%2f..%2f..%2fetc",
        "1.git",
        "../repositories/1.git",
        "--upload-pack=x",
    ] {
        let target = format!("/.executors/git/{name}/{refs}");
        let got = status(&harness, "GET", &target, &headers).await;
        assert!([400, 401, 403, 404].contains(&got), "{target}: {got}");
    }
    for rest in [
        "info/refs?service=git-receive-pack",
        "info/refs?service=git-upload-archive",
        "info/refs",
        "info/refs?service=git-upload-pack%00",
        "HEAD",
        "objects/info/packs",
        "config",
        "..%2f..%2fapi-token",
    ] {
        let got = status(&harness, "GET", &format!("/.executors/git/demo/{rest}"), &headers).await;
        assert!([400, 403, 404].contains(&got), "{rest}: {got}");
    }
}

#[tokio::test]
async fn a_repository_that_is_removed_is_the_one_that_is_named() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository("demo", &source.path()).await;
    let token = format!("Authorization: Bearer {}\r\n", api_token(&harness));
    for name in
        ["..%2fdemo", "demo%2f..", "..", "%2e%2e%2f%2e%2e%2fapi-token", "1.git", "%00", "demo%00", "%ff"]
    {
        let got = status(&harness, "DELETE", &format!("/api/v1/repositories/{name}"), &token).await;
        assert!([400, 404].contains(&got), "{name}: {got}");
    }
    assert!(harness.data().join("repositories/1.git").is_dir());
    assert!(harness.data().join("api-token").is_file());
}
