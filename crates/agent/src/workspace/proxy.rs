//! Lets git clone without ever seeing a credential: a proxy on loopback that adds them.
//!
//! It serves one repository, only what a clone needs, and only to whoever knows a number that is
//! made for this clone and handed to our git alone. It ends with the clone, with every connection.
//!
//! To git a control plane that died looks like any other failure, so the proxy remembers it.

use super::serve::{self, ProxyBody};
use crate::api::{Api, ApiError, Backoff, JobAuth, endpoint, refusal};
use crate::error::chain;
use crate::random;
use futures_util::TryStreamExt;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body_util::{BodyDataStream, BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use percent_encoding::percent_decode_str;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;
use wire::headers::{ACTOR_INTERNAL, ACTOR_UID};
use wire::paths::GIT;

/// Proves that a request comes from our own git.
const NONCE: &str = "x-executor-clone";
/// How long git waits for an answer about refs while the control plane is away; then it is run again.
const UPSTREAM_PATIENCE: Duration = Duration::from_mins(1);
/// How the types of git's answers begin.
const GIT_TYPE: &[u8] = b"application/x-git-";
/// What of a request is passed on.
const REQUEST_HEADERS: [HeaderName; 5] =
    [ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, CONTENT_ENCODING, HeaderName::from_static("git-protocol")];
/// What of an answer is passed on.
const ANSWER_HEADERS: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, CACHE_CONTROL];

/// A running proxy; dropping it ends it.
pub(super) struct GitProxy {
    port: u16,
    shared: Arc<Shared>,
    _server: AbortOnDropHandle<()>,
}

struct Shared {
    api: Api,
    auth: JobAuth,
    repository: String,
    nonce: String,
    /// How the control plane failed to serve git, since somebody last asked.
    fault: Mutex<Option<Fault>>,
}

/// How the control plane failed to serve git.
pub(super) struct Fault {
    /// What it did, to be read after "the control plane".
    pub(super) what: String,
    /// How long it asked to be left alone: zero if it did not.
    pub(super) pause: Duration,
}

impl GitProxy {
    pub(super) async fn start(api: Api, auth: JobAuth, repository: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let nonce = hex::encode(random::bytes::<16>());
        let shared =
            Arc::new(Shared { api, auth, repository: repository.to_owned(), nonce, fault: Mutex::default() });
        let handler = Arc::clone(&shared);
        let server = serve::serve(listener, move |request| {
            let handler = Arc::clone(&handler);
            async move { handler.answer(request).await }
        });
        Ok(Self { port, shared, _server: AbortOnDropHandle::new(tokio::spawn(server)) })
    }

    /// What git is to clone.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{}", self.port, self.shared.repository)
    }

    /// How the control plane failed since this was last asked: it could not be reached, had a fault
    /// of its own, had no time for us, or cut an answer off.
    pub(super) fn take_fault(&self) -> Option<Fault> {
        self.shared.fault().take()
    }

    /// The header that git has to send.
    pub(super) fn nonce_header(&self) -> String {
        format!("{NONCE}: {}", self.shared.nonce)
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<ProxyBody> {
        let Some((path, query)) = self.permitted(&request) else { return empty(StatusCode::FORBIDDEN) };
        match self.forward(request, &path, query).await {
            Ok(response) => response,
            Err(error) => {
                warn!(job = %self.auth.id, error = chain(&error), "the control plane did not serve git");
                let what = match (&error, error.code()) {
                    (_, Some(status)) => format!("answered with status {}", status.as_u16()),
                    (ApiError::Foreign { .. }, _) => "did not answer itself".to_owned(),
                    _ => "could not be reached".to_owned(),
                };
                self.note(Fault { what, pause: error.retry_after().unwrap_or_default() });
                // As a fault of a server's own, whatever it was: git would do odd things with a 401.
                empty(error.code().filter(StatusCode::is_server_error).unwrap_or(StatusCode::BAD_GATEWAY))
            }
        }
    }

    /// The path below the git prefix and the query of a request that a clone needs.
    fn permitted<B>(&self, request: &Request<B>) -> Option<(String, Option<&'static str>)> {
        let shown = request.headers().get(NONCE).map(http::HeaderValue::as_bytes).unwrap_or_default();
        if !bool::from(shown.ct_eq(self.nonce.as_bytes())) {
            return None;
        }
        let path = percent_decode_str(request.uri().path()).decode_utf8().ok()?;
        let call = path.strip_prefix('/')?.strip_prefix(&self.repository)?;
        let query = match (request.method(), call, request.uri().query()) {
            (&Method::GET, "/info/refs", Some("service=git-upload-pack")) => Some("service=git-upload-pack"),
            (&Method::POST, "/git-upload-pack", None) => None,
            _ => return None,
        };
        Some((path.into_owned(), query))
    }

    async fn forward(
        self: &Arc<Self>,
        request: Request<Incoming>,
        path: &str,
        query: Option<&str>,
    ) -> Result<Response<ProxyBody>, ApiError> {
        let mut url = endpoint(&self.api.config().frontend_url, &format!("{GIT}{path}"));
        if let Some(query) = query {
            url.set_query(Some(query));
        }
        let mut headers = only(request.headers(), &REQUEST_HEADERS);
        headers.extend(self.api.job_headers(&self.auth));
        headers.insert(ACTOR_UID, http::HeaderValue::from_static(ACTOR_INTERNAL));
        let mut upstream = self.api.http().request(request.method().clone(), url).headers(headers);
        if request.method() == Method::POST {
            upstream = upstream.body(reqwest::Body::wrap_stream(BodyDataStream::new(request.into_body())));
        }
        let answer = send(upstream, self.api.config().clone_patience).await?;
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.headers_mut() = only(answer.headers(), &ANSWER_HEADERS);
        let noting = Arc::clone(self);
        let body = answer.bytes_stream().map_ok(Frame::data).map_err(move |fault| {
            warn!(job = %noting.auth.id, error = chain(&fault), "the control plane cut an answer to git off");
            noting.note(Fault { what: "cut its answer off".to_owned(), pause: Duration::ZERO });
            std::io::Error::other(fault)
        });
        Ok(response.map(|()| StreamBody::new(body).boxed_unsync()))
    }

    fn note(&self, fault: Fault) {
        *self.fault() = Some(fault);
    }

    fn fault(&self) -> MutexGuard<'_, Option<Fault>> {
        // One assignment can't be left half done.
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a request; one without a body that is streamed is sent again while the control plane is
/// away for a moment, or asks to come later.
async fn send(upstream: reqwest::RequestBuilder, patience: Duration) -> Result<reqwest::Response, ApiError> {
    let Some(mut again) = upstream.try_clone() else {
        return served(upstream.send().await.map_err(ApiError::transport)?).await;
    };
    let over = Instant::now() + patience.min(UPSTREAM_PATIENCE);
    let mut backoff = Backoff::default();
    loop {
        let next = again.try_clone().ok_or_else(gave_up)?;
        let answer = match timeout_at(over, again.send()).await {
            Ok(Ok(answer)) => served(answer).await,
            Ok(Err(fault)) => Err(ApiError::transport(fault)),
            Err(_) => Err(gave_up()),
        };
        let Err(error) = answer else { return answer };
        let pause = backoff.pause_after("serve git", &error);
        if !error.may_pass() || Instant::now() + pause >= over {
            return Err(error);
        }
        sleep(pause).await;
        again = next;
    }
}

/// The answer, unless it says nothing of the repository: a fault of the control plane's own, a plea to come later,
/// or the word of something else in its place.
async fn served(answer: reqwest::Response) -> Result<reqwest::Response, ApiError> {
    let (status, headers) = (answer.status(), answer.headers().clone());
    if status.is_success() {
        let is_git = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(GIT_TYPE));
        return if is_git { Ok(answer) } else { Err(ApiError::Foreign { body: refusal(answer).await }) };
    }
    let body = refusal(answer).await;
    let error = ApiError::status(status, &headers, body.clone());
    if !error.is_final_word() {
        return Err(error);
    }
    let mut refused = Response::new(body);
    *refused.status_mut() = status;
    *refused.headers_mut() = only(&headers, &ANSWER_HEADERS);
    Ok(refused.into())
}

fn gave_up() -> ApiError {
    ApiError::Local { what: "get an answer in time", source: std::io::ErrorKind::TimedOut.into() }
}

fn only(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let kept = names.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
    kept.collect()
}

fn empty(status: StatusCode) -> Response<ProxyBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
