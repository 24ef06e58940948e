//! Starting, stopping and starting again.

use crate::harness::{Harness, job, told};
use crate::source::SourceRepo;
use jiff::{SignedDuration, Timestamp};
use jobs::{Clock, JobSpec, LeasePolicy};
use serde_json::json;
use server::{ServerConfig, ServerError};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testkit::{MockClock, Postgres};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn what_was_taken_on_survives_a_restart() {
    let harness = Harness::start().await;
    let (id, running) = (harness.submit(&job()).await, harness.running_job().await);
    let (secret, dir) = (harness.shared_secret(), harness.stop().await);
    let harness = Harness::start_in(dir, |_| {}).await;
    assert_eq!(harness.shared_secret(), secret);
    assert_eq!(running.id.0, id, "the older job was given out first");
    assert_eq!(harness.mark(&running, "markComplete", serde_json::json!({})).await.status(), 204);
    assert_eq!(harness.dequeue("batches").await.unwrap().id.0, id + 1);
}

/// A clock that counts how often it is read.
struct Read {
    clock: MockClock,
    times: AtomicU64,
}

impl Clock for Read {
    fn now(&self) -> Timestamp {
        self.with_monotonic().0
    }

    fn with_monotonic(&self) -> (Timestamp, Duration) {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.clock.with_monotonic()
    }
}

impl Read {
    /// Waits until it was read so often that silent executors were looked for: nothing else reads it every few milliseconds
    /// while nobody asks.
    async fn again_and_again(&self) {
        let (before, begun) = (self.times.load(Ordering::Relaxed), Instant::now());
        while self.times.load(Ordering::Relaxed) < before + 100 {
            assert!(begun.elapsed() < Duration::from_secs(30), "nobody looks for silent executors");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Its executor could not be heard meanwhile, however much longer than a lease that was.
#[tokio::test]
async fn a_server_that_comes_back_judges_nobody_before_a_lease_is_over() {
    let clock = Arc::new(Read { clock: MockClock::at(1_700_000_000), times: AtomicU64::new(0) });
    let attentive = |config: &mut ServerConfig| {
        config.clock = Arc::clone(&clock) as Arc<dyn Clock>;
        config.lease.scan_interval = Duration::from_millis(5);
    };
    let lease = SignedDuration::try_from(LeasePolicy::default().untold).unwrap();
    let second = SignedDuration::from_secs(1);
    let harness = Harness::start_with(attentive).await;
    let job = harness.running_job().await;
    let dir = harness.stop().await;
    clock.clock.advance(lease * 3);
    let harness = Harness::start_in(dir, attentive).await;
    let state = async || harness.get(&format!("/jobs/{}", job.id)).await["state"].take();
    clock.again_and_again().await;
    assert_eq!(state().await, "processing", "as soon as it is back");
    clock.clock.advance(lease - second);
    clock.again_and_again().await;
    assert_eq!(state().await, "processing", "a second before a lease is over");
    // Of a look that came late, on a host that stood still, another lease begins.
    let begun = Instant::now();
    loop {
        clock.clock.advance(second);
        clock.again_and_again().await;
        if state().await == "queued" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "the silent executor keeps its job");
    }
    assert_eq!(harness.get(&format!("/jobs/{}", job.id)).await["earlierTries"][0]["reason"], "executor_lost");
}

/// Who starts servers anew looks at the one, and balancers at the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_database_lives_and_is_not_ready() {
    let test = "a_server_without_its_database_lives_and_is_not_ready";
    let Some(mut postgres) = Postgres::start(test) else { return };
    let url = postgres.url();
    let harness = Harness::start_with(|config| config.database_url = Some(url)).await;
    let asked = async |path: &str| told(harness.client.get(harness.url(path))).await;
    assert_eq!(asked("/readyz").await, (200, "ok".to_owned()));
    postgres.crash();
    let begun = Instant::now();
    let (mut status, mut why) = asked("/readyz").await;
    let took = begun.elapsed();
    while status == 200 {
        // What was just answered holds for a moment.
        assert!(begun.elapsed() < Duration::from_secs(20), "{why}");
        (status, why) = asked("/readyz").await;
    }
    assert_eq!((status, why.as_str()), (503, "database: it does not answer"));
    // Whoever asks the database itself waits for 30 s.
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(asked("/healthz").await, (200, "ok".to_owned()));
    postgres.restart();
    let begun = Instant::now();
    while asked("/readyz").await.0 != 200 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is ready again");
    }
}

#[tokio::test]
async fn secrets_lie_in_private_files() {
    let harness = Harness::start().await;
    for (name, mode) in [
        ("", 0o700),
        ("api-token", 0o600),
        ("site-config.jsonc", 0o600),
        ("secret-keys", 0o600),
        ("repositories", 0o700),
    ] {
        let meta = std::fs::metadata(harness.data().join(name)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, mode, "{name:?}");
    }
}

#[tokio::test]
async fn a_relative_data_directory_is_as_good() {
    let below = tempfile::tempdir_in(".").unwrap();
    let relative = std::path::Path::new(below.path().file_name().unwrap()).join("data");
    let source = SourceRepo::new();
    let harness = Harness::start_with(|config| config.data_dir = relative).await;
    harness.add_repository("demo", &source.path()).await;
    let spec = JobSpec { repo: Some("demo".to_owned()), ..job() };
    harness.submit(&spec).await;
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_is_let_go() {
    let harness = Harness::start_with(|config| config.limits.first_head = Duration::from_millis(50)).await;
    let mut slow = TcpStream::connect(harness.server.addr()).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), slow.read_to_end(&mut answer));
    closed.await.unwrap().unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

async fn refusal(config: ServerConfig) -> ServerError {
    server::start(config, CancellationToken::new()).await.err().unwrap()
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_start_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let config = || ServerConfig::new("127.0.0.1:0".parse().unwrap(), dir.path().join("data"));
    let site = dir.path().join("site.jsonc");
    std::fs::write(&site, r#"{"executors.accessToken": "short"}"#).unwrap();
    let mut short_token = config();
    short_token.site_config = Some(site.clone());
    let told = refusal(short_token).await.to_string();
    assert!(told.contains("executors.accessToken has 5 characters"), "{told}");

    let harness = Harness::start().await;
    let mut taken = config();
    taken.listen = harness.server.addr();
    let told = refusal(taken).await.to_string();
    assert!(told.contains("--listen"), "{told}");

    let mut in_use = config();
    in_use.data_dir = harness.data();
    assert!(matches!(refusal(in_use).await, ServerError::Store(store::StoreError::InUse(_))));

    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut no_dir = config();
    no_dir.data_dir = file.join("data");
    assert!(matches!(refusal(no_dir).await, ServerError::File { .. }));
}

#[tokio::test]
async fn a_change_of_the_site_configuration_is_told_by_its_keys() {
    let harness = Harness::start().await;
    let file = harness.data().join("site-config.jsonc");
    let acts = async || harness.list("/audit?action=site_config.change").await.as_array().unwrap().clone();
    assert!(acts().await.is_empty(), "a start is no change");
    let text = json!({"executors.accessToken": "another-secret-of-executors", "executors.auditKeptDays": 30, "unknown": 1});
    std::fs::write(&file, text.to_string()).unwrap();
    let begun = Instant::now();
    let told = loop {
        let told = acts().await;
        if !told.is_empty() {
            break told;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody says so");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["actor"], &told[0]["subject"]), (&json!("root"), &json!("site configuration")));
    let keys: Vec<_> = told[0]["detail"].as_str().unwrap().split(", ").collect();
    // What the first start wrote besides is gone.
    let left_out = ["executors.endedJobsKeptDays", "executors.multiqueue", "executors.uploadsKeptDays"];
    assert_eq!(keys, [&["executors.accessToken", "executors.auditKeptDays"][..], &left_out].concat());
    // So is what is changed while no server runs, by the next start and no other.
    let mut dir = Some(harness.stop().await);
    let text = json!({"executors.accessToken": "a-third-secret-of-executors", "executors.auditKeptDays": 30});
    std::fs::write(&file, text.to_string()).unwrap();
    for start in 0..2 {
        let harness = Harness::start_in(dir.take().unwrap(), |_| {}).await;
        let begun = Instant::now();
        let told = loop {
            let told = harness.list("/audit?action=site_config.change").await;
            if told.as_array().unwrap().len() > 1 {
                break told;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "start {start}: {told}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(told.as_array().unwrap().len(), 2, "start {start}: {told}");
        assert_eq!(told[0]["detail"], "executors.accessToken (while no server ran)");
        dir = Some(harness.stop().await);
    }
}
