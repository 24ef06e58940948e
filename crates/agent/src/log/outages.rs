//! A network that is cut while a step prints, in a time that passes as quickly as a test can follow.

use super::calls::LogCalls;
use super::*;
use crate::api::{ApiError, AppendOutcome, CALL_TIMEOUT, LogText};
use crate::config::AgentConfig;
use async_trait::async_trait;
use runtimes::Stream;
use secrecy::SecretString;
use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use wire::additions::AppendLog;
use wire::{JobId, LogEntry, LogEntryUpdate};

/// How long a call takes, half of it each way.
const LATENCY: Duration = Duration::from_millis(40);
/// A step prints a line so often.
const LINE: Duration = Duration::from_millis(50);
/// It prints for so long before the cut and after it.
const BESIDE: Duration = Duration::from_secs(5);
/// How soon all text must be there once the network is back: a call that hangs, and a pause.
const RECOVERY: Duration = Duration::from_secs(40);

/// What the network does while it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// It swallows everything; what a connection has sent is sent again once it is back.
    Silent,
    /// The same, and it has forgotten every connection when it is back.
    Forgetful,
    /// It refuses every call at once.
    Refusing,
}

/// A control plane behind a network that is cut once.
struct Plane {
    name: &'static str,
    ours: bool,
    cut: Cut,
    from: Instant,
    to: Instant,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    text: String,
    exit_code: Option<i32>,
    opened: usize,
    /// Calls that began while the network was cut.
    in_vain: usize,
}

impl Plane {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn is_cut(&self) -> bool {
        (self.from..self.to).contains(&Instant::now())
    }

    /// One call: what `serve` does happens once, if the request arrives; its answer may get lost.
    async fn call<T>(&self, serve: impl FnOnce(&mut Seen) -> T) -> Result<T, ApiError> {
        let gives_up = Instant::now() + CALL_TIMEOUT;
        self.seen().in_vain += usize::from(self.is_cut());
        self.half(gives_up).await?;
        let answer = serve(&mut self.seen());
        self.half(gives_up).await?;
        Ok(answer)
    }

    /// The way there or back.
    async fn half(&self, gives_up: Instant) -> Result<(), ApiError> {
        sleep(LATENCY / 2).await;
        if !self.is_cut() {
            return Ok(());
        }
        let lost = || {
            let source = io::Error::from(io::ErrorKind::TimedOut);
            Err(ApiError::Local { what: "reach the control plane", source })
        };
        match self.cut {
            Cut::Refusing => lost(),
            Cut::Silent if self.to < gives_up => {
                sleep_until(self.to).await;
                Ok(())
            }
            Cut::Silent | Cut::Forgetful => {
                sleep_until(gives_up).await;
                lost()
            }
        }
    }
}

#[async_trait]
impl LogCalls for Plane {
    fn executor_name(&self) -> &str {
        self.name
    }

    fn can_append(&self) -> bool {
        self.ours
    }

    async fn add_entry(&self, _: &JobAuth, entry: &LogEntry) -> Result<i64, ApiError> {
        let open = |seen: &mut Seen| {
            seen.opened += 1;
            seen.text.clone_from(&entry.out);
            1
        };
        self.call(open).await
    }

    async fn append(&self, _: &JobAuth, append: &AppendLog) -> Result<AppendOutcome, ApiError> {
        assert!(self.ours, "a stock control plane has no such call");
        let add = |seen: &mut Seen| {
            let offset = usize::try_from(append.offset).unwrap();
            if offset > seen.text.len() {
                return AppendOutcome::EndsAt(seen.text.len() as u64);
            }
            if let Some(fresh) = append.chunk.get(seen.text.len() - offset..) {
                seen.text.push_str(fresh);
            }
            seen.exit_code = append.exit_code.or(seen.exit_code);
            AppendOutcome::Taken
        };
        self.call(add).await
    }

    async fn put_entry(
        &self,
        _: &JobAuth,
        update: LogEntryUpdate,
        text: Arc<dyn LogText>,
        length: u64,
    ) -> Result<(), ApiError> {
        let mut whole = String::new();
        while (whole.len() as u64) < length {
            whole += &text.read(whole.len() as u64, usize::try_from(length).unwrap() - whole.len()).unwrap();
        }
        let replace = |seen: &mut Seen| {
            seen.text = whole;
            seen.exit_code = update.entry.exit_code;
        };
        self.call(replace).await
    }
}

fn job_log(plane: &Arc<Plane>) -> JobLog {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let secret = SecretString::from("hunter2hunter2");
    let url = "http://127.0.0.1:1".parse().unwrap();
    let config = AgentConfig::new(url, secret.clone(), "batches", "agent-1", std::env::temp_dir());
    let auth = JobAuth { id: JobId(1), queue: "batches".to_owned(), token: secret };
    let api = Api::new(Arc::new(config)).unwrap();
    let calls: Arc<dyn LogCalls> = Arc::clone(plane) as _;
    JobLog::with_calls(calls, api, auth, Redactor::default())
}

/// A step prints numbered lines while the network is cut for `away`, so long after the step's begin.
async fn ride_through(ours: bool, cut: Cut, begin: Duration, away: Duration) {
    let began = Instant::now();
    let (from, to) = (began + begin, began + begin + away);
    let plane = Arc::new(Plane { name: "agent-1", ours, cut, from, to, seen: Mutex::default() });
    let log = job_log(&plane);
    let entry = log.entry("step.docker.a", None);
    let mut expected = String::new();
    let end = to + BESIDE;
    let mut n = 0;
    while Instant::now() < end {
        n += 1;
        entry.output(Stream::Stdout, format!("line {n}\n").as_bytes());
        expected.extend(["stdout: line ", &n.to_string(), "\n"]);
        sleep(LINE).await;
    }
    entry.close(0);
    let printed = Instant::now();
    assert!(printed - end <= LINE, "the step waited for its log");

    log.flush(&Patience { limit: Duration::from_hours(1), hurry: CancellationToken::new() }).await;
    let case = format!("ours: {ours}, {cut:?} after {begin:?} for {away:?}");
    let seen = plane.seen();
    assert!(seen.text == expected, "{case}: {} bytes instead of {}", seen.text.len(), expected.len());
    assert_eq!((seen.exit_code, seen.opened), (Some(0), 1), "{case}");
    assert!(Instant::now() < to + RECOVERY, "{case}: it took {:?}", Instant::now() - to);
    let most = match cut {
        Cut::Refusing => 10 + away.as_secs() / 2,
        Cut::Silent | Cut::Forgetful => 3 + away.as_secs() / CALL_TIMEOUT.as_secs(),
    };
    assert!(seen.in_vain as u64 <= most, "{case}: {} calls in vain", seen.in_vain);
}

/// Every kind of cut, of one and of ten minutes, begun at all moments of a call and of the pause after it.
#[tokio::test(start_paused = true)]
async fn a_cut_network_loses_and_doubles_no_line() {
    for ours in [true, false] {
        for cut in [Cut::Silent, Cut::Forgetful, Cut::Refusing] {
            for away in [1, 20, 60, 600].map(Duration::from_secs) {
                for part in 0..5 {
                    ride_through(ours, cut, BESIDE + Duration::from_millis(part * 233), away).await;
                }
            }
        }
    }
}
