//! A control plane whose disk has too little room for text, in a time that passes as quickly as a test can follow.

use super::calls::LogCalls;
use super::delivery::ROOM_PATIENCE;
use super::*;
use crate::api::{ApiError, AppendOutcome, LogText};
use crate::config::AgentConfig;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use runtimes::Stream;
use secrecy::SecretString;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use wire::additions::{AppendLog, NO_ROOM, OUTPUT_REFUSED};
use wire::{JobId, LogEntry, LogEntryUpdate};

/// What it has of each entry: its text and its exit code.
type Kept = (String, Option<i32>);

struct Plane {
    /// From then on it has room.
    room_from: Option<Instant>,
    entries: Mutex<Vec<Kept>>,
}

impl Plane {
    fn check(&self, text: &str) -> Result<(), ApiError> {
        let has_room = self.room_from.is_some_and(|at| Instant::now() >= at);
        if has_room || text.is_empty() || text == OUTPUT_REFUSED {
            return Ok(());
        }
        let told = Bytes::from(format!("{NO_ROOM}\n"));
        Err(ApiError::status(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), told))
    }
}

#[async_trait]
impl LogCalls for Plane {
    fn executor_name(&self) -> &'static str {
        "executor"
    }

    fn can_append(&self) -> bool {
        true
    }

    async fn add_entry(&self, _: &JobAuth, entry: &LogEntry) -> Result<i64, ApiError> {
        self.check(&entry.out)?;
        let mut entries = self.entries.lock().unwrap();
        entries.push((entry.out.clone(), entry.exit_code));
        Ok(entries.len() as i64)
    }

    async fn append(&self, _: &JobAuth, append: &AppendLog) -> Result<AppendOutcome, ApiError> {
        self.check(&append.chunk)?;
        let (text, exit_code) = &mut self.entries.lock().unwrap()[append.entry_id as usize - 1];
        assert_eq!(append.offset, text.len() as u64);
        text.push_str(&append.chunk);
        *exit_code = append.exit_code;
        Ok(AppendOutcome::Taken)
    }

    async fn put_entry(
        &self,
        _: &JobAuth,
        _: LogEntryUpdate,
        _: Arc<dyn LogText>,
        _: u64,
    ) -> Result<(), ApiError> {
        panic!("it appends");
    }
}

/// What becomes of three entries, the last of which ends an hour after the others, and how long the job's end waits for them.
async fn delivered(room_after: Option<Duration>) -> (Vec<Kept>, Duration) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let secret = SecretString::from("hunter2hunter2");
    let url = "http://127.0.0.1:1".parse().unwrap();
    let config = AgentConfig::new(url, secret.clone(), "batches", "agent-1", std::env::temp_dir());
    let job = JobAuth { id: JobId(1), queue: "batches".to_owned(), token: secret };
    let api = Api::new(Arc::new(config)).unwrap();
    let room_from = room_after.map(|after| Instant::now() + after);
    let plane = Arc::new(Plane { room_from, entries: Mutex::default() });
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
    let whole = |code| ("stdout: text\n".to_owned(), Some(code));
    let cut = |code| (OUTPUT_REFUSED.to_owned(), Some(code));
    let (entries, waited) = delivered(Some(Duration::from_secs(20))).await;
    assert_eq!(entries, [whole(0), whole(0), whole(7)]);
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    // Those that have ended have waited for long enough, and each says what is missing.
    let (entries, waited) = delivered(Some(Duration::from_mins(30))).await;
    assert_eq!(entries, [cut(0), cut(0), whole(7)]);
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    let (entries, waited) = delivered(None).await;
    assert_eq!(entries, [cut(0), cut(0), cut(7)]);
    assert!(waited < ROOM_PATIENCE + Duration::from_secs(10), "{waited:?}");
}
