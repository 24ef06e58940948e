//! Sends spans, and gives up on those that can't be sent.

use super::span::Span;
use super::{Context, Tracing, otlp};
use crate::config::AgentConfig;
use crate::error::chain;
use http::header::CONTENT_TYPE;
use reqwest::Client;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};
use wire::JobId;

/// Jobs whose spans may be under way; those of others are dropped.
const MOST_WAITING: u32 = 64;
/// How often, and after which pauses, a request is made again that failed.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// How long the end of the agent waits for what is under way.
const LAST: Duration = Duration::from_secs(1);

/// Sends spans to one collector. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tracer(Arc<Inner>);

struct Inner {
    client: Client,
    tracing: Tracing,
    name: String,
    version: String,
    under_way: Arc<Semaphore>,
    /// Whether it was said that spans are lost.
    told: AtomicBool,
    running: Mutex<BTreeMap<JobId, Context>>,
}

/// A job whose calls say which trace they belong to, while this lives.
pub(crate) struct Traced {
    tracer: Tracer,
    job: JobId,
}

impl Tracer {
    /// For what the configuration names; `None` when it names nothing.
    pub(crate) fn new(config: &AgentConfig) -> Option<Self> {
        let tracing = config.tracing.clone()?;
        let client = Client::builder()
            .timeout(tracing.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(config.roots.client_config())
            .build();
        let client = client
            .inspect_err(|error| {
                warn!(error = chain(error), "no traces are sent: an HTTP client can't be made");
            })
            .ok()?;
        Some(Self(Arc::new(Inner {
            client,
            tracing,
            name: config.name.clone(),
            version: config.telemetry.executor_version.clone(),
            under_way: Arc::new(Semaphore::new(MOST_WAITING as usize)),
            told: AtomicBool::new(false),
            running: Mutex::default(),
        })))
    }

    /// From now on the job's calls say that they belong to `context`.
    pub(crate) fn calls_of(&self, job: JobId, context: Context) -> Traced {
        self.running().insert(job, context);
        Traced { tracer: self.clone(), job }
    }

    /// What the calls of a job belong to.
    pub(crate) fn context_of(&self, job: JobId) -> Option<Context> {
        self.running().get(&job).copied()
    }

    /// Sends spans, without anybody waiting for it.
    pub(crate) fn send(&self, spans: Vec<Span>) {
        let Ok(place) = Arc::clone(&self.0.under_way).try_acquire_owned() else {
            self.lost("too many wait for the collector");
            return;
        };
        let tracer = self.clone();
        tokio::spawn(async move {
            let _place = place;
            tracer.deliver(&spans).await;
        });
    }

    /// Waits a moment for what is under way.
    pub(crate) async fn flush(&self) {
        let _ = timeout(LAST, self.0.under_way.acquire_many(MOST_WAITING)).await;
    }

    async fn deliver(&self, spans: &[Span]) {
        let Inner { tracing, name, version, .. } = &*self.0;
        let body = otlp::request(tracing, name, version, spans).to_string();
        for pause in PAUSES.map(Some).into_iter().chain([None]) {
            let error = match self.post(body.clone()).await {
                Ok(()) => {
                    self.0.told.store(false, Ordering::Relaxed);
                    return;
                }
                Err(error) => error,
            };
            match pause {
                Some(pause) => {
                    debug!(error, ?pause, "the collector did not take spans, trying again");
                    sleep(pause).await;
                }
                None => self.lost(&error),
            }
        }
    }

    async fn post(&self, body: String) -> Result<(), String> {
        let Inner { client, tracing, .. } = &*self.0;
        let mut request =
            client.post(tracing.endpoint.clone()).header(CONTENT_TYPE, "application/json").body(body);
        for (name, value) in &tracing.headers {
            request = request.header(name, value.expose_secret());
        }
        let answer = request.send().await.map_err(|error| chain(&error.without_url()))?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answers {}", status.as_u16())) }
    }

    /// Says that spans are lost, once until some arrive again.
    fn lost(&self, why: &str) {
        if !self.0.told.swap(true, Ordering::Relaxed) {
            warn!(why, "spans are lost: the collector does not take them");
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<JobId, Context>> {
        // Each change is one call.
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.tracer.running().remove(&self.job);
    }
}
