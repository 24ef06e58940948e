//! The public API's jobs.

use crate::harness::{Harness, job, job_on, problem, told};
use crate::source::SourceRepo;
use jobs::JobSpec;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_submitted_job_is_shown_without_its_secrets() {
    let harness = Harness::start().await;
    let spec = JobSpec { secrets: [("KEY".to_owned(), "hunter2-value".to_owned())].into(), ..job() };
    let response = harness.api(Method::POST, "/jobs").json(&spec).send().await.unwrap();
    assert_eq!(response.status(), 201);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let created = response.text().await.unwrap();
    assert!(!created.contains("hunter2"));
    let shown = harness.get(location.strip_prefix("/api/v1").unwrap()).await;
    assert_eq!(serde_json::from_str::<Value>(&created).unwrap(), shown);
    assert_eq!(shown["state"], "queued");
    assert_eq!(shown["steps"][0]["key"], "0");
}

#[tokio::test]
async fn jobs_are_listed_newest_first_page_by_page() {
    let harness = Harness::start().await;
    let mut ids = Vec::new();
    for queue in ["batches", "codeintel", "batches", "batches"] {
        ids.push(harness.submit(&job_on(queue)).await);
    }
    let listed = |page: &Value| -> Vec<i64> {
        page["items"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
    };
    let first = harness.get("/jobs?queue=batches&state=queued&limit=2").await;
    assert_eq!(listed(&first), [ids[3], ids[2]]);
    let cursor = first["nextCursor"].as_str().unwrap();
    let last = harness.get(&format!("/jobs?queue=batches&limit=2&cursor={cursor}")).await;
    assert_eq!(listed(&last), [ids[0]]);
    assert_eq!(last["nextCursor"], Value::Null);
    assert_eq!(listed(&harness.get("/jobs?state=completed").await), [0; 0]);
}

#[tokio::test]
async fn each_bad_submission_is_a_problem_of_its_own() {
    let harness = Harness::start_with(|config| config.limits.api_body = 4_000).await;
    let source = SourceRepo::new();
    harness.add_repository("demo", &source.path()).await;
    let step = json!([{"image": "a", "run": "b"}]);
    for (body, expected, told) in [
        ("{".to_owned(), (400, "invalid_json"), "EOF while parsing"),
        (json!({"steps": step, "stpes": 1}).to_string(), (422, "invalid_job"), "unknown field `stpes`"),
        (json!({"steps": []}).to_string(), (422, "invalid_job"), "no steps"),
        (
            json!({"steps": step, "queue": "bulk"}).to_string(),
            (422, "invalid_job"),
            r#"invalid queue "bulk""#,
        ),
        (
            json!({"steps": [{"image": "Not A Reference", "run": "b"}]}).to_string(),
            (422, "invalid_job"),
            r#"invalid image reference "Not A Reference": it may not hold blanks"#,
        ),
        (json!({"steps": step, "repo": "nope"}).to_string(), (422, "unknown_repository"), r#""nope""#),
        (
            json!({"steps": step, "repo": "demo", "rev": "nope"}).to_string(),
            (422, "unknown_revision"),
            r#"repository "demo" has no revision "nope""#,
        ),
        (" ".repeat(4_001), (413, "body_too_large"), "larger than 4000 bytes"),
    ] {
        let (status, code, detail) = problem(harness.api(Method::POST, "/jobs").body(body)).await;
        assert_eq!((status, code.as_str()), expected, "{detail}");
        assert!(detail.contains(told), "{detail}");
    }
    assert_eq!(harness.get("/jobs").await["items"], json!([]));
}

#[tokio::test]
async fn bad_paths_queries_and_callers_are_problems_too() {
    let harness = Harness::start().await;
    let wrong_token = harness.client.get(harness.url("/api/v1/jobs")).bearer_auth("wrong");
    let no_token = harness.client.get(harness.url("/api/v1/version"));
    let elsewhere = harness.client.get(harness.url("/elsewhere"));
    for (request, expected) in [
        (wrong_token, (401, "unauthorized")),
        (no_token, (401, "unauthorized")),
        (elsewhere, (404, "no_such_path")),
        (harness.api(Method::DELETE, "/jobs"), (405, "no_such_method")),
        (harness.api(Method::GET, "/jobs/999"), (404, "unknown_job")),
        (harness.api(Method::GET, "/jobs/abc"), (404, "no_such_path")),
        (harness.api(Method::GET, "/jobs/999/logs"), (404, "unknown_job")),
        (harness.api(Method::GET, "/jobs/999/logs/stream"), (404, "unknown_job")),
        (harness.api(Method::GET, "/jobs?limit=0"), (400, "invalid_query")),
        (harness.api(Method::GET, "/jobs?state=lost"), (400, "invalid_query")),
        (harness.api(Method::GET, "/jobs?queue=bulk"), (400, "invalid_query")),
        (harness.api(Method::GET, "/jobs?foo=1"), (400, "invalid_query")),
        (harness.api(Method::POST, "/jobs/999/cancel"), (404, "unknown_job")),
    ] {
        let (status, code, detail) = problem(request).await;
        assert_eq!((status, code.as_str()), expected, "{detail}");
    }
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_told_its_value_and_rule() {
    let harness = Harness::start().await;
    for (path, told) in [
        ("/jobs?limit=abc", r#"limit is "abc", but must be a whole number between 1 and 500"#),
        (
            "/jobs?limit=99999999999",
            r#"limit is "99999999999", but must be a whole number between 1 and 500"#,
        ),
        ("/jobs?limit=", r#"limit is "", but must be"#),
        ("/jobs?cursor=x%0Ay", r#"cursor is "x\ny", but must be what the page before told"#),
        ("/audit?cursor=x", r#"cursor is "x""#),
        ("/jobs?state=lost", r#"state is "lost": unknown variant `lost`, expected one of `queued`"#),
        ("/jobs?after=7", r#"after is "7": unknown field `after`, expected one of `queue`"#),
        ("/jobs/1/logs?attempt=-1", r#"attempt is "-1", but must be a whole number from 0"#),
        ("/jobs?namespace=nobody", r#"namespace is "nobody""#),
    ] {
        let (status, code, detail) = problem(harness.api(Method::GET, path)).await;
        assert_eq!((status, code.as_str()), (400, "invalid_query"), "{path}");
        assert!(detail.starts_with(told), "{path}: {detail}");
    }
}

#[tokio::test]
async fn a_queued_job_is_cancelled_at_once_and_only_once() {
    let harness = Harness::start().await;
    let id = harness.submit(&job()).await;
    harness.cancel(id).await;
    assert_eq!(harness.get(&format!("/jobs/{id}")).await["state"], "canceled");
    let (status, code, _) = problem(harness.api(Method::POST, &format!("/jobs/{id}/cancel"))).await;
    assert_eq!((status, code.as_str()), (409, "job_ended"));
    assert!(harness.dequeue("batches").await.is_none());
}

#[tokio::test]
async fn health_needs_no_token_and_version_tells_it() {
    let harness = Harness::start_with(|config| config.version = "9.9.9".to_owned()).await;
    assert_eq!(told(harness.client.get(harness.url("/healthz"))).await, (200, "ok".to_owned()));
    assert_eq!(harness.get("/version").await, json!({"version": "9.9.9"}));
}

#[tokio::test]
async fn jobs_are_found_by_a_text_a_page_at_a_time() {
    let harness = Harness::start().await;
    let mut canceled = Vec::new();
    for _ in 0..3 {
        let id = harness.submit(&job()).await;
        harness.cancel(id).await;
        canceled.push(id);
        harness.submit(&job()).await;
    }
    let mut found = Vec::new();
    let mut cursor = String::new();
    // A page that is full may be the last one, so an empty one may come after it.
    for _ in 0..=canceled.len() {
        let page = harness.get(&format!("/jobs?text=CANCELED&limit=1{cursor}")).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 1, "{page}");
        found.extend(items.iter().map(|job| job["id"].as_i64().unwrap()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    canceled.reverse();
    assert_eq!(found, canceled, "those that wait are left out, and the newest comes first");
    let none = harness.get("/jobs?text=nowhere-to-be-found").await;
    assert_eq!((&none["items"], &none["nextCursor"]), (&json!([]), &Value::Null));
    let (status, code, detail) =
        problem(harness.api(Method::GET, &format!("/jobs?text={}", "x".repeat(201)))).await;
    assert_eq!((status, &*code), (400, "invalid_query"), "{detail}");
}

#[tokio::test]
async fn jobs_are_found_by_who_has_them_or_had_them_last() {
    let harness = Harness::start().await;
    let mut of = std::collections::BTreeMap::new();
    for executor in ["exec-1", "exec-10"] {
        let id = harness.submit(&job()).await;
        let body = json!({"executorName": executor, "version": "5.2.0"});
        let taken = harness.executor("/.executors/queue/batches/dequeue").json(&body).send().await.unwrap();
        assert_eq!(crate::harness::job_in(taken).await.unwrap().id.0, id);
        of.insert(executor, id);
    }
    harness.submit(&job()).await;
    let found = async |query: &str| {
        let page = harness.get(&format!("/jobs?{query}")).await;
        assert!(page["nextCursor"].is_null(), "{page}");
        page["items"].as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    for (executor, id) in &of {
        assert_eq!(found(&format!("executor={executor}")).await, [*id], "its whole name counts");
    }
    assert_eq!(found("executor=exec-1&state=processing").await, [of["exec-1"]]);
    assert_eq!(found("executor=exec-1&text=exec-10").await, Vec::<i64>::new());
    let (status, code, detail) =
        problem(harness.api(Method::GET, &format!("/jobs?executor={}", "x".repeat(201)))).await;
    assert_eq!((status, &*code), (400, "invalid_query"), "{detail}");
}

#[tokio::test]
async fn bodies_that_never_come_keep_nobody_from_submitting() {
    let harness = Harness::start_with(|config| {
        (config.limits.submits, config.limits.submits_per_client) = (2, 2);
        config.limits.submit_queue = std::time::Duration::from_millis(100);
    })
    .await;
    let token = secrecy::ExposeSecret::expose_secret(harness.server.api_token()).to_owned();
    let mut silent = Vec::new();
    for _ in 0..4 {
        let mut stream = tokio::net::TcpStream::connect(harness.server.addr()).await.unwrap();
        let head = format!(
            "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 400000\r\n\r\n{{"
        );
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    // They are being read by now, as their connections are older.
    assert_eq!(told(harness.api(Method::GET, "/version")).await.0, 200);
    harness.submit(&job()).await;
    drop(silent);
}
