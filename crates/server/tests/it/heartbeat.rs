//! Heartbeats of one queue and of several.

use crate::harness::{EXECUTOR, Harness, problem, told};
use jiff::SignedDuration;
use jobs::LeasePolicy;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use testkit::MockClock;

const SINGLE: &str = "/.executors/queue/batches/heartbeat";
const MULTI: &str = "/.executors/queue/heartbeat";

async fn beat(harness: &Harness, path: &str, body: Value) -> Value {
    let response = harness.executor(path).json(&body).send().await.unwrap();
    assert_eq!(response.status(), 200, "{body}");
    assert_eq!(response.headers()["executors-capabilities"], "log-append");
    assert_eq!(response.headers()["executors-lease-term"], "25000");
    response.json().await.unwrap()
}

#[tokio::test]
async fn known_jobs_come_back_and_cancelled_ones_in_both_lists() {
    let harness = Harness::start().await;
    let (first, second) = (harness.running_job().await.id.0, harness.running_job().await.id.0);
    harness.cancel(second).await;
    let (a, b) = (first.to_string(), second.to_string());
    let body = json!({"version": "V2", "executorName": EXECUTOR, "jobIds": [first, b, 999]});
    assert_eq!(beat(&harness, SINGLE, body).await, json!({"knownIds": [a, b], "cancelIds": [b]}));
    let body = json!({"executorName": EXECUTOR, "queueNames": ["codeintel", "batches"],
                      "jobIdsByQueue": [{"queueName": "batches", "jobIds": [a, b]}]});
    let (a, b) = (format!("{a}-batches"), format!("{b}-batches"));
    assert_eq!(beat(&harness, MULTI, body).await, json!({"knownIds": [a, b], "cancelIds": [b]}));
}

/// Each is told the lease that its jobs have.
#[tokio::test]
async fn only_who_keeps_to_a_lease_has_a_long_one() {
    let harness = Harness::start().await;
    let id = harness.running_job().await.id;
    let body = json!({"version": "V2", "executorName": EXECUTOR, "jobIds": [id]});
    for (preference, term) in
        [("wait=0, lease-term", "90000"), ("lease-term", "90000"), ("wait=0", "25000"), ("", "25000")]
    {
        for request in [harness.executor(SINGLE).json(&body), harness.dequeue_request("batches")] {
            let answer = request.header("Prefer", preference).send().await.unwrap();
            assert!(answer.status().is_success(), "{preference:?}");
            assert_eq!(answer.headers()["executors-lease-term"], term, "{preference:?}");
        }
    }
}

#[tokio::test]
async fn another_executors_jobs_are_unknown() {
    let harness = Harness::start().await;
    let id = harness.running_job().await.id;
    let body = json!({"version": "V2", "executorName": "exec-2", "jobIds": [id]});
    assert_eq!(beat(&harness, SINGLE, body).await, json!({"knownIds": [], "cancelIds": []}));
}

#[tokio::test]
async fn a_ping_registers_the_executor() {
    let harness = Harness::start().await;
    let none = json!({"knownIds": [], "cancelIds": []});
    let single = json!({"version": "V2", "executorName": "single", "jobIds": null, "executorVersion": "5.2.0",
                        "os": "linux", "architecture": "amd64"});
    assert_eq!(beat(&harness, SINGLE, single).await, none);
    let multi = json!({"executorName": "multi", "queueNames": ["codeintel", "batches"]});
    assert_eq!(beat(&harness, MULTI, multi).await, none);
    let executors = harness.list("/executors").await;
    let executor = |name: &str| {
        let items = executors.as_array().unwrap();
        items.iter().find(|item| item["name"] == name).unwrap().clone()
    };
    assert_eq!(executor("single")["platform"], "linux/amd64");
    assert_eq!(executor("single")["version"], "5.2.0");
    assert_eq!(executor("single")["active"], true);
    assert_eq!(executor("multi")["queues"], json!(["batches", "codeintel"]));
}

#[tokio::test]
async fn executors_are_found_by_whether_they_are_active_and_by_a_text() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let harness = Harness::start_with(|config| config.clock = clock.clone()).await;
    let ping = async |name: &str, queues: serde_json::Value| {
        let body = json!({"executorName": name, "queueNames": queues, "executorVersion": "5.2.0"});
        beat(&harness, MULTI, body).await;
    };
    ping("gone", json!(["batches", "codeintel"])).await;
    clock.advance(SignedDuration::from_mins(20));
    ping("here", json!(["batches"])).await;
    ping("Here-too", json!(["codeintel", "batches"])).await;
    for (query, names) in [
        ("", &["Here-too", "gone", "here"][..]),
        ("?active=true", &["Here-too", "here"]),
        ("?active=false", &["gone"]),
        ("?text=here", &["Here-too", "here"]),
        ("?text=CODEINTEL", &["Here-too", "gone"]),
        ("?text=codeintel&active=true", &["Here-too"]),
        ("?text=5.2&active=true&limit=1", &["Here-too"]),
        ("?text=5.2&active=true&limit=1&cursor=Here-too", &["here"]),
        ("?text=nobody", &[]),
    ] {
        let found = harness.list(&format!("/executors{query}")).await;
        let found: Vec<_> = found.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{query}");
    }
    for bad in ["?active=yes".to_owned(), format!("?text={}", "x".repeat(201)), "?state=active".to_owned()] {
        let refused = harness.api(Method::GET, &format!("/executors{bad}"));
        assert_eq!(problem(refused).await.1, "invalid_query", "{bad}");
    }
}

#[tokio::test]
async fn bad_heartbeats_are_told_in_the_protocols_words() {
    let harness = Harness::start().await;
    for (path, body, error) in [
        (MULTI, json!({"executorName": EXECUTOR}), "queueNames must be set for multi-queue heartbeats"),
        (
            MULTI,
            json!({"executorName": EXECUTOR, "queueNames": ["batches"],
                   "jobIdsByQueue": [{"queueName": "codeintel", "jobIds": []}]}),
            "unsupported queue name(s) 'codeintel' submitted in queueJobIds, executor is configured for queues \
             'batches'",
        ),
        (SINGLE, json!({}), "worker hostname cannot be empty"),
    ] {
        let expected = json!({"error": error}).to_string();
        assert_eq!(told(harness.executor(path).json(&body)).await, (500, expected));
    }
}

/// One of ours with a lease of 3 s sends its heartbeats so often; a stock one knows of no lease, and sends them as ever.
#[tokio::test]
async fn an_executor_is_told_to_be_silent_when_its_lease_is_over() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let harness = Harness::start_with(|config| {
        config.clock = clock.clone();
        config.lease = LeasePolicy::of(Duration::from_secs(3));
    })
    .await;
    for name in ["ours", "stock"] {
        let beat = json!({"executorName": name, "jobIds": []});
        assert_eq!(told(harness.executor("/.executors/queue/batches/heartbeat").json(&beat)).await.0, 200);
        let ask = json!({"executorName": name, "version": "dev"});
        let ask = harness.executor("/.executors/queue/batches/dequeue").json(&ask);
        let ask = if name == "ours" { ask.header("Executors-Isolation", "container") } else { ask };
        assert_eq!(told(ask).await.0, 204);
    }
    let active = async || {
        let all = harness.list("/executors").await;
        ["ours", "stock"].map(|name| {
            let of = all.as_array().unwrap().iter().find(|executor| executor["name"] == name);
            of.unwrap()["active"].as_bool().unwrap()
        })
    };
    for (seconds, expected) in
        [(3, [true, true]), (1, [false, true]), (6, [false, true]), (1, [false, false])]
    {
        clock.advance(SignedDuration::from_secs(seconds));
        assert_eq!(active().await, expected, "after {seconds} s more");
    }
}
