//! A control plane whose disk has too little room for text, in a time that passes as quickly as a test can follow.

use super::delivery::ROOM_PATIENCE;
use super::plane::{Plane, Told};
use super::*;
use crate::config::AgentConfig;
use runtimes::Stream;
use secrecy::SecretString;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use wire::JobId;
use wire::additions::OUTPUT_REFUSED;

/// What becomes of three entries, the last of which ends an hour after the others, and how long the job's end waits for them.
async fn delivered(room_after: Option<Duration>) -> (Vec<Told>, Duration) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let secret = SecretString::from("hunter2hunter2");
    let url = "http://127.0.0.1:1".parse().unwrap();
    let config = AgentConfig::new(url, secret.clone(), "batches", "agent-1", std::env::temp_dir());
    let job = JobAuth { id: JobId(1), queue: "batches".to_owned(), token: secret };
    let api = Api::new(Arc::new(config)).unwrap();
    let room_from = room_after.map(|after| Instant::now() + after);
    let plane = Arc::new(Plane { appends: true, room_from, entries: Mutex::default() });
    let log = JobLog::with_calls(Arc::clone(&plane) as _, api, job, Redactor::default());
    let write = |key: &str| {
        let entry = log.entry(key, None);
        entry.output(Stream::Stdout, b"text\n");
        entry
    };
    write("one").close(0);
    write("two").close(0);
    let last = write("three");
    sleep(Duration::from_hours(1)).await;
    last.close(7);
    let ended = Instant::now();
    log.flush(&Patience { limit: Duration::from_mins(10), hurry: CancellationToken::new() }).await;
    let waited = ended.elapsed();
    let entries = plane.entries.lock().unwrap().clone();
    (entries, waited)
}

#[tokio::test(start_paused = true)]
async fn text_waits_for_room_as_long_as_its_step_runs_and_a_job_for_a_minute() {
    let whole = |key: &str, code| (key.to_owned(), "stdout: text\n".to_owned(), Some(code));
    let cut = |key: &str, code| (key.to_owned(), OUTPUT_REFUSED.to_owned(), Some(code));
    let (entries, waited) = delivered(Some(Duration::from_secs(20))).await;
    assert_eq!(entries, [whole("one", 0), whole("two", 0), whole("three", 7)]);
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    // Those that have ended have waited for long enough, and each says what is missing.
    let (entries, waited) = delivered(Some(Duration::from_mins(30))).await;
    assert_eq!(entries, [cut("one", 0), cut("two", 0), whole("three", 7)]);
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    let (entries, waited) = delivered(None).await;
    assert_eq!(entries, [cut("one", 0), cut("two", 0), cut("three", 7)]);
    assert!(waited < ROOM_PATIENCE + Duration::from_secs(10), "{waited:?}");
}
