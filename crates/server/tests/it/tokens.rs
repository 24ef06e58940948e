//! Tokens of the public API: who makes them, what they are good for, and who did what with them.

use crate::access::Holder;
use crate::harness::{Harness, job, problem, told};
use jobs::Role;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_token_is_shown_once_and_is_good_until_it_is_revoked() {
    let harness = Harness::start().await;
    let body = json!({"name": "ci", "role": "submitter", "namespace": "org:acme"});
    let made = harness.api(Method::POST, "/tokens").json(&body).send().await.unwrap();
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await.unwrap();
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["createdBy"], "root");
    let call = |path: &str| harness.client.get(harness.url(&format!("/api/v1{path}"))).bearer_auth(token);
    let whoami: Value = call("/whoami").send().await.unwrap().json().await.unwrap();
    assert_eq!(whoami, json!({"name": "ci", "role": "submitter", "namespace": "org:acme"}));
    let listed = told(harness.api(Method::GET, "/tokens")).await.1;
    assert!(listed.contains(r#""name":"ci""#) && !listed.contains(token), "{listed}");
    let (status, code, _) = problem(harness.api(Method::POST, "/tokens").json(&body)).await;
    assert_eq!((status, code.as_str()), (409, "token_exists"));
    let id = made["id"].as_i64().unwrap();
    assert_eq!(told(harness.api(Method::DELETE, &format!("/tokens/{id}"))).await.0, 204);
    let (status, code, detail) = problem(call("/whoami")).await;
    assert_eq!((status, code.as_str()), (401, "unauthorized"), "{detail}");
    assert!(!detail.contains(token));
    let (status, code, _) = problem(harness.api(Method::DELETE, &format!("/tokens/{id}"))).await;
    assert_eq!((status, code.as_str()), (404, "unknown_token"));
    let database = std::fs::read(harness.data().join("executor.db")).unwrap();
    let log = std::fs::read(harness.data().join("executor.db-wal")).unwrap();
    for file in [database, log] {
        assert!(!file.windows(token.len()).any(|part| part == token.as_bytes()), "only a digest is kept");
    }
}

#[tokio::test]
async fn nobody_makes_a_token_that_may_more() {
    let harness = Harness::start().await;
    let acme = Holder::new(&harness, Role::Admin, "org:acme").await;
    for (role, namespace, expected) in [
        ("admin", "org:acme", 201),
        ("reader", "org:acme", 201),
        ("reader", "global", 403),
        ("admin", "user:bob", 403),
    ] {
        let body = json!({"name": format!("{role}-x"), "role": role, "namespace": namespace});
        let (status, told) = told(acme.call(&harness, Method::POST, "/tokens").json(&body)).await;
        assert_eq!(status, expected, "{role} {namespace}: {told}");
    }
    for (body, expected) in [
        (json!({"name": "root", "role": "reader"}), "root is taken"),
        (json!({"name": "a b", "role": "reader"}), "invalid token name"),
        (json!({"name": "x", "role": "king"}), "unknown variant `king`"),
        (json!({"name": "x", "role": "reader", "namespace": "everybody"}), "user:NAME"),
        (json!({"name": "x", "role": "reader", "expiresAt": "2001-01-01T00:00:00Z"}), "over already"),
        (
            json!({"name": "x", "role": "reader", "expiresAt": "9999-12-31T23:59:59Z"}),
            r#"expiresAt is "9999-12-31T23:59:59Z", but must be a time with its zone"#,
        ),
        (
            json!({"name": "x", "role": "reader", "expiresAt": "tomorrow"}),
            r#"expiresAt is "tomorrow", but must be"#,
        ),
    ] {
        let (status, code, detail) = problem(harness.api(Method::POST, "/tokens").json(&body)).await;
        assert_eq!((status, code.as_str()), (422, "invalid_token"), "{detail}");
        assert!(detail.contains(expected), "{detail}");
    }
}

#[tokio::test]
async fn what_was_done_is_noted_with_who_did_it_and_no_secret() {
    let harness = Harness::start().await;
    let acme = Holder::new(&harness, Role::Admin, "org:acme").await;
    let submitted = acme.call(&harness, Method::POST, "/jobs").json(&job()).send().await.unwrap();
    let id = submitted.json::<Value>().await.unwrap()["id"].as_i64().unwrap();
    let canceled = acme.call(&harness, Method::POST, &format!("/jobs/{id}/cancel")).send().await.unwrap();
    let canceled: Value = canceled.json().await.unwrap();
    assert_eq!(canceled["canceler"]["name"], "admin-of-org-acme");
    let paused =
        harness.api(Method::PATCH, "/queues/batches").json(&json!({"paused": true, "maxRunning": 3}));
    assert_eq!(told(paused).await.0, 200);
    assert_eq!(
        told(harness.api(Method::PATCH, "/queues/nothing").json(&json!({"paused": true}))).await.0,
        404
    );
    let all = harness.get("/audit").await;
    let told_of: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|act| {
            let text = |key: &str| act[key].as_str().unwrap().to_owned();
            assert_eq!(act["from"], "127.0.0.1");
            [text("actor"), text("action"), text("subject"), text("namespace"), text("detail")].join("|")
        })
        .collect();
    assert_eq!(
        told_of,
        [
            "root|queue.change|batches|global|pause, at most 3 at once".to_owned(),
            format!("admin-of-org-acme|job.cancel|job {id}|org:acme|queue batches, then canceled"),
            "root|token.create|token 1 admin-of-org-acme|org:acme|role admin".to_owned(),
        ]
    );
    assert!(!all.to_string().contains(&acme.token));
    // Of what was done to others' things one is not told.
    let own: Value = acme.call(&harness, Method::GET, "/audit").send().await.unwrap().json().await.unwrap();
    assert_eq!(own["items"].as_array().unwrap().len(), 2);
    let first = harness.get("/audit?limit=1").await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = harness.get(&format!("/audit?cursor={cursor}")).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["nextCursor"]), (2, &Value::Null));
    let created = harness.get("/audit?action=token.create").await;
    assert_eq!(created["items"].as_array().unwrap().len(), 1);
    let (status, _, detail) = problem(harness.api(Method::GET, "/audit?action=x")).await;
    assert!(status == 400 && detail.contains("token.create"), "{detail}");
}

#[tokio::test]
async fn a_log_is_followed_no_longer_than_the_token_is_good() {
    let harness = Harness::start().await;
    let acme = Holder::new(&harness, Role::Submitter, "org:acme").await;
    let submitted = acme.call(&harness, Method::POST, "/jobs").json(&job()).send().await.unwrap();
    let id = submitted.json::<Value>().await.unwrap()["id"].as_i64().unwrap();
    let mut stream =
        acme.call(&harness, Method::GET, &format!("/jobs/{id}/logs/stream")).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert!(stream.chunk().await.unwrap().is_some(), "the job's state");
    assert_eq!(told(harness.api(Method::DELETE, "/tokens/1")).await.0, 204);
    let ended = async { while stream.chunk().await.unwrap_or_default().is_some() {} };
    tokio::time::timeout(std::time::Duration::from_mins(1), ended).await.expect("it goes on");
    assert_eq!(told(acme.call(&harness, Method::GET, &format!("/jobs/{id}"))).await.0, 401);
}

#[tokio::test]
async fn whoever_guesses_must_wait_and_those_who_are_known_go_on() {
    let harness = Harness::start().await;
    let known = Holder::new(&harness, Role::Reader, "global").await;
    assert_eq!(told(known.call(&harness, Method::GET, "/version")).await.0, 200);
    let guess =
        |token: &str| harness.client.get(harness.url("/api/v1/version")).bearer_auth(token.to_owned());
    let mut refused = 0;
    let limited = loop {
        let response = guess("executor_api_wrong").send().await.unwrap();
        match response.status().as_u16() {
            401 => refused += 1,
            status => break (status, response),
        }
        assert!(refused < 100, "it is never limited");
    };
    assert!(refused >= 30, "{refused}");
    assert_eq!(limited.0, 429);
    let seconds: u64 = limited.1.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3).contains(&seconds), "{seconds}");
    let told_why: Value = limited.1.json().await.unwrap();
    assert_eq!(told_why["code"], "too_many_failures");
    assert_eq!(told(known.call(&harness, Method::GET, "/version")).await.0, 200);
    assert_eq!(told(harness.api(Method::GET, "/version")).await.0, 200, "so was the one of the file");
    // Executors are held to the same.
    let secret = "token-executor wrong-wrong-wrong-wrong";
    let executor = harness.client.get(harness.url("/.executors/test/auth")).header("Authorization", secret);
    let response = executor.send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn behind_a_named_proxy_whoever_guesses_waits_alone() {
    let harness = Harness::start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let guess = |from: &'static str| {
        let guess = harness.client.get(harness.url("/api/v1/version")).bearer_auth("executor_api_wrong");
        told(guess.header("X-Forwarded-For", from))
    };
    let mut status = 401;
    for _ in 0..100 {
        status = guess("192.0.2.1").await.0;
    }
    assert_eq!(status, 429);
    assert_eq!(guess("192.0.2.2").await.0, 401, "others behind the same proxy are heard as ever");
    let body = json!({"name": "ci", "role": "reader"});
    let made = harness.api(Method::POST, "/tokens").json(&body).header("X-Forwarded-For", "192.0.2.3");
    assert_eq!(told(made).await.0, 201);
    let (_, acts) = told(harness.api(Method::GET, "/audit?action=token.create")).await;
    let acts: Value = serde_json::from_str(&acts).unwrap();
    assert_eq!(acts["items"][0]["from"], "192.0.2.3");
}
