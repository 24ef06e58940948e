//! One call of the Engine API, over one connection of its own.
//!
//! Connections to a socket cost next to nothing, and one per call means that nothing waits behind a
//! call that takes long, and that a broken one is told from all others.

use super::endpoint::Endpoint;
use super::error::EngineError;
use super::version::{self, Engine};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long an ordinary call may take. A busy disk makes creating a container slow.
const CALL_LIMIT: Duration = Duration::from_mins(1);
/// Bytes of an answer that is read as a whole.
const LONGEST_ANSWER: usize = 16 << 20;
/// Bytes of a refusal's text; of a longer one nothing is told but its status.
const LONGEST_REFUSAL: usize = 64 << 10;
const REGISTRY_AUTH: HeaderName = HeaderName::from_static("x-registry-auth");

/// Talks to one engine.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Endpoint,
    /// What the engine said of itself; forgotten when it goes away, since another may come back.
    engine: Mutex<Option<Arc<Engine>>>,
}

/// A call.
pub(super) struct Ask {
    method: Method,
    path: String,
    /// What is asked for, in the infinitive, for messages.
    what: &'static str,
    body: Option<Vec<u8>>,
    registry_auth: Option<HeaderValue>,
    upgrade: bool,
    limit: Option<Duration>,
}

impl Ask {
    fn new(method: Method, path: impl Into<String>, what: &'static str) -> Self {
        Self {
            method,
            path: path.into(),
            what,
            body: None,
            registry_auth: None,
            upgrade: false,
            limit: Some(CALL_LIMIT),
        }
    }

    pub(super) fn get(path: impl Into<String>, what: &'static str) -> Self {
        Self::new(Method::GET, path, what)
    }

    pub(super) fn post(path: impl Into<String>, what: &'static str) -> Self {
        Self::new(Method::POST, path, what)
    }

    pub(super) fn delete(path: impl Into<String>, what: &'static str) -> Self {
        Self::new(Method::DELETE, path, what)
    }

    pub(super) fn json(mut self, body: &impl Serialize) -> Result<Self, EngineError> {
        let odd = |why: serde_json::Error| EngineError::Odd { what: self.what, why: why.to_string() };
        self.body = Some(serde_json::to_vec(body).map_err(odd)?);
        Ok(self)
    }

    /// `value` is never shown.
    pub(super) fn registry_auth(mut self, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.registry_auth = Some(value);
        self
    }

    /// The engine may take as long as it likes to answer.
    pub(super) fn without_limit(mut self) -> Self {
        self.limit = None;
        self
    }

    /// The connection becomes the answer.
    pub(super) fn upgrading(mut self) -> Self {
        self.upgrade = true;
        self
    }

    fn request(self, prefix: &str) -> Result<Request<Full<Bytes>>, EngineError> {
        let what = self.what;
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("{prefix}{}", self.path))
            .header(HOST, "engine")
            .header(CONTENT_TYPE, "application/json");
        if self.upgrade {
            request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "tcp");
        }
        if let Some(value) = self.registry_auth {
            request = request.header(REGISTRY_AUTH, value);
        }
        let body = Full::new(Bytes::from(self.body.unwrap_or_default()));
        request.body(body).map_err(|error| EngineError::Odd { what, why: error.to_string() })
    }
}

impl Client {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, engine: Mutex::new(None) }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The engine at the other end.
    pub(super) async fn engine(&self) -> Result<Arc<Engine>, EngineError> {
        if let Some(known) = self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(known);
        }
        let ask = Ask::get("/version", "tell its version");
        let (what, limit) = (ask.what, ask.limit);
        let engine = within(what, limit, async { read_json(what, self.exchange(ask, "").await?).await });
        let engine = Arc::new(version::judge(engine.await?).map_err(EngineError::Version)?);
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&engine));
        Ok(engine)
    }

    /// An answer in JSON.
    pub(super) async fn read<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, EngineError> {
        let (what, limit) = (ask.what, ask.limit);
        within(what, limit, async { read_json(what, self.send(ask).await?).await }).await
    }

    /// An answer that says no more than that it worked.
    pub(super) async fn tell(&self, ask: Ask) -> Result<(), EngineError> {
        let (what, limit) = (ask.what, ask.limit);
        within(what, limit, async { read_body(what, self.send(ask).await?).await.map(drop) }).await
    }

    /// An answer as it is.
    pub(super) async fn bytes(&self, ask: Ask) -> Result<Bytes, EngineError> {
        let (what, limit) = (ask.what, ask.limit);
        within(what, limit, async { read_body(what, self.send(ask).await?).await }).await
    }

    /// An answer that comes piece by piece; the limit holds until it begins.
    pub(super) async fn begin(&self, ask: Ask) -> Result<Response<Incoming>, EngineError> {
        let (what, limit) = (ask.what, ask.limit);
        within(what, limit, self.send(ask)).await
    }

    /// The connection itself, after the engine has agreed to that.
    pub(super) async fn take_over(&self, ask: Ask) -> Result<TokioIo<hyper::upgrade::Upgraded>, EngineError> {
        let (what, limit) = (ask.what, ask.limit);
        let taken = within(what, limit, async {
            let response = self.send(ask.upgrading()).await?;
            hyper::upgrade::on(response).await.map_err(broken(what))
        });
        Ok(TokioIo::new(taken.await?))
    }

    async fn send(&self, ask: Ask) -> Result<Response<Incoming>, EngineError> {
        let prefix = self.engine().await?.prefix();
        let sent = self.exchange(ask, &prefix).await;
        if sent.as_ref().is_err_and(EngineError::is_outage) {
            *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        sent
    }

    async fn exchange(&self, ask: Ask, prefix: &str) -> Result<Response<Incoming>, EngineError> {
        let what = ask.what;
        let stream = TokioIo::new(self.endpoint.connect().await?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken(what))?;
        // Ends when the answer is read or dropped; what breaks it, the answer's reader hears too.
        tokio::spawn(connection.with_upgrades());
        let response = sender.send_request(ask.request(prefix)?).await.map_err(broken(what))?;
        let status = response.status();
        if status.is_success() || status.is_informational() {
            return Ok(response);
        }
        Err(EngineError::Refused { what, status: status.as_u16(), said: said(response).await })
    }
}

async fn within<T>(
    what: &'static str,
    limit: Option<Duration>,
    call: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    // A call's future is large, and callers hold several.
    let call = Box::pin(call);
    let Some(limit) = limit else { return call.await };
    tokio::time::timeout(limit, call).await.unwrap_or(Err(EngineError::Late { what, limit }))
}

async fn read_json<T: DeserializeOwned>(
    what: &'static str,
    response: Response<Incoming>,
) -> Result<T, EngineError> {
    let body = read_body(what, response).await?;
    serde_json::from_slice(&body).map_err(|error| EngineError::Odd { what, why: error.to_string() })
}

async fn read_body(what: &'static str, response: Response<Incoming>) -> Result<Bytes, EngineError> {
    let read = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    read.map(http_body_util::Collected::to_bytes).map_err(|source| EngineError::Broken { what, source })
}

/// Why the engine refused: its `message`, or whatever it wrote.
async fn said(response: Response<Incoming>) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
    }
    let read = Limited::new(response.into_body(), LONGEST_REFUSAL).collect().await;
    let body = read.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let text = match serde_json::from_slice::<Refusal>(&body) {
        Ok(refusal) => refusal.message,
        Err(_) => String::from_utf8_lossy(&body).into_owned(),
    };
    text.trim().replace(['\n', '\r'], " ")
}

pub(super) fn broken<E: Error + Send + Sync + 'static>(what: &'static str) -> impl FnOnce(E) -> EngineError {
    move |source| EngineError::Broken { what, source: Box::new(source) }
}
