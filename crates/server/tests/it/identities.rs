//! Executors that prove who they are: with either of two shared secrets, or with an identity of their own.

use crate::harness::{EXECUTOR, Harness, entry, job, job_in, told};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::time::Duration;
use wire::Job;

const TEST_AUTH: &str = "/.executors/test/auth";
const REGISTER: &str = "/.executors/register";
const DEQUEUE: &str = "/.executors/queue/batches/dequeue";
const HEARTBEAT: &str = "/.executors/queue/batches/heartbeat";

fn identity(n: u8) -> String {
    format!("executor_id_{}", hex::encode([n; 32]))
}

fn as_executor(harness: &Harness, path: &str, secret: &str) -> RequestBuilder {
    harness.client.post(harness.url(path)).header("Authorization", format!("token-executor {secret}"))
}

async fn invite(harness: &Harness, uses: u32) -> (i64, String) {
    let body = json!({"name": "rack-7", "uses": uses});
    let made = harness.api(Method::POST, "/registration-tokens").json(&body).send().await.unwrap();
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await.unwrap();
    (made["id"].as_i64().unwrap(), made["token"].as_str().unwrap().to_owned())
}

async fn register(harness: &Harness, token: &str, name: &str, identity: &str) -> (u16, String) {
    let body = json!({"executorName": name, "identity": identity});
    told(as_executor(harness, REGISTER, token).json(&body)).await
}

async fn dequeue_as(harness: &Harness, secret: &str, name: &str) -> (u16, String) {
    told(as_executor(harness, DEQUEUE, secret).json(&json!({"executorName": name, "version": "5.2.0"}))).await
}

#[tokio::test]
async fn two_secrets_are_good_while_one_replaces_the_other() {
    let harness = Harness::start().await;
    let old = harness.shared_secret();
    let new = "a-new-token-of-enough-length";
    let write = |text: String| std::fs::write(harness.data().join("site-config.jsonc"), text).unwrap();
    let auth = async |secret: &str| {
        let authorization = format!("token-executor {secret}");
        told(harness.client.get(harness.url(TEST_AUTH)).header("Authorization", authorization)).await.0
    };
    write(format!(r#"{{"executors.accessToken": "{new}", "executors.accessTokenPrevious": "{old}"}}"#));
    assert_eq!((auth(new).await, auth(&old).await, auth("wrong-wrong-wrong-wrong").await), (200, 200, 401));
    harness.submit(&job()).await;
    let response = as_executor(&harness, DEQUEUE, &old)
        .json(&json!({"executorName": EXECUTOR, "version": "5.2.0"}))
        .send()
        .await
        .unwrap();
    let job: Job = job_in(response).await.unwrap();
    let add = "/.executors/queue/batches/addExecutionLogEntry";
    assert_eq!(told(as_executor(&harness, add, &old).json(&entry(&job, "setup.x"))).await.0, 200);
    write(format!(r#"{{"executors.accessToken": "{new}"}}"#));
    assert_eq!((auth(new).await, auth(&old).await), (200, 401));
}

#[tokio::test]
async fn an_executor_with_an_identity_acts_under_its_own_name_alone() {
    let harness = Harness::start().await;
    let (_, token) = invite(&harness, 1).await;
    let (own, others) = (identity(1), identity(2));
    assert_eq!(register(&harness, &token, "exec-7", &own).await, (204, String::new()));
    assert_eq!(register(&harness, &token, "exec-7", &own).await.0, 204, "the answer may have got lost");
    let (status, why) = register(&harness, &token, "exec-8", &others).await;
    assert!(
        status == 401 && why.contains("used up") && why.contains("executor agent invite create"),
        "{why}"
    );
    for bad in ["executor_id_", "secret", &own[..own.len() - 1]] {
        assert_eq!(register(&harness, &token, "exec-9", bad).await.0, 400, "{bad}");
    }
    let (status, why) = register(&harness, &harness.shared_secret(), "exec-9", &others).await;
    assert!(status == 401 && why.contains("registration token"), "{why}");

    harness.submit(&job()).await;
    let (status, why) = dequeue_as(&harness, &own, "exec-1").await;
    assert_eq!((status, why.as_str()), (403, "this identity is executor exec-7's, not \"exec-1\"'s\n"));
    let (status, why) = dequeue_as(&harness, &harness.shared_secret(), "exec-7").await;
    assert!(status == 403 && why.contains("has an identity of its own"), "{why}");
    let (status, why) = dequeue_as(&harness, &others, "exec-8").await;
    assert!(status == 401 && why.contains("not known here"), "{why}");
    let (status, job) = dequeue_as(&harness, &own, "exec-7").await;
    assert_eq!(status, 200, "{job}");
    let job: Value = serde_json::from_str(&job).unwrap();
    let beat = |name: &str| json!({"executorName": name, "jobIds": [job["id"].as_i64().unwrap()]});
    assert_eq!(told(as_executor(&harness, HEARTBEAT, &own).json(&beat("exec-1"))).await.0, 403);
    let (status, answer) = told(as_executor(&harness, HEARTBEAT, &own).json(&beat("exec-7"))).await;
    assert!(status == 200 && answer.contains(&format!(r#""knownIds":["{}"]"#, job["id"])), "{answer}");
    let mark = |name: &str| json!({"executorName": name, "jobId": job["id"]});
    let complete = "/.executors/queue/batches/markComplete";
    assert_eq!(told(as_executor(&harness, complete, &own).json(&mark("exec-1"))).await.0, 403);
    let git = "/.executors/git/app/info/refs?service=git-upload-pack";
    let refs = harness.client.get(harness.url(git)).header("Authorization", format!("token-executor {own}"));
    let (status, why) = told(refs).await;
    assert!(status == 403 && why.contains("send the job's token"), "{status} {why}");
    assert_eq!(told(as_executor(&harness, complete, &own).json(&mark("exec-7"))).await.0, 204);
    // Stock executors go on beside it.
    harness.running_job().await;
    let audit = harness.get("/audit?action=executor.register").await.to_string();
    assert!(audit.contains("exec-7") && audit.contains("rack-7") && !audit.contains(&own), "{audit}");
}

#[tokio::test]
async fn what_can_not_be_registered_is_refused_in_words() {
    let harness = Harness::start().await;
    let (_, token) = invite(&harness, 5).await;
    assert_eq!(register(&harness, &token, "exec-7", &identity(1)).await.0, 204);
    let (status, why) = register(&harness, &token, "exec-8", &identity(1)).await;
    assert!(status == 409 && why.contains(r#"the executor "exec-7" already"#), "{status} {why}");
    let (status, why) = register(&harness, &token, "exec-7", &identity(2)).await;
    assert!(status == 409 && why.contains("registered before"), "{status} {why}");
    assert_eq!(told(harness.api(Method::DELETE, "/identities/exec-7")).await.0, 204);
    for n in [1, 2] {
        let (status, why) = register(&harness, &token, "exec-7", &identity(n)).await;
        assert!(
            status == 409 && why.contains(r#""exec-7" belongs to an executor that was revoked"#),
            "{why}"
        );
    }
    for (bad, shown) in
        [("", r#""""#), ("  ", r#""  ""#), ("a\u{7}", r"\u{7}"), ("exec\u{202e}7", r"exec\u{202e}7")]
    {
        let (status, why) = register(&harness, &token, bad, &identity(3)).await;
        assert!(status == 400 && why.contains(shown) && why.contains("visible characters"), "{status} {why}");
        if !bad.is_empty() {
            let (status, why) = dequeue_as(&harness, &harness.shared_secret(), bad).await;
            assert!(status == 400 && why.contains("visible characters"), "{status} {why}");
        }
    }
    assert_eq!(harness.list("/identities").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn who_registers_again_proves_nothing_and_leaves_no_trace() {
    let harness = Harness::start().await;
    let (_, token) = invite(&harness, 1).await;
    let own = identity(1);
    let wrong = format!("executor_reg_{}", "0".repeat(64));
    assert_eq!(register(&harness, &token, "exec-7", &own).await.0, 204);
    for _ in 0..3 {
        assert_eq!(register(&harness, &wrong, "exec-7", &own).await.0, 204);
    }
    let noted = harness.get("/audit?action=executor.register").await;
    assert_eq!(noted["items"].as_array().unwrap().len(), 1, "{noted}");
    let another = format!("executor_reg_{}", "1".repeat(64));
    for _ in 0..30 {
        assert_eq!(register(&harness, &another, "exec-8", &identity(2)).await.0, 401);
    }
    let (status, why) = register(&harness, &wrong, "exec-7", &own).await;
    assert_eq!(status, 429, "a wrong token is not one that was good from there: {why}");
}

#[tokio::test]
async fn a_revoked_executor_is_refused_at_once_and_its_jobs_are_given_away() {
    let harness = Harness::start_with(|config| {
        config.lease.untold = Duration::from_secs(4);
        config.lease.scan_interval = Duration::from_millis(50);
    })
    .await;
    let (_, token) = invite(&harness, 2).await;
    let own = identity(1);
    assert_eq!(register(&harness, &token, EXECUTOR, &own).await.0, 204);
    let id = harness.submit(&job()).await;
    let (status, taken) = dequeue_as(&harness, &own, EXECUTOR).await;
    assert_eq!(status, 200);
    let job: Job = serde_json::from_str(&taken).unwrap();
    // It waits for another one meanwhile.
    let waiting = as_executor(&harness, DEQUEUE, &own)
        .header("Prefer", "wait=60")
        .json(&json!({"executorName": EXECUTOR, "version": "5.2.0"}));
    let waiting = tokio::spawn(told(waiting));
    assert_eq!(told(harness.api(Method::DELETE, &format!("/identities/{EXECUTOR}"))).await.0, 204);
    assert_eq!(told(harness.api(Method::DELETE, &format!("/identities/{EXECUTOR}"))).await.0, 404);

    let beat = json!({"executorName": EXECUTOR, "jobIds": [id]});
    let (status, why) = told(as_executor(&harness, HEARTBEAT, &own).json(&beat)).await;
    assert!(
        status == 401 && why.contains("was revoked at") && why.contains("EXECUTOR_REGISTRATION_TOKEN"),
        "{why}"
    );
    let (status, _) = told(
        harness.about(&job, "batches", "markComplete").json(&json!({"executorName": EXECUTOR, "jobId": id})),
    )
    .await;
    assert_eq!(status, 401, "its job's token is dead with it");
    let (status, _) = register(&harness, &token, EXECUTOR, &own).await;
    assert_eq!(status, 409);
    // The wait hears of a job that it would be given, and is refused instead.
    let other = harness.submit(&crate::harness::job()).await;
    let (status, why) = waiting.await.unwrap();
    assert!(status == 401 && why.contains("revoked"), "{status} {why}");

    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let mut given = Vec::new();
    while given.len() < 2 {
        assert!(tokio::time::Instant::now() < deadline, "{given:?}");
        let (status, taken) = dequeue_as(&harness, &harness.shared_secret(), "exec-2").await;
        if status == 200 {
            given.push(serde_json::from_str::<Value>(&taken).unwrap()["id"].as_i64().unwrap());
        }
    }
    given.sort_unstable();
    assert_eq!(given, [id, other]);
}

/// How a job, or its try, comes to an end.
#[derive(Debug, Clone, Copy)]
enum End {
    Completed,
    Failed,
    Errored,
    Stalled,
}

#[tokio::test]
async fn a_jobs_token_dies_with_its_try() {
    for end in [End::Completed, End::Failed, End::Errored, End::Stalled] {
        let harness = Harness::start_with(|config| {
            if matches!(end, End::Stalled) {
                config.lease.untold = Duration::from_secs(1);
            }
            config.lease.scan_interval = Duration::from_millis(50);
        })
        .await;
        let job = harness.running_job().await;
        let calls = [
            ("addExecutionLogEntry", entry(&job, "setup.x")),
            ("markComplete", json!({"executorName": EXECUTOR, "jobId": job.id})),
        ];
        assert_eq!(told(harness.about(&job, "batches", calls[0].0).json(&calls[0].1)).await.0, 200);
        let ended = match end {
            End::Completed => Some(("markComplete", json!({}))),
            End::Failed => Some(("markFailed", json!({"errorMessage": "x"}))),
            End::Errored => Some(("markErrored", json!({"errorMessage": "x"}))),
            End::Stalled => None,
        };
        if let Some((call, extra)) = ended {
            assert_eq!(harness.mark(&job, call, extra).await.status(), 204);
        } else {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
            while harness.get(&format!("/jobs/{}", job.id)).await["state"] == "processing" {
                assert!(tokio::time::Instant::now() < deadline);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        for (call, body) in &calls {
            let (status, why) = told(harness.about(&job, "batches", call).json(body)).await;
            assert_eq!((status, why.as_str()), (401, "invalid token\n"), "{call} after {end:?}");
        }
        // The next try has a token of its own, and the old one is as dead as before.
        if matches!(end, End::Stalled) {
            let again = harness.dequeue("batches").await.unwrap();
            assert_eq!(again.id, job.id);
            assert_ne!(again.token, job.token);
            assert_eq!(told(harness.about(&job, "batches", calls[0].0).json(&calls[0].1)).await.0, 401);
            assert_eq!(told(harness.about(&again, "batches", calls[0].0).json(&calls[0].1)).await.0, 200);
        }
    }
}
