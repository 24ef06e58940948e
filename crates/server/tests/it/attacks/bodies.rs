//! Bodies that are more than they seem.

use super::{is_well, peak_memory};
use crate::access::Holder;
use crate::harness::{EXECUTOR, Harness, job, told};
use crate::pages::Visitor;
use crate::source::SourceRepo;
use flate2::Compression;
use flate2::write::GzEncoder;
use jobs::{JobSpec, Role};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::Job;

const MIB: usize = 1 << 20;
const HEARTBEAT: &str = "/.executors/queue/batches/heartbeat";

fn post(harness: &Harness, body: impl Into<reqwest::Body>) -> RequestBuilder {
    harness.api(Method::POST, "/jobs").body(body)
}

#[tokio::test]
async fn deep_and_odd_json_is_refused_and_costs_no_stack() {
    let harness = Harness::start().await;
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(200_000), close.repeat(200_000));
    let step = r#"{"image":"a","run":"b"}"#;
    for body in [
        deep("[", "]"),
        deep(r#"{"a":"#, "}"),
        format!(r#"{{"steps":{}}}"#, deep("[", "]")),
        format!(r#"{{"steps":[{step}],"env":{}}}"#, deep(r#"{"a":"#, "}")),
        "[".repeat(MIB),
        "9".repeat(MIB),
        "-".repeat(MIB),
        "\"".to_owned() + &"\\u0000".repeat(100_000),
        format!(r#"{{"steps":[{step}],"queue":1e999}}"#),
        format!(r#"{{"steps":[{step}]}}{{"steps":[{step}]}}"#),
        format!(r#"{{"steps":[{step}],}}"#),
        format!(r#"{{"steps":[{step}],"env":{{"A":"\ud800"}}}}"#),
        "null".to_owned(),
        String::new(),
    ] {
        let cut: String = body.chars().take(60).collect();
        let (status, text) = told(post(&harness, body)).await;
        assert!([400, 422].contains(&status), "{cut}: {status}");
        assert!(text.len() < 2_000, "{cut}: the answer repeats what was sent");
    }
    let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [utf16, b"{\"steps\":\"\xff\xfe\"}".to_vec(), vec![0; MIB]] {
        assert_eq!(told(post(&harness, bytes)).await.0, 400);
    }
    is_well(&harness, 0).await;
}

#[tokio::test]
async fn a_key_that_comes_twice_is_refused_wherever_it_is() {
    let harness = Harness::start().await;
    let step = r#"{"image":"a","run":"b"}"#;
    for body in [
        format!(r#"{{"queue":"batches","queue":"codeintel","steps":[{step}]}}"#),
        format!(r#"{{"steps":[{step}],"steps":[]}}"#),
        r#"{"steps":[{"image":"a","image":"evil","run":"b"}]}"#.to_owned(),
        format!(r#"{{"steps":[{step}],"env":{{"A":"1","A":"2"}}}}"#),
        format!(r#"{{"steps":[{step}],"secrets":{{"A":"1","A":"2"}}}}"#),
        r#"{"steps":[{"image":"a","run":"b","env":{"A":"1","A":"2"}}]}"#.to_owned(),
        format!(r#"{{"steps":[{step}],"files":[{{"path":"a","path":"b","content":""}}]}}"#),
    ] {
        let (status, text) = told(post(&harness, body.clone())).await;
        assert_eq!(status, 422, "{body}: {text}");
        assert!(text.contains("duplicate"), "{body}: {text}");
    }
    is_well(&harness, 0).await;
}

#[tokio::test]
async fn only_git_may_compress() {
    let harness = Harness::start().await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&serde_json::to_vec(&job()).unwrap()).unwrap();
    let body = gzip.finish().unwrap();
    for encoding in ["gzip", "deflate", "br", "zstd", "x-gzip", "identity"] {
        let request = post(&harness, body.clone()).header("Content-Encoding", encoding);
        assert_eq!(told(request).await.0, 400, "{encoding}");
    }
    is_well(&harness, 0).await;
}

/// A job that may fetch, on a server that takes `git_body` bytes.
async fn fetching(git_body: usize) -> (Harness, SourceRepo, Job) {
    let harness = Harness::start_with(|config| config.limits.git_body = git_body).await;
    let source = SourceRepo::new();
    harness.add_repository("demo", &source.path()).await;
    harness.submit(&JobSpec { repo: Some("demo".to_owned()), ..job() }).await;
    let job = harness.dequeue("batches").await.unwrap();
    (harness, source, job)
}

/// `head`, and then `packet` for ever and ever, compressed.
fn bomb(head: &[u8], packet: &[u8], megabytes: usize) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(head).unwrap();
    let block = packet.repeat(MIB / packet.len());
    for _ in 0..megabytes {
        gzip.write_all(&block).unwrap();
    }
    gzip.finish().unwrap()
}

#[tokio::test]
async fn a_small_body_that_inflates_without_end_costs_neither_memory_nor_time() {
    let (harness, _source, job) = fetching(64 * MIB).await;
    let have = format!("0032have {}\n", "a".repeat(40));
    for (what, head, packet) in [
        ("zeros", &b""[..], &b"\0"[..]),
        ("flush packets", b"", b"0000"),
        ("arguments", b"0014command=ls-refs\n0001", b"0014ref-prefix refs\n"),
        ("commits", b"0012command=fetch\n0001", have.as_bytes()),
        ("one endless packet", b"fff0", b"x"),
        ("packets that are none", b"", b"zzzz"),
    ] {
        let body = bomb(head, packet, 150);
        assert!(body.len() < 3 * MIB, "{what}: {}", body.len());
        let before = peak_memory();
        let begun = Instant::now();
        let request = harness.with_job_token(Method::POST, &job, "/.executors/git/demo/git-upload-pack");
        let request =
            request.header("Git-Protocol", "version=2").header("Content-Encoding", "gzip").body(body);
        // Git itself answers some of this; else the answer breaks off.
        if let Ok(response) = request.send().await {
            let _ = response.bytes().await;
        }
        assert!(begun.elapsed().as_secs() < 20, "{what}: {:?}", begun.elapsed());
        let grown = peak_memory().saturating_sub(before);
        assert!(grown < 48, "{what}: {grown} MiB more");
    }
    is_well(&harness, 1).await;
}

#[tokio::test]
async fn a_broken_or_foreign_compression_is_refused() {
    let (harness, _source, job) = fetching(MIB).await;
    let whole = bomb(b"0014command=ls-refs\n00010000", b"0000", 0);
    let ask = |encoding: &str, body: &[u8]| {
        let request = harness.with_job_token(Method::POST, &job, "/.executors/git/demo/git-upload-pack");
        let request = request.header("Git-Protocol", "version=2").header("Content-Encoding", encoding);
        request.body(body.to_vec()).send()
    };
    assert!(ask("gzip", &whole).await.unwrap().text().await.unwrap().contains("refs/heads/main"));
    for encoding in ["br", "zstd", "deflate", "gzip, gzip", "gzip,br", "cow"] {
        assert_eq!(ask(encoding, &whole).await.unwrap().status(), 415, "{encoding}");
    }
    for body in [&whole[..10], b"no gzip at all", &[0x1f, 0x8b][..]] {
        let told = match ask("gzip", body).await {
            Ok(response) => response.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        assert!(!told.contains("refs/heads/main"), "{told}");
    }
    is_well(&harness, 1).await;
}

#[tokio::test]
async fn an_executor_can_not_fill_the_database_with_its_name_or_its_news() {
    let harness = Harness::start().await;
    let heartbeat =
        |body: serde_json::Value| harness.executor("/.executors/queue/batches/heartbeat").json(&body);
    let long = "n".repeat(MIB);
    for path in ["/.executors/queue/batches/dequeue", "/.executors/queue/batches/heartbeat"] {
        let body = json!({"executorName": long, "version": "5.2.0", "jobIds": []});
        let (status, text) = told(harness.executor(path).json(&body)).await;
        assert_eq!(status, 400, "{path}");
        assert!(text.contains("executor name") && text.len() < 1_000, "{path}: {text}");
    }
    let news = json!({"executorName": EXECUTOR, "jobIds": [], "os": long, "executorVersion": long,
                      "prometheusMetrics": long});
    assert_eq!(told(heartbeat(news)).await.0, 200);
    let listed = harness.list("/executors").await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert!(listed.to_string().len() < 4_000, "{} bytes are kept", listed.to_string().len());

    // 2.7 MB of ids are below the limit for such a call, 5.5 MB above it; but as values both are many times as large.
    for (count, answered) in [(9_000, 200), (400_000, 400), (800_000, 413)] {
        let ids: Vec<i64> = (0..count).collect();
        let begun = Instant::now();
        let (status, text) = told(heartbeat(json!({"executorName": EXECUTOR, "jobIds": ids}))).await;
        assert_eq!(status, answered, "{count} ids");
        assert!(text.len() < 1_000, "{count} ids: {} bytes are told of jobs that are not there", text.len());
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    }
    is_well(&harness, 0).await;
}

#[tokio::test]
async fn little_is_read_of_who_has_proved_nothing() {
    let harness = Harness::start().await;
    let long = "x".repeat(16 << 10);
    let wrong = format!("token-executor executor_reg_{}", "0".repeat(64));
    let register = harness.client.post(harness.url("/.executors/register")).header("Authorization", &wrong);
    let body = json!({"executorName": "exec-7", "identity": "x", "more": long});
    let (status, why) = told(register.json(&body)).await;
    assert!(status == 413 && why.contains("4096 bytes"), "{status} {why}");
    let door = Visitor::new(&harness).sign_in(&[("name", "ann"), ("password", &long)]).await;
    assert!(door.status == 413 && door.body.contains("8192 bytes"), "{} {}", door.status, door.body);
    // Whoever is signed in may send a secret.
    let visitor = Visitor::with_token(&harness, &super::api_token(&harness)).await;
    let kept = visitor.post("/secrets", &[("key", "LONG"), ("value", &long), ("namespace", "global")]).await;
    assert_eq!(kept.status, 303, "{}", kept.body);
}

/// Its program may send all before it listens, and would hear of a broken connection.
#[tokio::test]
async fn whoever_is_refused_is_heard_out() {
    let harness = Harness::start().await;
    let rest = vec![b' '; 8 * MIB];
    for (path, status) in [
        ("/.executors/queue/batches/artifacts/1/a/a", 401),
        ("/.executors/lsif/upload?repository=app", 401),
        ("/.executors/queue/batches/markComplete", 401),
        ("/api/v1/files?name=a", 401),
        ("/nowhere", 404),
    ] {
        let mut stream = TcpStream::connect(harness.server.addr()).await.unwrap();
        let length = rest.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let early = timeout(Duration::from_millis(200), stream.read_u8()).await;
        assert!(early.is_err(), "{path} is answered before all of it is there: {early:?}");
        stream.write_all(&rest).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_log_entry_can_not_fill_the_database_with_what_it_is_about() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let add = |key: String, command: Vec<String>| {
        let body = json!({"executorName": EXECUTOR, "jobId": job.id, "key": key, "command": command,
                          "startTime": "2023-01-02T03:04:05Z", "out": ""});
        harness.about(&job, "batches", "addExecutionLogEntry").json(&body)
    };
    let (status, text) = told(add("k".repeat(MIB), vec![])).await;
    assert!(status == 400 && text.len() < 1_000, "{status} {text}");
    assert_eq!(told(add("step.docker.0".to_owned(), vec!["x".repeat(8 * MIB)])).await.0, 200);
    let many = (0..MIB).map(|n| n.to_string()).collect();
    assert_eq!(told(add("step.docker.1".to_owned(), many)).await.0, 200);
    let listed = harness.get(&format!("/jobs/{}/logs", job.id)).await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(listed.to_string().len() < MIB, "{} bytes are kept", listed.to_string().len());
}

/// What is small in a body may be large in memory.
#[tokio::test]
async fn ever_so_many_empty_arguments_cost_no_memory() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let entry = harness.add_log(&job, "step.docker.0").await;
    let body = |call: &str| {
        let head = json!({"executorName": EXECUTOR, "jobId": job.id, "entryId": entry, "key": call,
                          "startTime": "2023-01-02T03:04:05Z", "out": ""});
        let head = head.to_string();
        format!(r#"{},"command":[{}""]}}"#, &head[..head.len() - 1], r#""","#.repeat(20 * MIB / 3))
    };
    for (call, answered) in [("addExecutionLogEntry", 200), ("updateExecutionLogEntry", 204)] {
        let body = body(call);
        let before = peak_memory();
        let (status, text) = told(harness.about(&job, "batches", call).body(body)).await;
        assert_eq!(status, answered, "{call}: {text}");
        let grown = peak_memory().saturating_sub(before);
        assert!(grown < 80, "{call}: {grown} MiB more");
    }
    let listed = harness.get(&format!("/jobs/{}/logs", job.id)).await;
    let command = listed[1]["command"].as_array().unwrap();
    assert_eq!((command.len(), command.last().unwrap().as_str()), (10_001, Some("…")));
    is_well(&harness, 1).await;
}

/// Sends all but the last bytes of a body of so many; what can't be sent is not taken from us.
async fn begun(harness: &Harness, call: (&str, &str), auth: &str, length: usize) -> TcpStream {
    let (method, path) = call;
    let mut slow = TcpStream::connect(harness.server.addr()).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nContent-Length: {length}\r\n\r\n{{\"more\":\"{}",
        "x".repeat(length - 100)
    );
    let sent = slow.write_all(head.as_bytes());
    let _ = tokio::time::timeout(Duration::from_millis(100), sent).await;
    slow
}

/// A heartbeat with so many bytes of metrics.
async fn beat(harness: &Harness, bytes: usize) -> u16 {
    let body = json!({"executorName": EXECUTOR, "jobIds": [], "prometheusMetrics": "x".repeat(bytes)});
    told(harness.executor(HEARTBEAT).json(&body)).await.0
}

/// Bodies that are begun and not ended are kept in memory, so there is room for some of them only.
#[tokio::test]
async fn whoever_begins_many_large_bodies_is_in_nobodys_way() {
    let harness = Harness::start_with(|config| {
        (config.limits.large_calls, config.limits.large_calls_per_client) = (2, 2);
        (config.limits.large_idle, config.limits.large_call_queue) =
            (Duration::from_millis(500), Duration::from_millis(50));
    })
    .await;
    let ours = format!("token-executor {}", harness.shared_secret());
    for path in [HEARTBEAT, "/.executors/queue/dequeue"] {
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(begun(&harness, ("POST", path), &ours, 4 * MIB).await);
        }
        // Others pass, large ones are told to come again until the slow ones are given up.
        for bytes in [100, 2 * MIB / 10] {
            assert_eq!(beat(&harness, bytes).await, 200, "{path}");
        }
        let since = Instant::now();
        loop {
            let status = beat(&harness, MIB).await;
            if status == 200 {
                break;
            }
            assert_eq!(status, 503, "{path}");
            assert!(since.elapsed().as_secs() < 20, "{path}: there is no room again");
        }
    }
    is_well(&harness, 0).await;
}

#[tokio::test]
async fn who_submits_slowly_keeps_neither_executors_nor_other_namespaces_waiting() {
    let harness = Harness::start_with(|config| {
        (config.limits.large_calls, config.limits.large_calls_per_client) = (2, 2);
        (config.limits.bodies, config.limits.bodies_per_client) = (MIB / 2, MIB / 2);
        (config.limits.large_idle, config.limits.large_call_queue) =
            (Duration::from_mins(1), Duration::from_millis(50));
    })
    .await;
    let running = harness.running_job().await;
    let entry = harness.add_log(&running, "step.docker.0").await;
    let other = Holder::new(&harness, Role::Submitter, "org:other").await;
    let sizes = [MIB / 5, 2 * MIB / 5];
    let auth = format!("Bearer {}", super::api_token(&harness));
    let mut held = Vec::new();
    for length in sizes {
        for _ in 0..4 {
            held.push(begun(&harness, ("POST", "/api/v1/jobs"), &auth, length).await);
        }
    }
    let of = |bytes: usize| {
        let mut spec = job();
        spec.steps[0].run = "x".repeat(bytes);
        spec
    };
    for bytes in sizes {
        let since = Instant::now();
        while told(harness.api(Method::POST, "/jobs").json(&of(bytes))).await.0 != 503 {
            assert!(since.elapsed().as_secs() < 10, "those that were begun have no turn");
        }
        assert_eq!(told(other.call(&harness, Method::POST, "/jobs").json(&of(bytes))).await.0, 201);
        assert_eq!(beat(&harness, bytes).await, 200);
        assert_eq!(harness.append(&running, entry, 0, &"x".repeat(bytes)).await.status(), 200);
    }
}

#[tokio::test]
async fn large_bodies_come_a_few_at_a_time_and_small_ones_pass_them() {
    let harness = Harness::start_with(|config| {
        (config.limits.large_calls, config.limits.large_call_queue) = (1, Duration::from_millis(50));
    })
    .await;
    let job = harness.running_job().await;
    let entry = harness.add_log(&job, "step.docker.0").await;
    let mut slow = TcpStream::connect(harness.server.addr()).await.unwrap();
    let head = format!(
        "POST /.executors/queue/batches/appendExecutionLog HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         X-Sourcegraph-Job-ID: {}\r\nX-Sourcegraph-Executor-Name: {EXECUTOR}\r\nContent-Length: {MIB}\r\n\r\n",
        job.token, job.id
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let large = "x".repeat(MIB);
    assert_eq!(harness.append(&job, entry, 0, &large).await.status(), 200, "what has not come has no slot");
    slow.write_all(&vec![b'x'; MIB / 2]).await.unwrap();
    let since = Instant::now();
    while harness.append(&job, entry, 0, &large).await.status() != 503 {
        assert!(since.elapsed().as_secs() < 10, "what comes has none");
    }
    assert_eq!(harness.append(&job, entry, 0, "small").await.status(), 200);
    drop(slow);
    let since = Instant::now();
    while harness.append(&job, entry, 0, &large).await.status() != 200 {
        assert!(since.elapsed().as_secs() < 10, "the slot is free again");
    }
}
