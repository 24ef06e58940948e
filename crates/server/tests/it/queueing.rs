//! When and where jobs run: what is said with them, of queues and of executors, and why they wait.

use crate::access::Holder;
use crate::harness::{EXECUTOR, Harness, job, job_in, job_on, problem, told};
use crate::source::SourceRepo;
use jobs::{Concurrency, JobSpec, Needs, Role};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use std::collections::BTreeSet;
use std::time::Duration;

/// What a job waits for, by name.
async fn obstacles(harness: &Harness, id: i64) -> Vec<String> {
    let explained = harness.get(&format!("/jobs/{id}/explain")).await;
    assert_eq!(explained["job"]["id"], id);
    let all = explained["obstacles"].as_array().unwrap().iter();
    all.map(|obstacle| obstacle["code"].as_str().unwrap().to_owned()).collect()
}

async fn patch(harness: &Harness, path: &str, body: Value) -> Value {
    let response = harness.api(Method::PATCH, path).json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.json().await.unwrap()
}

/// Says hello for the executor, as its first heartbeat does.
async fn heartbeat(harness: &Harness) {
    let body = json!({"executorName": EXECUTOR, "version": "V2", "jobIds": []});
    let beat = harness.executor("/.executors/queue/batches/heartbeat").json(&body).send().await.unwrap();
    assert_eq!(beat.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_paused_queue_gives_nothing_until_it_is_resumed() {
    let harness = Harness::start().await;
    heartbeat(&harness).await;
    let paused = patch(&harness, "/queues/batches", json!({"paused": true})).await;
    assert_eq!(paused["maxRunning"], Value::Null);
    let id = harness.submit(&job()).await;
    assert!(harness.dequeue("batches").await.is_none());
    assert_eq!(obstacles(&harness, id).await, ["queue_paused"]);
    let again = patch(&harness, "/queues/batches", json!({"paused": true, "maxRunning": 1})).await;
    assert_eq!(again["pausedAt"], paused["pausedAt"], "since when it was");
    assert_eq!((&again["queued"], &again["maxRunning"]), (&json!(1), &json!(1)));

    // Whoever waits for a job hears of it.
    let waiting = harness.dequeue_request("batches").header("Prefer", "wait=20");
    let waiting = tokio::spawn(async move { job_in(waiting.send().await.unwrap()).await });
    let resumed = patch(&harness, "/queues/batches", json!({"paused": false})).await;
    assert_eq!((&resumed["pausedAt"], &resumed["maxRunning"]), (&Value::Null, &json!(1)));
    let given = tokio::time::timeout(Duration::from_secs(15), waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(given.id.0, id);

    let second = harness.submit(&job()).await;
    assert!(harness.dequeue("batches").await.is_none());
    assert_eq!(obstacles(&harness, second).await, ["queue_limit"]);
    let queues = harness.get("/queues").await;
    assert_eq!((&queues[0]["name"], &queues[0]["running"]), (&json!("batches"), &json!(1)));
    assert_eq!(queues[1]["name"], "codeintel");
    patch(&harness, "/queues/batches", json!({"maxRunning": 0})).await;
    assert!(harness.dequeue("batches").await.is_some());
}

#[tokio::test]
async fn who_may_not_list_executors_is_told_how_many_there_are() {
    let harness = Harness::start().await;
    heartbeat(&harness).await;
    let tenant = Holder::new(&harness, Role::Submitter, "org:acme").await;
    let needs = Needs { labels: BTreeSet::from(["gpu".to_owned()]), ..Needs::default() };
    let submitted = tenant.call(&harness, Method::POST, "/jobs").json(&JobSpec { needs, ..job() });
    let submitted: Value = submitted.send().await.unwrap().json().await.unwrap();
    let path = format!("/jobs/{}/explain", submitted["id"]);
    let text = async |holder: &Holder| {
        let explained = holder.call(&harness, Method::GET, &path).send().await.unwrap();
        let explained: Value = explained.json().await.unwrap();
        explained["obstacles"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(text(&tenant).await, "no executor has what it needs, of 1 that serve its queue");
    let operator = Holder::new(&harness, Role::Operator, "global").await;
    assert!(text(&operator).await.contains(EXECUTOR));
}

/// One server after the other is replaced, and this is not the first.
#[tokio::test]
async fn a_job_that_asks_for_what_is_not_known_here_waits_for_a_newer_server() {
    let harness = Harness::start().await;
    heartbeat(&harness).await;
    let id = harness.submit(&job()).await;
    let database = SqliteConnectOptions::new().filename(harness.data().join("executor.db"));
    let mut newer = database.connect().await.unwrap();
    for table in ["lanes SET needs = json_patch(needs", "job_specs SET spec = json_patch(spec"] {
        let write = format!(r#"UPDATE {table}, '{{"specVersion": 9, "sandbox": "moon"}}')"#);
        sqlx::query(AssertSqlSafe(write)).execute(&mut newer).await.unwrap();
    }
    let dequeue = json!({"executorName": EXECUTOR, "version": "dev"});
    let dequeue = harness.executor("/.executors/queue/batches/dequeue").json(&dequeue);
    assert!(job_in(dequeue.send().await.unwrap()).await.is_none());
    assert_eq!(obstacles(&harness, id).await, ["newer_server"]);
    let shown = harness.get(&format!("/jobs/{id}")).await;
    assert_eq!((&shown["state"], &shown["steps"][0]["key"]), (&json!("queued"), &json!("0")));
    // What it came to can't be told by whoever does not know what was asked for. That is no load.
    let results = harness.api(Method::GET, &format!("/jobs/{id}/results")).send().await.unwrap();
    assert_eq!((results.status().as_u16(), results.headers().contains_key("retry-after")), (503, true));
    assert_eq!(results.json::<serde_json::Value>().await.unwrap()["code"], "newer_server");
    let canceled = harness.api(Method::POST, &format!("/jobs/{id}/cancel")).send().await.unwrap();
    assert_eq!(canceled.status(), 200, "whoever sees it may stop it");
}

#[tokio::test]
async fn a_job_waits_for_an_executor_that_has_what_it_needs() {
    let harness = Harness::start().await;
    let needs = Needs { labels: BTreeSet::from(["gpu".to_owned()]), cpus: Some(4), ..Needs::default() };
    let id = harness.submit(&JobSpec { needs, ..job() }).await;
    assert_eq!(obstacles(&harness, id).await, ["no_executor"]);
    heartbeat(&harness).await;
    let dequeue = |cpus: u32, labels: Option<&'static str>| {
        let body = json!({"executorName": EXECUTOR, "version": "dev", "numCPUs": cpus});
        let request = harness.executor("/.executors/queue/batches/dequeue").json(&body);
        labels.into_iter().fold(request, |request, labels| request.header("Executors-Labels", labels))
    };
    assert!(job_in(dequeue(8, None).send().await.unwrap()).await.is_none());
    let explained = harness.get(&format!("/jobs/{id}/explain")).await;
    let told = format!("no executor has what it needs: {EXECUTOR}: it needs the label gpu");
    assert_eq!(explained["obstacles"][0]["text"], told);
    assert!(job_in(dequeue(2, Some("gpu, fast")).send().await.unwrap()).await.is_none());
    assert_eq!(obstacles(&harness, id).await, ["needs_unmet"]);
    let shown = &harness.list("/executors").await[0];
    assert_eq!(
        (&shown["capacity"]["cpus"], &shown["capacity"]["labels"]),
        (&json!(2), &json!(["fast", "gpu"]))
    );
    assert!(job_in(dequeue(4, Some("gpu")).send().await.unwrap()).await.is_some());
    assert_eq!(obstacles(&harness, id).await, [""; 0], "it runs");
}

#[tokio::test]
async fn an_executor_that_is_drained_is_given_nothing() {
    let harness = Harness::start().await;
    let path = format!("/executors/{EXECUTOR}");
    let unknown = harness.api(Method::PATCH, &path).json(&json!({"maintenance": true}));
    assert_eq!(problem(unknown).await.1, "unknown_executor");
    heartbeat(&harness).await;
    let id = harness.submit(&job()).await;
    let drained = patch(&harness, &path, json!({"maintenance": true})).await;
    assert!(drained["maintenanceAt"].is_string());
    assert!(harness.dequeue("batches").await.is_none());
    assert_eq!(obstacles(&harness, id).await, ["executors_in_maintenance"]);
    patch(&harness, &path, json!({"maintenance": false})).await;
    assert!(harness.dequeue("batches").await.is_some());
}

/// It goes on with its heartbeats and makes no dequeues: without a word it would seem to have no room.
#[tokio::test]
async fn an_executor_that_asks_for_no_jobs_is_told_with_its_reason() {
    let harness = Harness::start_with(|config| config.limits.depths_kept = Duration::ZERO).await;
    let id = harness.submit(&job()).await;
    let say = async |why: Option<&'static str>| {
        for path in ["/.executors/queue/batches/heartbeat", "/.executors/queue/heartbeat"] {
            let body = json!({"executorName": EXECUTOR, "jobIds": [], "queueNames": ["batches"]});
            let beat = harness.executor(path).json(&body);
            let beat = why.into_iter().fold(beat, |beat, why| beat.header("Executors-Takes-None", why));
            assert_eq!(beat.send().await.unwrap().status(), StatusCode::OK);
        }
        let shown = harness.list("/executors").await[0]["takesNone"].take();
        let why = harness.get(&format!("/jobs/{id}/explain")).await["obstacles"][0].take();
        (shown, why["code"].as_str().unwrap().to_owned(), why["text"].as_str().unwrap().to_owned())
    };
    let serving = async || {
        let metrics = told(harness.api(Method::GET, "/metrics")).await.1;
        metrics.contains("executor_server_queue_executors{queue=\"batches\"} 1\n")
    };
    for (word, in_words) in
        [("draining", "is draining"), ("disk-floor", "has less room on its disk than its floor")]
    {
        let (shown, code, text) = say(Some(word)).await;
        assert_eq!((shown, code.as_str()), (json!(word), "executors_take_none"));
        assert_eq!(text, format!("whoever has what it needs takes no jobs for now: {EXECUTOR} {in_words}"));
        assert!(!serving().await, "{word}");
    }
    for word in [Some("asleep"), None] {
        let (shown, code, _) = say(word).await;
        assert_eq!((shown, code.as_str()), (Value::Null, "executors_busy"), "{word:?}");
        assert!(serving().await, "{word:?}");
    }
}

#[tokio::test]
async fn an_executor_of_no_version_is_given_nothing_and_that_is_told() {
    let harness = Harness::start().await;
    let body = json!({"executorName": EXECUTOR, "jobIds": [], "os": "linux", "executorVersion": "by hand"});
    let beat = harness.executor("/.executors/queue/batches/heartbeat").json(&body);
    assert_eq!(beat.send().await.unwrap().status(), 200);
    let id = harness.submit(&job()).await;
    assert_eq!(obstacles(&harness, id).await, ["executor_versions"]);
    heartbeat(&harness).await;
    assert_eq!(obstacles(&harness, id).await, ["executors_busy"], "it says another one now");
}

#[tokio::test]
async fn jobs_wait_for_their_time_and_for_others_of_their_key() {
    let harness = Harness::start().await;
    heartbeat(&harness).await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1_500);
    let delayed = harness.submit(&JobSpec { not_before: Some(soon), ..job() }).await;
    assert_eq!(obstacles(&harness, delayed).await, ["not_before"]);
    assert!(harness.get(&format!("/jobs/{delayed}")).await["notBefore"].is_string());
    assert!(harness.dequeue("batches").await.is_none());
    let given = harness.dequeue_request("batches").header("Prefer", "wait=20").send().await.unwrap();
    assert_eq!(job_in(given).await.unwrap().id.0, delayed);
    assert!(jiff::Timestamp::now() >= soon);

    let keyed = || JobSpec { concurrency: Some(Concurrency { key: "deploy".to_owned(), limit: 1 }), ..job() };
    let (first, second) = (harness.submit(&keyed()).await, harness.submit(&keyed()).await);
    assert_eq!(harness.get(&format!("/jobs/{second}")).await["waitsForKey"], true);
    assert_eq!(obstacles(&harness, second).await, ["concurrency_limit"]);
    let running = harness.dequeue("batches").await.unwrap();
    assert_eq!(running.id.0, first);
    assert!(harness.dequeue("batches").await.is_none());
    assert_eq!(harness.mark(&running, "markComplete", json!({})).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(harness.dequeue("batches").await.unwrap().id.0, second);
}

#[tokio::test]
async fn a_submission_that_is_made_again_gives_the_same_job() {
    let harness = Harness::start().await;
    let submit = |spec: JobSpec, key: &'static str| {
        harness.api(Method::POST, "/jobs").header("Idempotency-Key", key).json(&spec)
    };
    let first: Value = submit(job(), "k1").send().await.unwrap().json().await.unwrap();
    let second: Value = submit(job(), "k1").send().await.unwrap().json().await.unwrap();
    assert_eq!(first["id"], second["id"]);
    let (status, code, detail) = problem(submit(job_on("codeintel"), "k1")).await;
    assert_eq!((status, code.as_str()), (409, "idempotency_key_reused"));
    assert!(detail.contains(&format!("job {}", first["id"])), "{detail}");
    assert_eq!(problem(submit(job(), "")).await.1, "invalid_idempotency_key");
    assert_eq!(harness.get("/jobs").await["items"].as_array().unwrap().len(), 1);
    // Also when what it names is gone.
    let source = SourceRepo::new();
    harness.add_repository("demo", &source.path()).await;
    let of_demo = || JobSpec { repo: Some("demo".to_owned()), ..job() };
    let first: Value = submit(of_demo(), "k2").send().await.unwrap().json().await.unwrap();
    let removed = harness.api(Method::DELETE, "/repositories/demo").send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(submit(of_demo(), "k3")).await.1, "unknown_repository");
    let second: Value = submit(of_demo(), "k2").send().await.unwrap().json().await.unwrap();
    assert_eq!(first["id"], second["id"]);
}

#[tokio::test]
async fn what_can_not_be_is_refused() {
    let harness = Harness::start().await;
    let queue = |name: &str, body: Value| harness.api(Method::PATCH, &format!("/queues/{name}")).json(&body);
    assert_eq!(problem(queue("bulk", json!({"paused": true}))).await.1, "unknown_queue");
    assert_eq!(problem(queue("batches", json!({"pause": true}))).await.1, "invalid_queue_change");
    assert_eq!(problem(queue("%FF", json!({"paused": true}))).await.1, "no_such_path");
    let executor = harness.api(Method::PATCH, "/executors/%FF").json(&json!({"maintenance": true}));
    assert_eq!(problem(executor).await.1, "no_such_path");
    for (method, path) in [
        (Method::DELETE, "/identities/%FF"),
        (Method::DELETE, "/repositories/%FF"),
        (Method::GET, "/secrets/%FF"),
        (Method::DELETE, "/secrets/%FF"),
        (Method::GET, "/secrets/%FF/access"),
    ] {
        let (status, code, _) = problem(harness.api(method, path)).await;
        assert_eq!((status, code.as_str()), (404, "no_such_path"), "{path}");
    }
    for (spec, told) in [
        (JobSpec { priority: 11, ..job() }, "priority 11 is out of range: use -10 to 10"),
        (
            JobSpec { concurrency: Some(Concurrency { key: "a".to_owned(), limit: 0 }), ..job() },
            "the concurrency limit of \"a\" is 0, so no such job could ever run: use 1 or more",
        ),
        (
            JobSpec { concurrency: Some(Concurrency { key: "a".to_owned(), limit: 1_001 }), ..job() },
            "the concurrency limit of \"a\" is 1001: use 1000 or less, or no key",
        ),
        (
            JobSpec {
                needs: Needs { labels: BTreeSet::from(["a b".to_owned()]), ..Needs::default() },
                ..job()
            },
            "invalid label \"a b\"",
        ),
    ] {
        let (status, code, detail) = problem(harness.api(Method::POST, "/jobs").json(&spec)).await;
        assert_eq!((status, code.as_str()), (422, "invalid_job"));
        assert!(detail.contains(told), "{detail}");
    }
}

#[tokio::test]
async fn whoever_waits_for_a_full_queue_hears_of_room_at_once() {
    let harness = Harness::start().await;
    patch(&harness, "/queues/batches", json!({"maxRunning": 1})).await;
    let (_, second) = (harness.submit(&job()).await, harness.submit(&job()).await);
    let running = harness.dequeue("batches").await.unwrap();
    let waiting = harness.dequeue_request("batches").header("Prefer", "wait=20");
    let waiting = tokio::spawn(async move { job_in(waiting.send().await.unwrap()).await });
    assert_eq!(harness.mark(&running, "markComplete", json!({})).await.status(), StatusCode::NO_CONTENT);
    // Who is not told looks again after five seconds.
    let given = tokio::time::timeout(Duration::from_secs(3), waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(given.id.0, second);
}
