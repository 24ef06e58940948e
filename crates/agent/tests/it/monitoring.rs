//! What an agent shows of itself: health, metrics, and the metrics that heartbeats carry.

use crate::support::{Act, Harness, LIMIT, Plan, eventually, job, step};
use agent::{Audit, Exporters, Monitor};
use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// An agent that tells its health on a free port.
async fn watched(plan: Plan, steps: Vec<Vec<Act>>) -> (Harness, SocketAddr) {
    let monitor = Monitor::default();
    let kept = monitor.clone();
    let harness = Harness::start_with(plan, steps, |config| {
        config.health = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        // A pause between two heartbeats is no reason not to be ready on a busy machine.
        config.heartbeat_interval = Duration::from_millis(100);
        config.monitor = kept;
    });
    let address = eventually("the address", || monitor.address()).await;
    (harness, address)
}

async fn ask(address: SocketAddr, path: &str) -> (StatusCode, String) {
    let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// Waits until the answer is as `expect` wants it.
async fn answered(address: SocketAddr, path: &str, expect: impl Fn(StatusCode, &str) -> bool) -> String {
    let waiting = async {
        loop {
            let (status, body) = ask(address, path).await;
            if expect(status, &body) {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let Ok(body) = tokio::time::timeout(LIMIT, waiting).await else {
        panic!("{path} was not as expected: {:?}", ask(address, path).await)
    };
    body
}

fn unready(why: &str) -> impl Fn(StatusCode, &str) -> bool {
    move |status, body| status == StatusCode::SERVICE_UNAVAILABLE && body.contains(why)
}

fn is_ok(status: StatusCode, _: &str) -> bool {
    status == StatusCode::OK
}

#[tokio::test]
async fn readiness_follows_the_control_plane_and_life_does_not() {
    let go = CancellationToken::new();
    let plan =
        Plan { before: Some(Box::new(|_| Some(StatusCode::BAD_GATEWAY.into_response()))), ..Plan::default() };
    let (mut harness, address) = watched(plan, vec![vec![Act::Await(go.clone())]]).await;
    answered(address, "/readyz", unready("server: it has not answered yet")).await;
    assert_eq!(ask(address, "/healthz").await, (StatusCode::OK, "ok\n".to_owned()));
    harness.plane.plan().before = None;
    answered(address, "/readyz", is_ok).await;
    assert_eq!(ask(address, "/ready").await.0, StatusCode::OK, "the name in older manifests");

    harness.plane.go_away();
    answered(address, "/readyz", unready("heartbeat: ")).await;
    answered(address, "/readyz", unready("dequeue: ")).await;
    assert_eq!(ask(address, "/healthz").await.0, StatusCode::OK);
    harness.plane.come_back();
    answered(address, "/readyz", is_ok).await;

    harness.plane.plan().jobs.push_back(job(1, &[step("a")]).to_string());
    eventually("the job", || harness.runtime.opened().first().map(drop)).await;
    harness.drain.cancel();
    answered(address, "/readyz", unready("draining: ")).await;
    assert_eq!(ask(address, "/healthz").await.0, StatusCode::OK);
    go.cancel();
    assert_eq!(harness.left().await.completed, 1);
}

#[tokio::test]
async fn a_disk_below_its_floor_is_a_reason_not_to_be_ready() {
    let monitor = Monitor::default();
    let kept = monitor.clone();
    let harness = Harness::start_with(Plan::default(), Vec::new(), |config| {
        config.health = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        config.disk_floor = Some(u64::MAX / 2);
        config.monitor = kept;
    });
    let address = eventually("the address", || monitor.address()).await;
    answered(address, "/readyz", unready("disk: ")).await;
    let floor = format!("executor_disk_floor_bytes {}\n", (u64::MAX / 2) as f64);
    answered(address, "/metrics", |_, body| body.contains(&floor)).await;
    harness.end().await;
}

#[tokio::test]
async fn each_job_is_written_down_when_it_begins_and_when_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.jsonl");
    let mut payload = job(1, &[step("hunter2hunter2"), step("b")]);
    payload["commit"] = json!("job-token-0123");
    let plan = Plan { jobs: [payload.to_string()].into(), ..Plan::default() };
    let harness = Harness::start_with(plan, vec![vec![Act::Exit(0)], vec![Act::Exit(3)]], |config| {
        config.audit = Audit { in_log: false, file: Some(file.clone()) };
    });
    harness.marked().await;
    harness.end().await;
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (lines.len(), &lines[0]["event"], &lines[1]["event"]),
        (2, &json!("begun"), &json!("ended")),
        "{text}"
    );
    assert_eq!((&lines[1]["job"], &lines[1]["executor"]), (&json!(1), &json!("agent-1")), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("job-token"), "{text}");
}

#[tokio::test]
async fn only_get_is_answered_and_only_what_there_is() {
    let (harness, address) = watched(Plan::default(), Vec::new()).await;
    answered(address, "/readyz", is_ok).await;
    let client = reqwest::Client::new();
    for method in ["POST", "PUT", "DELETE", "HEAD", "PATCH"] {
        let method = method.parse().unwrap();
        let refused = client.request(method, format!("http://{address}/healthz")).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()["allow"], "GET");
    }
    assert_eq!(ask(address, "/").await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(address, "/debug/pprof").await.0, StatusCode::NOT_FOUND);
    harness.end().await;
}

#[tokio::test]
async fn those_who_ask_nothing_keep_nobody_out() {
    let (harness, address) = watched(Plan::default(), Vec::new()).await;
    // Thrice as many as there are places. The limits alone would close the last of them after 15 s.
    let mut silent = Vec::new();
    for _ in 0..192 {
        silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    let asked = tokio::time::timeout(Duration::from_secs(10), ask(address, "/healthz")).await;
    assert_eq!(asked.expect("no answer in time").0, StatusCode::OK);
    drop(silent);
    harness.end().await;
}

#[tokio::test]
async fn metrics_tell_of_jobs_calls_and_the_log_and_of_nothing_secret() {
    let plan = Plan { jobs: [job(1, &[step("my-key")]).to_string()].into(), ..Plan::default() };
    let (harness, address) = watched(plan, vec![vec![Act::Out("0123456789\n"), Act::Exit(3)]]).await;
    assert_eq!(harness.marked().await.0, "markErrored");
    let ended = "executor_jobs_ended_total{queue=\"batches\",reason=\"exit_code\"} 1\n";
    let body = answered(address, "/metrics", |_, body| body.contains(ended)).await;
    for line in [
        "executor_jobs_started_total{queue=\"batches\"} 1",
        "executor_jobs_running 0",
        "executor_job_slots 1",
        "executor_dequeues_total{answer=\"job\"} 1",
        "executor_ready 1",
        "executor_log_pending_bytes 0",
        "src_executor_processor_errors_total{queue=\"batches\",op=\"Handle\"} 1",
        "src_apiworker_command_errors_total{op=\"exec\"} 1",
        "src_apiworker_apiclient_queue_total{op=\"MarkErrored\"} 1",
    ] {
        assert!(body.lines().any(|seen| seen == line), "{line} in\n{body}");
    }
    let value = |name: &str| {
        let line = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in\n{body}")).parse::<f64>().unwrap()
    };
    assert!(value("executor_log_delivered_bytes_total") > 10.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    for secret in ["hunter2", "job-token", "my-key", "alpine"] {
        assert!(!body.contains(secret), "{secret} in\n{body}");
    }
    harness.end().await;
}

/// An exporter, or the proxy of several.
async fn exporter() -> String {
    let proxy = |uri: Uri| async move {
        let module = uri.query().unwrap().strip_prefix("module=").unwrap().to_owned();
        format!("# TYPE of_{module} gauge\nof_{module} 1\n# TYPE node_load1 gauge\nnode_load1 7\n")
    };
    let metrics =
        || async { "# TYPE node_load1 gauge\nnode_load1 0.5\n# TYPE go_threads gauge\ngo_threads 9\n" };
    let app = Router::new().route("/metrics", get(metrics)).route("/proxy", get(proxy));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

/// Waits for a heartbeat whose metrics are as `expect` wants them.
async fn carried(harness: &Harness, expect: impl Fn(&str) -> bool) -> String {
    eventually("metrics in a heartbeat", || {
        let beats = harness.plane.plan().named("heartbeat");
        let told = beats.last()?.body["prometheusMetrics"].as_str()?.to_owned();
        expect(&told).then_some(told)
    })
    .await
}

#[tokio::test]
async fn heartbeats_carry_our_metrics_and_those_of_exporters() {
    let url: url::Url = exporter().await.parse().unwrap();
    let harness = Harness::start_with(Plan::default(), Vec::new(), |config| {
        config.exporters = Exporters { node: Some(url.clone()), registry: Some(url) };
    });
    let told = carried(&harness, |told| told.contains("node_load1")).await;
    for line in [
        "node_load1 0.5",
        "node_load1{sg_instance=\"docker-registry\"} 7",
        "of_node{sg_instance=\"docker-registry\"} 1",
        "of_registry{sg_instance=\"docker-registry\"} 1",
        "src_executor_processor_handlers{queue=\"batches\"} 0",
    ] {
        assert!(told.lines().any(|seen| seen == line), "{line} in\n{told}");
    }
    assert_eq!(told.matches("# TYPE node_load1 ").count(), 1, "{told}");
    assert!(!told.contains("go_threads"), "{told}");
    let pings = harness.plane.plan().named("heartbeat");
    assert_eq!(pings[0].body["prometheusMetrics"], "", "a ping carries none");
    harness.end().await;
}

/// Ends a program with the test.
struct Started(std::process::Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Debian's node exporter on a free port, if it is installed.
fn node_exporter() -> Option<(Started, url::Url)> {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = std::process::Command::new("prometheus-node-exporter");
    command.arg(format!("--web.listen-address={free}"));
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let started = Started(command.spawn().ok()?);
    Some((started, format!("http://{free}").parse().unwrap()))
}

#[tokio::test]
async fn a_real_node_exporter_is_carried_whole() {
    let Some((_exporter, url)) = node_exporter() else {
        return testkit::missing_part("a_real_node_exporter_is_carried_whole", "prometheus-node-exporter");
    };
    let harness = Harness::start_with(Plan::default(), Vec::new(), |config| {
        config.exporters = Exporters { node: Some(url.clone()), registry: None };
    });
    let families = |text: &str| -> Vec<String> {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut families: Vec<String> =
            types.filter(|family| family.starts_with("node_")).map(str::to_owned).collect();
        families.sort();
        families
    };
    let began = std::time::Instant::now();
    let told = loop {
        let told = carried(&harness, |told| told.contains("\nnode_memory_MemTotal_bytes ")).await;
        let said = reqwest::get(url.join("metrics").unwrap()).await.unwrap().text().await.unwrap();
        let (expected, carried) = (families(&said), families(&told));
        assert!(expected.len() > 50, "{expected:?}");
        if carried == expected {
            break told;
        }
        // Something on this machine came or went between the two.
        assert!(began.elapsed() < LIMIT, "{carried:?}\n--- and not\n{expected:?}");
    };
    for start in ["go_", "promhttp_"] {
        assert!(!told.lines().any(|line| line.starts_with(start)), "{start} in\n{told}");
    }
    assert_eq!(told.matches("# TYPE process_cpu_seconds_total ").count(), 1, "{told}");
    harness.end().await;
}

#[tokio::test]
async fn an_exporter_that_says_nothing_delays_no_heartbeat() {
    // Connections to it are made, and nobody takes them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
    let harness = Harness::start_with(Plan::default(), Vec::new(), |config| {
        config.exporters = Exporters { node: Some(url), registry: None };
    });
    // Each look at the exporter takes 2 s: if a heartbeat waited for one, so many would take a minute.
    eventually("heartbeats", || (harness.plane.plan().named("heartbeat").len() > 30).then_some(())).await;
    carried(&harness, |told| told.contains("executor_build_info") && !told.contains("node_load1")).await;
    harness.end().await;
}

#[tokio::test]
async fn a_control_plane_that_takes_no_large_heartbeat_gets_small_ones() {
    let go = CancellationToken::new();
    let plan = Plan {
        jobs: [job(1, &[step("a")]).to_string()].into(),
        before: Some(Box::new(|call| {
            let large = call.body["prometheusMetrics"].as_str().is_some_and(|told| !told.is_empty());
            large.then(|| StatusCode::PAYLOAD_TOO_LARGE.into_response())
        })),
        ..Plan::default()
    };
    let harness = Harness::start(plan, vec![vec![Act::Await(go.clone())]]);
    let refused = |told: &serde_json::Value| *told != json!("");
    let beats = eventually("a refusal, and what follows", || {
        let beats = harness.plane.plan().named("heartbeat");
        let told: Vec<_> = beats.iter().map(|beat| beat.body["prometheusMetrics"].clone()).collect();
        let first = told.iter().position(refused)?;
        (told.len() > first + 5).then(|| told[first..].to_vec())
    })
    .await;
    assert!(!beats[1..].iter().any(refused), "{beats:?}");
    go.cancel();
    assert_eq!(harness.end().await.completed, 1);
}
