//! Secrets that are kept: set, handed to jobs, and never shown.

use crate::harness::{EXECUTOR, Harness, job, job_on, problem, told};
use jobs::{JobSpec, StepSpec};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::Told;
use tokio_util::sync::CancellationToken;

fn asking(keys: &[&str]) -> JobSpec {
    JobSpec { stored_secrets: keys.iter().map(ToString::to_string).collect(), ..job() }
}

#[tokio::test]
async fn a_secret_is_set_listed_and_removed_and_its_value_never_shown() {
    let harness = Harness::start().await;
    let send = async |method: Method, path: &str, body: Value| {
        let (status, text) = told(harness.api(method, path).json(&body)).await;
        assert!(!text.contains("hunter2"), "{text}");
        (status, serde_json::from_str::<Value>(&text).unwrap_or_default())
    };
    let body = json!({"key": "KEY", "value": "hunter2-one", "namespace": "user:ann"});
    let (status, made) = send(Method::POST, "/secrets", body.clone()).await;
    assert_eq!(status, 201);
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        (&made["key"], &made["scope"], &made["namespace"], &made["creator"], &made["overwritesGlobal"]),
        (&json!("KEY"), &json!("batches"), &json!("user:ann"), &json!("root"), &json!(false))
    );
    let (status, twice) = send(Method::POST, "/secrets", body.clone()).await;
    assert_eq!((status, &twice["code"]), (409, &json!("secret_exists")));
    let documented = "multiple secrets with the same key in the same namespace not allowed";
    assert!(twice["detail"].as_str().unwrap().starts_with(documented), "{twice}");
    let (status, changed) = send(Method::PUT, "/secrets", body).await;
    assert_eq!((status, &changed["id"]), (200, &made["id"]));
    harness.set_secret("KEY", "hunter2-two").await;
    let (_, shown) = send(Method::GET, &format!("/secrets/{id}"), json!(null)).await;
    assert_eq!(shown["overwritesGlobal"], true);
    let (_, listed) = send(Method::GET, "/secrets?namespace=user:ann&limit=1", json!(null)).await;
    assert_eq!(listed["items"][0]["namespace"], "global");
    let next = format!("/secrets?namespace=user:ann&cursor={}", listed["nextCursor"].as_str().unwrap());
    let (_, listed) = send(Method::GET, &next, json!(null)).await;
    assert_eq!((&listed["items"][0], &listed["nextCursor"]), (&shown, &json!(null)));
    let (_, listed) = send(Method::GET, "/secrets?namespace=user:bob", json!(null)).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "the global one alone");
    assert_eq!(send(Method::DELETE, &format!("/secrets/{id}"), json!(null)).await.0, 204);
    for path in [format!("/secrets/{id}"), format!("/secrets/{id}/access")] {
        let (status, gone) = send(Method::GET, &path, json!(null)).await;
        assert_eq!((status, &gone["code"]), (404, &json!("unknown_secret")));
    }
}

#[tokio::test]
async fn what_can_not_be_kept_is_refused() {
    let harness = Harness::start().await;
    for (body, code, part) in [
        (json!({"key": "key", "value": "v"}), "invalid_secret", "capital letters"),
        (json!({"key": "KEY", "value": ""}), "invalid_secret", "empty"),
        (json!({"key": "KEY"}), "invalid_secret", "missing field `value`"),
        (json!({"key": "KEY", "value": "v", "namespace": "ann"}), "invalid_secret", "user:NAME"),
        (
            json!({"key": "KEY", "value": "v", "namespace": "user:ann", "scope": "codeintel"}),
            "invalid_secret",
            "codeintel are global",
        ),
        (json!({"key": "DOCKER_AUTH_CONFIG", "value": "{}x"}), "invalid_secret", "no Docker configuration"),
    ] {
        let (status, told, detail) = problem(harness.api(Method::PUT, "/secrets").json(&body)).await;
        assert_eq!((status, told.as_str()), (422, code), "{body}");
        assert!(detail.contains(part), "{detail}");
    }
    for query in ["cursor=x", "key=%00"] {
        let (status, code, _) = problem(harness.api(Method::GET, &format!("/secrets?{query}"))).await;
        assert_eq!((status, code.as_str()), (400, "invalid_query"), "{query}");
    }
    let (status, code, _) = problem(harness.api(Method::GET, "/secrets/a%00b")).await;
    assert_eq!((status, code.as_str()), (404, "no_such_path"));
    let list = harness.api(Method::PUT, "/secrets").json(&json!(["batches", "global", "KEY", "value"]));
    let (status, code, detail) = problem(list).await;
    assert_eq!((status, code.as_str()), (422, "invalid_secret"));
    assert!(detail.contains("it is a list"), "{detail}");
    let (status, code, detail) = problem(harness.api(Method::POST, "/jobs").json(&asking(&["NONE"]))).await;
    assert_eq!((status, code.as_str()), (422, "unknown_secret"));
    assert!(detail.starts_with("no secret NONE is kept for batches jobs of global"), "{detail}");
}

#[tokio::test]
async fn each_step_gets_what_it_asks_for_and_the_access_is_noted() {
    let harness = Harness::start().await;
    let one = harness.set_secret("ONE", "value-of-one").await;
    harness.set_secret("TWO", "value-of-two").await;
    harness.set_secret("THREE", "value-of-three").await;
    let step = |keys: &[&str]| {
        let stored_secrets = keys.iter().map(ToString::to_string).collect();
        StepSpec { stored_secrets, ..job().steps.remove(0) }
    };
    let id = harness.submit(&JobSpec { steps: vec![step(&[]), step(&["TWO"])], ..asking(&["ONE"]) }).await;
    let given = harness.dequeue("batches").await.unwrap();
    assert_eq!(given.docker_steps[0].env, ["ONE=value-of-one"]);
    assert_eq!(given.docker_steps[1].env, ["ONE=value-of-one", "TWO=value-of-two"]);
    // One that looks for nothing but what it is told is told how the value looks in other clothes.
    let redacted = &given.redacted_values;
    assert_eq!(redacted["value-of-one"], "${{ secrets.ONE }}");
    assert_eq!(redacted["dmFsdWUtb2YtdHdv"], "${{ secrets.TWO }}");
    assert!(!redacted.contains_key("value-of-three"));
    let accesses = harness.get(&format!("/secrets/{one}/access")).await;
    let noted = &accesses["items"][0];
    assert_eq!(
        (&noted["secret"], &noted["key"], &noted["job"], &noted["attempt"], &noted["executor"]),
        (&json!(one), &json!("ONE"), &json!(id), &json!(1), &json!(EXECUTOR))
    );
    assert_eq!((&noted["owner"], accesses["items"].as_array().unwrap().len()), (&json!("global"), 1));
    // What is known of it outlives the secret.
    assert_eq!(told(harness.api(Method::DELETE, &format!("/secrets/{one}"))).await.0, 204);
    assert_eq!(harness.get(&format!("/secrets/{one}/access")).await, accesses);
}

#[tokio::test]
async fn who_read_which_secret_is_in_the_audit_log_and_pushes_nothing_out() {
    let harness = Harness::start_with(|config| config.limits.audit_rows = 3).await;
    harness.set_secret("ONE", "value-of-one").await;
    for _ in 0..5 {
        harness.submit(&asking(&["ONE"])).await;
        harness.dequeue("batches").await.unwrap();
    }
    harness.set_secret("TWO", "value-of-two").await;
    let actions = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|act| act["action"].as_str().unwrap().to_owned())
            .collect()
    };
    let read = "secret.read";
    let all = harness.get("/audit").await;
    assert_eq!(actions(&all), ["secret.set", read, read, read, read, read, "secret.set"]);
    let act = &all["items"][1];
    assert_eq!(
        (&act["actor"], &act["subject"], &act["namespace"], &act["from"]),
        (&json!(EXECUTOR), &json!("ONE for batches"), &json!("global"), &json!(""))
    );
    assert!(act["detail"].as_str().unwrap().starts_with("for job "), "{act}");
    assert!(!all.to_string().contains("value-of-one"));
    assert_eq!(actions(&harness.get("/audit?reads=false").await), ["secret.set"; 2]);
    assert_eq!(actions(&harness.get("/audit?action=secret.set").await), ["secret.set"; 2]);
    assert_eq!(actions(&harness.get("/audit?action=secret.read").await), [read; 5]);
    for (query, expect) in [("", actions(&all)), ("&action=secret.read", vec![read.to_owned(); 5])] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = harness.get(&format!("/audit?limit=2{query}{cursor}")).await;
            seen.extend(actions(&page));
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, expect);
    }
    assert_eq!(actions(&harness.get("/audit?namespace=org:acme").await), [""; 0]);
}

#[tokio::test]
async fn registry_logins_go_to_every_job_of_their_queue_and_into_no_variable() {
    let harness = Harness::start().await;
    // u:hunter2-hunter2
    let auth = json!({"auths": {"registry.example": {"auth": "dTpodW50ZXIyLWh1bnRlcjI="}}});
    harness.set_secret("DOCKER_AUTH_CONFIG", &auth.to_string()).await;
    harness.submit(&job()).await;
    let given = harness.dequeue("batches").await.unwrap();
    assert_eq!(given.docker_auth_config.auths["registry.example"].decode().unwrap().1, "hunter2-hunter2");
    assert!(given.docker_steps[0].env.is_empty());
    for text in ["hunter2-hunter2", "dTpodW50ZXIyLWh1bnRlcjI="] {
        assert_eq!(given.redacted_values[text], "${{ secrets.DOCKER_AUTH_CONFIG }}");
    }
    harness.submit(&job_on("codeintel")).await;
    assert!(harness.dequeue("codeintel").await.unwrap().docker_auth_config.auths.is_empty());
    let asks = asking(&["DOCKER_AUTH_CONFIG"]);
    let (status, _, detail) = problem(harness.api(Method::POST, "/jobs").json(&asks)).await;
    assert!(status == 422 && detail.contains("is no variable"), "{detail}");
}

#[tokio::test]
async fn a_job_whose_secret_is_gone_has_failed_with_one_reason() {
    let harness = Harness::start().await;
    let gone = harness.set_secret("GONE", "value").await;
    let job = harness.submit(&asking(&["GONE"])).await;
    assert_eq!(told(harness.api(Method::DELETE, &format!("/secrets/{gone}"))).await.0, 204);
    let (status, text) = told(harness.dequeue_request("batches")).await;
    assert!(status == 500 && text.contains("RecordTransformer: no secret GONE is kept"), "{text}");
    let shown = harness.get(&format!("/jobs/{job}")).await;
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("failed"), &json!("bad_job")));
    assert_eq!(
        shown["message"],
        "failed to transform record: no secret GONE is kept for the job any more: set it with `executor secret set`, and \
         submit the job again"
    );
}

#[tokio::test]
async fn a_new_key_is_taken_up_while_the_server_runs() {
    let log = Told::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    // The test's runtime has one thread, so this hears the server as well.
    let _listening = tracing::subscriber::set_default(subscriber);
    let heard = async |part: &str| {
        let begun = Instant::now();
        while !log.text().contains(part) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{part} is not in {}", log.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let harness = Harness::start().await;
    harness.set_secret("KEY", "value-of-key").await;
    let file = harness.data().join(server::SECRET_KEYS_FILE);
    let new = server::rotate_secret_key(&file, false).unwrap().id;
    heard("all secrets are sealed with this key now").await;
    heard("nothing is sealed with this key any more: it may be removed").await;
    let both = std::fs::read_to_string(&file).unwrap();
    let only_new = both.lines().next().unwrap();
    assert!(only_new.starts_with(&new));
    let acts = harness.get("/audit?action=secret.rotate").await;
    assert_eq!((&acts["items"][0]["actor"], &acts["items"][0]["subject"]), (&json!("root"), &json!(new)));
    // A list that lacks a key is not taken up, at a start neither.
    let other = format!("other:{}\n", "11".repeat(32));
    std::fs::write(&file, &other).unwrap();
    heard("the keys that were last good stay in force").await;
    harness.submit(&asking(&["KEY"])).await;
    assert_eq!(harness.dequeue("batches").await.unwrap().docker_steps[0].env, ["KEY=value-of-key"]);
    let dir = harness.stop().await;
    let config = server::ServerConfig::new("127.0.0.1:0".parse().unwrap(), dir.path().join("data"));
    let refused = server::start(config, CancellationToken::new()).await.err().unwrap().to_string();
    let told =
        format!("secret-keys: secrets are sealed with the key {new:?}, which this server was not given");
    assert!(refused.contains(&told) && !refused.contains('\n'), "{refused}");
    std::fs::write(&file, only_new).unwrap();
    let harness = Harness::start_in(dir, |_| {}).await;
    harness.submit(&asking(&["KEY"])).await;
    assert_eq!(harness.dequeue("batches").await.unwrap().docker_steps[0].env, ["KEY=value-of-key"]);
}
