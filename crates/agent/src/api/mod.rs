//! The control plane as the agent calls it: one module per family of calls.
//!
//! Every call has a limit in time. Which calls are tried again is decided by the caller with
//! [`retry`]: a dequeue never is (an answer that got lost may have assigned a job, and the
//! control plane's lease takes care of that one), everything that can be repeated safely is.

mod artifacts;
mod dequeue;
mod endpoint;
mod error;
mod files;
mod heartbeat;
mod logs;
mod marks;
mod retry;
mod word;

pub(crate) use dequeue::{Answer, Dequeued, Undecodable};
pub(crate) use endpoint::{endpoint, valid_segment};
pub(crate) use error::ApiError;
pub(crate) use heartbeat::{BEATS, HeartbeatAnswer};
pub(crate) use logs::{AppendOutcome, LogText};
pub(crate) use marks::Final;
pub(crate) use retry::{Backoff, Patience, retry};

use crate::boot_time::BootTime;
use crate::config::AgentConfig;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use wire::headers::Credentials;
use wire::paths::QueueCall;
use wire::{JobId, additions, headers};

/// How long a TCP and TLS connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a silent connection is probed, such as one with a dequeue that is held.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Idle connections are closed sooner than most proxies would, so that no call meets a dead one.
const IDLE: Duration = Duration::from_secs(30);
/// How long a small call may take as a whole.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read; a job's inline files are in it.
const MAX_ANSWER: usize = 256 << 20;
/// How much is read of a refusal whose answer would be streamed.
const LONGEST_REFUSAL: usize = 4 << 10;

/// The control plane. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    config: Arc<AgentConfig>,
    /// Shared by every client of this agent.
    told: Arc<Told>,
}

/// Over which it may ask to spread calls at most.
const LONGEST_SPREAD: Duration = Duration::from_mins(1);

/// What the control plane has told of itself.
#[derive(Default)]
struct Told {
    log_append: AtomicBool,
    /// In milliseconds; 0 when it was not told.
    lease_term: AtomicU64,
    lease_term_changed: Notify,
    spread: AtomicU64,
}

/// Which job a call is about, and the token that proves it.
#[derive(Clone)]
pub(crate) struct JobAuth {
    pub(crate) id: JobId,
    /// The queue that the job's calls go to.
    pub(crate) queue: String,
    /// Empty: the agent's own secret stands in.
    pub(crate) token: SecretString,
}

impl Api {
    pub(crate) fn new(config: Arc<AgentConfig>) -> Result<Self, reqwest::Error> {
        Self::build(config, Arc::default())
    }

    /// The same control plane with a client of its own, for another tokio runtime: connections
    /// belong to the runtime that drives them.
    pub(crate) fn with_own_client(&self) -> Result<Self, reqwest::Error> {
        Self::build(Arc::clone(&self.0.config), Arc::clone(&self.0.told))
    }

    /// The same control plane for another agent, of whose configuration the rest is this one's.
    pub(crate) fn for_another(&self, config: AgentConfig) -> Result<Self, reqwest::Error> {
        Self::build(Arc::new(config), Arc::clone(&self.0.told))
    }

    fn build(config: Arc<AgentConfig>, told: Arc<Told>) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .tcp_keepalive(KEEPALIVE)
            .pool_idle_timeout(IDLE)
            .tls_backend_preconfigured(config.roots.client_config())
            .build()?;
        Ok(Self(Arc::new(Inner { http, config, told })))
    }

    /// Whether the control plane has shown that it knows our additions to the protocol.
    fn is_ours(&self) -> bool {
        self.can_append()
    }

    /// Whether the control plane has said that it takes log text at an offset.
    pub(crate) fn can_append(&self) -> bool {
        self.0.told.log_append.load(Ordering::Relaxed)
    }

    /// Takes it from somebody who has seen the control plane say so.
    pub(crate) fn assume_append(&self, append: bool) {
        self.0.told.log_append.store(append, Ordering::Relaxed);
    }

    /// How long a lease lasts after it was renewed, if the control plane tells.
    pub(crate) fn lease_term(&self) -> Option<Duration> {
        let millis = self.0.told.lease_term.load(Ordering::Relaxed);
        (millis > 0).then(|| Duration::from_millis(millis))
    }

    /// Returns when [`Self::lease_term`] is another one than when this returned last. For one waiter.
    pub(crate) async fn lease_term_changed(&self) {
        self.0.told.lease_term_changed.notified().await;
    }

    /// Over how long to spread what all executors do at once, as the control plane told when it last spoke.
    pub(crate) fn spread(&self) -> Duration {
        Duration::from_millis(self.0.told.spread.load(Ordering::Relaxed)).min(LONGEST_SPREAD)
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.0.http
    }

    pub(crate) fn config(&self) -> &Arc<AgentConfig> {
        &self.0.config
    }

    /// A call in the agent's own name.
    fn as_agent(&self, method: Method, path: &str) -> RequestBuilder {
        let mut all = HeaderMap::new();
        all.insert(AUTHORIZATION, secret_header(Credentials::Shared(self.0.config.password.expose_secret())));
        self.request(method, path, all)
    }

    /// A call in the name of one job.
    fn as_job(&self, method: Method, path: &str, job: &JobAuth) -> RequestBuilder {
        self.request(method, path, self.job_headers(job))
    }

    /// What authenticates a call about `job`.
    pub(crate) fn job_headers(&self, job: &JobAuth) -> HeaderMap {
        let config = self.config();
        let credentials = match job.token.expose_secret() {
            "" => Credentials::Shared(config.password.expose_secret()),
            token => Credentials::Job(token),
        };
        let mut all = HeaderMap::new();
        all.insert(AUTHORIZATION, secret_header(credentials));
        all.insert(headers::JOB_ID, HeaderValue::from(job.id.0));
        if self.is_ours() {
            all.insert(additions::PREFER, HeaderValue::from_static(additions::LATE_PREFERENCE));
        }
        if let Some(parent) = self.trace_parent(job) {
            all.insert(additions::TRACE_PARENT, parent);
        }
        if let Ok(name) = HeaderValue::from_str(&config.name) {
            all.insert(headers::EXECUTOR_NAME, name);
        }
        all
    }

    /// Which trace a call belongs to; told to control planes of ours only.
    fn trace_parent(&self, job: &JobAuth) -> Option<HeaderValue> {
        let tracer = self.config().monitor.tracer(self.config()).filter(|_| self.is_ours())?;
        HeaderValue::from_str(&tracer.context_of(job.id)?.traceparent()).ok()
    }

    fn request(&self, method: Method, path: &str, all: HeaderMap) -> RequestBuilder {
        let url = endpoint(&self.0.config.frontend_url, path);
        self.0.http.request(method, url).headers(all).header(CONTENT_TYPE, "application/json")
    }

    /// Makes `call`: sends `body` and reads the answer, 200 or 204, to its end.
    async fn call<T: Serialize>(
        &self,
        call: QueueCall,
        request: RequestBuilder,
        body: &T,
        timeout: Duration,
    ) -> Result<Reply, ApiError> {
        let body = serde_json::to_vec(body).map_err(ApiError::Encode)?;
        self.send(call, request.body(body), timeout).await
    }

    async fn send(
        &self,
        call: QueueCall,
        request: RequestBuilder,
        timeout: Duration,
    ) -> Result<Reply, ApiError> {
        let began = Instant::now();
        let reply = self.exchange(request, timeout).await.and_then(|reply| reply.of_the_protocol(call));
        let calls = &self.config().monitor.metrics().queue_calls;
        calls.done(&[operation(call)], began.elapsed(), reply.is_ok());
        reply
    }

    async fn exchange(&self, request: RequestBuilder, timeout: Duration) -> Result<Reply, ApiError> {
        let response = request.timeout(timeout).send().await.map_err(ApiError::transport)?;
        let began = BootTime::now();
        let (status, all) = (response.status(), response.headers().clone());
        let body = read_to_end(response).await;
        match status {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(Reply { status, headers: all, body: body?, began }),
            _ => Err(ApiError::status(status, &all, body.unwrap_or_default())),
        }
    }

    /// Takes note of what the control plane says it can do. Answers to dequeues always tell all of
    /// it; those to heartbeats may.
    fn learn(&self, reply: &Reply, tells_all: bool) {
        let said = reply.headers.get_all(additions::CAPABILITIES);
        let append = said
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|list| list.split(','))
            .any(|name| name.trim() == additions::LOG_APPEND);
        if append || tells_all {
            self.0.told.log_append.store(append, Ordering::Relaxed);
        }
        let spread = reply.headers.get(additions::SPREAD).and_then(|value| value.to_str().ok()?.parse().ok());
        if spread.is_some() || tells_all {
            self.0.told.spread.store(spread.unwrap_or(0), Ordering::Relaxed);
        }
        let term = reply.headers.get(additions::LEASE_TERM).and_then(|value| value.to_str().ok());
        let term = term.and_then(additions::parse_lease_term);
        if term.is_some() || tells_all {
            let millis = term.map_or(0, |term| u64::try_from(term.as_millis()).unwrap_or(u64::MAX));
            if self.0.told.lease_term.swap(millis, Ordering::Relaxed) != millis {
                self.0.told.lease_term_changed.notify_one();
            }
        }
    }
}

/// A successful answer.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// When it began to come.
    began: BootTime,
}

impl Reply {
    /// The reply, unless it is none of the protocol's: whoever else says 200 has done nothing of what was asked.
    /// Payloads of jobs are looked at where they are read.
    fn of_the_protocol(self, call: QueueCall) -> Result<Self, ApiError> {
        let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(&self.body).is_ok();
        let fits = match call {
            QueueCall::Dequeue => true,
            _ if self.status == StatusCode::NO_CONTENT => true,
            // There is no entry without its number.
            QueueCall::AddLogEntry => is_json(),
            _ => self.body.is_empty() || is_json(),
        };
        if fits { Ok(self) } else { Err(ApiError::Foreign { body: self.body }) }
    }

    /// The body as JSON; `None` when there is none.
    fn json<T: serde::de::DeserializeOwned>(&self) -> Result<Option<T>, ApiError> {
        if self.status == StatusCode::NO_CONTENT || self.body.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&self.body).map(Some).map_err(ApiError::Decode)
    }
}

/// A call's documented name in metrics.
const fn operation(call: QueueCall) -> &'static str {
    match call {
        QueueCall::Dequeue => "Dequeue",
        QueueCall::Heartbeat => "Heartbeat",
        QueueCall::AddLogEntry => "AddExecutionLogEntry",
        QueueCall::UpdateLogEntry => "UpdateExecutionLogEntry",
        QueueCall::AppendLog => "AppendExecutionLog",
        QueueCall::MarkComplete => "MarkComplete",
        QueueCall::MarkErrored => "MarkErrored",
        QueueCall::MarkFailed => "MarkFailed",
    }
}

/// The beginning of a refusal, as much of it as tells whose it is.
pub(crate) async fn refusal(mut response: Response) -> Bytes {
    let mut body = Vec::new();
    let reading = async {
        while body.len() < LONGEST_REFUSAL
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
    };
    let _ = tokio::time::timeout(CALL_TIMEOUT, reading).await;
    body.truncate(LONGEST_REFUSAL);
    body.into()
}

async fn read_to_end(mut response: Response) -> Result<Bytes, ApiError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(ApiError::transport)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(ApiError::TooLarge { limit: MAX_ANSWER });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

fn secret_header(credentials: Credentials<'_>) -> HeaderValue {
    // A secret with control characters can't be sent; the empty header is then refused with 401.
    let mut value =
        HeaderValue::from_str(&credentials.to_header()).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
