//! Who may call, and in which words others are refused.

use crate::harness::{EXECUTOR, Harness, entry, told};
use serde_json::Value;
use wire::headers::{EXECUTOR_NAME, JOB_ID};

const TEST_AUTH: &str = "/.executors/test/auth";
const ADD: &str = "/.executors/queue/batches/addExecutionLogEntry";

#[tokio::test]
async fn the_shared_secret_is_asked_for_in_the_protocols_words() {
    let harness = Harness::start().await;
    let secret = harness.shared_secret();
    let form =
        "HTTP Authorization request header value must be of the following form: 'token-executor \"TOKEN\"'\n";
    let scheme =
        "unrecognized HTTP Authorization request header scheme (supported values: \"token-executor\")\n";
    let missing =
        "no token value in the HTTP Authorization request header (recommended) or basic auth (deprecated)\n";
    for (header, expected) in [
        (Some(format!("token-executor {secret}")), (200, "ok")),
        (Some("token-executor wrong".to_owned()), (401, "")),
        (Some("token-executor".to_owned()), (401, form)),
        (Some(format!("token-executor {secret} x")), (401, form)),
        (Some(format!("Bearer {secret}")), (401, scheme)),
        (None, (401, missing)),
    ] {
        let mut request = harness.client.get(harness.url(TEST_AUTH));
        if let Some(header) = &header {
            request = request.header("Authorization", header);
        }
        let (status, body) = told(request).await;
        assert_eq!((status, body.as_str()), expected, "{header:?}");
    }
    let slash = harness.client.get(harness.url("/.executors/test/auth/"));
    let slash = slash.header("Authorization", format!("token-executor {secret}"));
    assert_eq!(told(slash).await, (200, "ok".to_owned()));
}

#[tokio::test]
async fn without_a_token_in_the_configuration_nobody_connects() {
    let harness = Harness::start().await;
    std::fs::write(harness.data().join("site-config.jsonc"), "{}").unwrap();
    let request = harness.client.get(harness.url(TEST_AUTH)).header("Authorization", "token-executor x");
    let (status, body) = told(request).await;
    assert_eq!((status, body.as_str()), (500, "Executors are not configured on this instance\n"));
}

#[tokio::test]
async fn a_rotated_token_needs_no_restart() {
    let harness = Harness::start().await;
    let old = harness.shared_secret();
    let rotated = r#"{"executors.accessToken": "a-rotated-token-of-enough-length"}"#;
    std::fs::write(harness.data().join("site-config.jsonc"), rotated).unwrap();
    let request = |token: &str| {
        let authorization = format!("token-executor {token}");
        harness.client.get(harness.url(TEST_AUTH)).header("Authorization", authorization)
    };
    assert_eq!(told(request(&old)).await.0, 401);
    assert_eq!(told(request("a-rotated-token-of-enough-length")).await.0, 200);
    // As an editor leaves it for a moment, or a full disk.
    std::fs::write(harness.data().join("site-config.jsonc"), "").unwrap();
    assert_eq!(told(request("a-rotated-token-of-enough-length")).await.0, 200, "what was last good stays");
}

/// A path; `Authorization`, job id and executor name; the status and text that answer.
type Case<'a> = (&'a str, [Option<&'a str>; 3], (u16, &'a str));

#[tokio::test]
async fn each_fault_of_a_job_call_has_its_status_and_writes_nothing() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let (id, token) = (job.id.to_string(), format!("Bearer {}", job.token));
    let form = "HTTP Authorization request header value must be of the following form: 'Bearer \"TOKEN\"' or \
                'token-executor TOKEN'\n";
    let scheme = "unrecognized HTTP Authorization request header scheme (supported values: \"Bearer\", \
                  \"token-executor\")\n";
    let cases: [Case; 12] = [
        (ADD, [None, None, None], (401, "no token value in the HTTP Authorization request header\n")),
        (ADD, [Some("Bearer"), None, None], (401, form)),
        (ADD, [Some("Basic x"), None, None], (401, scheme)),
        (ADD, [Some("token-executor wrong"), None, None], (403, "")),
        (ADD, [Some(&token), None, None], (400, "job ID not provided in header 'X-Sourcegraph-Job-ID'\n")),
        (
            ADD,
            [Some(&token), Some("abc"), None],
            (400, "failed to parse Job ID: strconv.Atoi: parsing \"abc\": invalid syntax\n"),
        ),
        (ADD, [Some(&token), Some(&id), None], (400, "worker hostname cannot be empty\n")),
        (ADD, [Some(&token), Some(&id), Some("")], (400, "worker hostname cannot be empty\n")),
        (ADD, [Some("Bearer wrong"), Some(&id), Some(EXECUTOR)], (401, "invalid token\n")),
        (ADD, [Some(&token), Some("999"), Some(EXECUTOR)], (403, "invalid token\n")),
        (
            "/.executors/queue/codeintel/addExecutionLogEntry",
            [Some(&token), Some(&id), Some(EXECUTOR)],
            (403, "invalid token\n"),
        ),
        (
            "/.executors/queue/bulk/addExecutionLogEntry",
            [Some(&token), None, None],
            (404, "404 page not found\n"),
        ),
    ];
    for (path, headers, expected) in cases {
        let mut request = harness.client.post(harness.url(path)).json(&entry(&job, "setup.x"));
        for (name, value) in ["Authorization", JOB_ID, EXECUTOR_NAME].into_iter().zip(headers) {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let (status, body) = told(request).await;
        assert_eq!((status, body.as_str()), expected, "{path} {headers:?}");
    }
    assert_eq!(harness.get(&format!("/jobs/{id}/logs")).await, Value::Array(vec![]));
}

#[tokio::test]
async fn an_executor_that_never_registered_may_use_its_jobs_token() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    assert_eq!(harness.add_log(&job, "setup.x").await, 1);
}

#[tokio::test]
async fn the_shared_secret_reaches_only_jobs_of_the_named_executor() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let mine = harness.executor(ADD).json(&entry(&job, "setup.x"));
    assert_eq!(told(mine).await, (200, "1".to_owned()));
    let mut others = entry(&job, "setup.x");
    others["executorName"] = "exec-2".into();
    let refused = r#"{"error":"unknown job"}"#.to_owned();
    assert_eq!(told(harness.executor(ADD).json(&others)).await, (500, refused));
}
