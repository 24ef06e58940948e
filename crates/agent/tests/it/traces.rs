//! Traces of jobs, as a collector gets them.

use crate::support::{Act, Harness, LIMIT, Plan, eventually, job, step};
use agent::Tracing;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What came in: a header, and the body.
type Requests = Arc<Mutex<Vec<(Option<String>, Value)>>>;

/// A collector that refuses the first requests.
async fn collector(refusals: usize) -> (String, Requests) {
    let requests = Requests::default();
    let take = move |State(requests): State<Requests>, headers: HeaderMap, body: String| async move {
        let mut requests = requests.lock().unwrap();
        let key = headers.get("x-key").map(|value| value.to_str().unwrap().to_owned());
        requests.push((key, serde_json::from_str(&body).unwrap()));
        if requests.len() > refusals { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    };
    let app = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&requests));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, requests)
}

fn tracing(url: &str) -> Tracing {
    Tracing {
        endpoint: url.parse().unwrap(),
        headers: vec![("x-key".to_owned(), SecretString::from("collectors-key"))],
        timeout: Duration::from_secs(10),
        service: "executor".to_owned(),
        attributes: Vec::new(),
    }
}

fn one_job() -> Plan {
    let mut payload = job(7, &[step("hunter2hunter2"), step("b")]);
    payload["commit"] = json!("job-token-0123");
    Plan { jobs: [payload.to_string()].into(), ..Plan::default() }
}

fn value<'a>(span: &'a Value, key: &str) -> &'a Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    let value = &found.unwrap_or_else(|| panic!("{key} in {span}"))["value"];
    value.as_object().unwrap().values().next().unwrap()
}

#[tokio::test]
async fn a_job_is_a_trace_without_secrets() {
    let (url, requests) = collector(1).await;
    let harness = Harness::start_with(one_job(), vec![vec![Act::Exit(0)], vec![Act::Exit(3)]], |config| {
        config.tracing = Some(tracing(&url));
    });
    harness.marked().await;
    let (key, body) =
        eventually("a request that is made again", || requests.lock().unwrap().get(1).cloned()).await;
    assert_eq!(key.as_deref(), Some("collectors-key"));
    assert!(!body.to_string().contains("hunter2") && !body.to_string().contains("job-token"), "{body}");
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let named = |name: &str| -> Vec<&Value> { spans.iter().filter(|span| span["name"] == name).collect() };
    let [job] = named("job")[..] else { panic!("{body}") };
    assert_eq!(value(job, "executor.end.reason"), "exit_code");
    assert_eq!((&job["status"]["code"], value(job, "executor.job.id")), (&json!(2), &json!("7")));
    let [first, second] = named("step")[..] else { panic!("{body}") };
    assert_eq!(
        (value(first, "executor.step.exit_code"), value(second, "executor.step.key")),
        (&json!("0"), &json!("b"))
    );
    for name in ["open sandbox", "prepare workspace", "step", "close sandbox", "deliver log", "tell end"] {
        let found = named(name);
        assert!(!found.is_empty(), "{name} in {body}");
        for span in found {
            assert_eq!(
                (&span["parentSpanId"], &span["traceId"]),
                (&job["spanId"], &job["traceId"]),
                "{span}"
            );
        }
    }
    assert!(named("image").iter().all(|image| image["parentSpanId"] != job["spanId"]), "{body}");
    harness.end().await;
}

#[tokio::test]
async fn calls_about_a_job_tell_a_control_plane_of_ours_which_trace_they_belong_to() {
    for ours in [true, false] {
        let (url, requests) = collector(0).await;
        let harness =
            Harness::start_with(Plan { ours, ..one_job() }, vec![vec![Act::Exit(0)]; 2], |config| {
                config.tracing = Some(tracing(&url));
            });
        harness.marked().await;
        let (_, body) = eventually("the trace", || requests.lock().unwrap().first().cloned()).await;
        let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
        let job = spans.iter().find(|span| span["name"] == "job").unwrap();
        let expect =
            format!("00-{}-{}-01", job["traceId"].as_str().unwrap(), job["spanId"].as_str().unwrap());
        let calls = harness.plane.plan().calls.clone();
        for call in calls {
            let about_a_job = ours && call.header("X-Sourcegraph-Job-ID").is_some();
            assert_eq!(call.header("traceparent"), about_a_job.then_some(expect.as_str()), "{call:?}");
        }
        harness.end().await;
    }
}

#[tokio::test]
async fn a_collector_that_is_down_or_silent_costs_no_job_anything() {
    // Connections to it are made, and nobody takes them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), gone] {
        let jobs = (1..=20).map(|id| job(id, &[step("a")]).to_string()).collect();
        let plan = Plan { jobs, ..Plan::default() };
        let began = Instant::now();
        let harness = Harness::start_with(plan, vec![vec![Act::Exit(0)]; 20], |config| {
            config.tracing = Some(tracing(&format!("http://{address}/v1/traces")));
            config.num_total_jobs = Some(20);
        });
        let summary = harness.left().await;
        assert_eq!((summary.taken, summary.completed), (20, 20));
        // One after the other they would have waited 10 s each.
        assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    }
}
