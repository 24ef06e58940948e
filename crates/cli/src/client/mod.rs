//! The client of the control plane's API.

mod download;
#[cfg(test)]
pub(crate) mod fake;
mod query;
mod settings;
mod sse;

pub(crate) use query::with_query;
pub(crate) use settings::Settings;

use crate::exit::{Exit, Failure, chain};
use crate::shown;
use jobs::JobSpec;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Method, Request, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use server::api::{FileView, JobFault, JobView, Page, Problem, SubmittedJobs};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tls::{Mismatch, Roots};
use tokio::io::AsyncReadExt;
use tokio_util::io::{InspectReader, ReaderStream};
use url::Url;
use wire::additions::IDEMPOTENCY_KEY;

/// Items of a list that are asked for at one time.
const PAGE: u32 = 500;
/// How long one call may take, streams aside.
const CALL_TIMEOUT: Duration = Duration::from_mins(2);
/// How long a call may take for which the control plane may have to fetch a repository: as long as it
/// tries, and as long as any call.
const FETCH_TIMEOUT: Duration = server::GIT_FETCH.saturating_add(CALL_TIMEOUT);
/// How long an upload may take.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(30);
/// How long to look for a server that is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept: half of what the server keeps it, so that no call meets one that
/// was just closed.
const IDLE: Duration = Duration::from_secs(30);

/// What a server says of a result that lies on the disk of another one. Behind a balancer the next connection may meet that one.
const ELSEWHERE: &str = "result_elsewhere";
/// How often that is tried. Whoever calls one server by its address is told the same each time, and is not to wait for it.
const MOST_ELSEWHERE: u32 = 8;
/// Pause between two such tries.
const ELSEWHERE_PAUSE: Duration = Duration::from_millis(50);

/// A control plane and the right to use it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// The same, with a connection of its own for each request.
    anew: reqwest::Client,
    base: Url,
    token: SecretString,
}

/// A key that tells a submission from all others.
pub(crate) fn new_key() -> Result<String, Failure> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|fault| Failure::chain(Exit::System, &fault))?;
    Ok(hex::encode(key))
}

impl Client {
    pub(crate) fn new(base: Url, token: SecretString, roots: &Roots) -> Result<Self, Failure> {
        let build = |kept: usize| {
            let http = reqwest::Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .user_agent(concat!("executor/", env!("CARGO_PKG_VERSION")))
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(kept)
                .tls_backend_preconfigured(roots.client_config());
            http.build().map_err(|fault| Failure::chain(Exit::System, &fault))
        };
        Ok(Self { http: build(usize::MAX)?, anew: build(0)?, base, token })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.request(Method::GET, path).timeout(CALL_TIMEOUT)).await
    }

    /// All of a list, read page by page.
    pub(crate) async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        self.all_of(path, []).await
    }

    /// The same of what `filter` leaves in it.
    pub(crate) async fn all_of<T: DeserializeOwned, const N: usize>(
        &self,
        path: &str,
        filter: [(&str, Option<String>); N],
    ) -> Result<Vec<T>, Failure> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = [("limit", Some(PAGE.to_string())), ("cursor", cursor)];
            let page: Page<T> = self.get(&with_query(path, filter.clone().into_iter().chain(page))).await?;
            all.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// Plain text.
    pub(crate) async fn get_text(&self, path: &str) -> Result<String, Failure> {
        let response = self.send(self.request(Method::GET, path).timeout(CALL_TIMEOUT)).await?;
        response.text().await.map_err(|fault| self.unreadable(&fault))
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(self.request(Method::POST, path).timeout(CALL_TIMEOUT).json(body)).await
    }

    /// Posts what the control plane may have to fetch a repository for.
    pub(crate) async fn post_fetching<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(self.fetching(path, body)).await
    }

    /// Where the control plane is.
    pub(crate) const fn url(&self) -> &Url {
        &self.base
    }

    /// Submits a job. Made again, the call is told from another one by the key, one of its own unless there is one; so a
    /// connection that was cut costs nothing.
    pub(crate) async fn submit(&self, spec: &JobSpec, key: Option<String>) -> Result<JobView, Failure> {
        let key = key.map_or_else(new_key, Ok)?;
        self.read(self.fetching("/api/v1/jobs", spec).header(IDEMPOTENCY_KEY, key)).await
    }

    /// Submits many jobs, each of which has a key; so a connection that was cut costs nothing. Of what is refused it is told
    /// which of the jobs that is about.
    pub(crate) async fn submit_all(
        &self,
        jobs: &impl Serialize,
    ) -> Result<SubmittedJobs, (Failure, Vec<JobFault>)> {
        let none = |failure| (failure, Vec::new());
        let sent = send(self.fetching("/api/v1/jobs/batch", jobs), Again::Harmless).await;
        let response = sent.map_err(|fault| none(self.unreachable(fault)))?;
        if !response.status().is_success() {
            let (failure, problem) = refusal_and_problem(response).await;
            return Err((failure, problem.map_or_else(Vec::new, |problem| problem.jobs)));
        }
        response.json().await.map_err(|fault| none(self.unreadable(&fault)))
    }

    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(self.request(Method::PUT, path).timeout(CALL_TIMEOUT).json(body)).await
    }

    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(self.request(Method::PATCH, path).timeout(CALL_TIMEOUT).json(body)).await
    }

    fn fetching(&self, path: &str, body: &impl Serialize) -> RequestBuilder {
        self.request(Method::POST, path).timeout(FETCH_TIMEOUT).json(body)
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send(self.request(Method::DELETE, path).timeout(CALL_TIMEOUT)).await.map(drop)
    }

    /// Uploads a file that jobs may name.
    pub(crate) async fn upload(
        &self,
        name: &str,
        file: tokio::fs::File,
        size: u64,
    ) -> Result<FileView, Failure> {
        let hash = Arc::new(Mutex::new(Sha256::new()));
        let hashing = Arc::clone(&hash);
        let hashed = InspectReader::new(file.take(size), move |bytes| {
            hashing.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
        });
        let path = format!("/api/v1/files?name={}", utf8_percent_encode(name, NON_ALPHANUMERIC));
        let request = self
            .request(Method::POST, &path)
            .timeout(UPLOAD_TIMEOUT)
            .header(CONTENT_LENGTH, size)
            .body(Body::wrap_stream(ReaderStream::new(hashed)));
        let response = self.send(request).await?;
        let kept: FileView = response.json().await.map_err(|fault| self.unreadable(&fault))?;
        let sent = hash.lock().unwrap_or_else(PoisonError::into_inner).finalize_reset();
        if kept.sha256 != hex::encode(sent) {
            return Err(Failure::system(format!(
                "file {name} did not arrive at {} as it was sent",
                self.base
            )));
        }
        Ok(kept)
    }

    /// Follows a job's log from its beginning.
    pub(crate) fn follow(&self, job: i64) -> sse::Follow {
        sse::Follow::new(self.clone(), format!("/api/v1/jobs/{job}/logs/stream"))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        self.http.request(method, url).bearer_auth(self.token.expose_secret())
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = self.send(request).await?;
        response.json().await.map_err(|fault| self.unreadable(&fault))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let again = request.try_clone();
        let response = send(request, Again::AsTold).await.map_err(|fault| self.unreachable(fault))?;
        if response.status().is_success() {
            return Ok(response);
        }
        match (refusal_and_problem(response).await, again) {
            ((failure, problem), Some(again)) if is_elsewhere(problem.as_ref()) => {
                self.send_elsewhere(again, failure).await
            }
            ((failure, _), _) => Err(failure),
        }
    }

    /// Looks for the server that has what others refused with `failure`: such a request changed nothing.
    async fn send_elsewhere(
        &self,
        request: RequestBuilder,
        mut failure: Failure,
    ) -> Result<Response, Failure> {
        let (_, request) = request.build_split();
        let request = request.map_err(|fault| self.unreachable(fault))?;
        for _ in 1..MOST_ELSEWHERE {
            tokio::time::sleep(ELSEWHERE_PAUSE).await;
            let Some(again) = request.try_clone() else { break };
            let response = self.anew.execute(again).await.map_err(|fault| self.unreachable(fault))?;
            if response.status().is_success() {
                return Ok(response);
            }
            let problem;
            (failure, problem) = refusal_and_problem(response).await;
            if !is_elsewhere(problem.as_ref()) {
                break;
            }
        }
        Err(failure)
    }

    fn unreachable(&self, fault: reqwest::Error) -> Failure {
        // The URL is already told.
        let fault = fault.without_url();
        let (base, why) = (&self.base, chain(&fault));
        Failure::system(if let Some(mismatch) = Mismatch::of(&fault) {
            format!("the control plane at {base} can't be called: {}", mismatch.told())
        } else if tls::comes_of_tls(&fault) {
            format!(
                "the control plane at {base} can't be trusted over TLS: {why}; if its certificate is of a private \
                 authority, name that one's by SSL_CERT_FILE, or add it to the certificates of this machine"
            )
        } else if fault.is_timeout() && !fault.is_connect() {
            format!(
                "the control plane at {base} took the request and did not answer in time: {why}; its log tells what \
                 it does, and the request may still be done"
            )
        } else {
            format!(
                "no answer from the control plane at {base}: {why}; is `executor up` or `executor server` running there?"
            )
        })
    }

    fn unreadable(&self, fault: &reqwest::Error) -> Failure {
        Failure::system(format!("the answer of {} can't be read: {}", self.base, chain(fault)))
    }
}

/// Whether sending a request twice does no harm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Harmless,
    /// The method or a header tells.
    AsTold,
}

/// Sends a request. Where sending it twice does no harm, a connection that was closed before any byte of
/// the answer came is no reason to give up: a proxy may have closed it while it was idle.
async fn send(request: RequestBuilder, again_is: Again) -> reqwest::Result<Response> {
    let again = request.try_clone();
    match (request.send().await, again) {
        (Err(fault), Some(again)) if was_cut(&fault) => {
            let again = again.build_split();
            match again {
                (client, Ok(again)) if again_is == Again::Harmless || may_be_repeated(&again) => {
                    client.execute(again).await
                }
                _ => Err(fault),
            }
        }
        (sent, _) => sent,
    }
}

fn may_be_repeated(request: &Request) -> bool {
    request.method().is_idempotent() || request.headers().contains_key(IDEMPOTENCY_KEY)
}

/// The connection was there, and ended before the answer began.
fn was_cut(fault: &reqwest::Error) -> bool {
    fault.is_request() && !fault.is_connect() && !fault.is_timeout() && !fault.is_builder()
}

/// Whether another server has what was asked for.
fn is_elsewhere(problem: Option<&Problem>) -> bool {
    problem.is_some_and(|problem| problem.code == ELSEWHERE)
}

/// What the control plane says it refused. Faults of the request are the caller's to mend.
async fn refusal(response: Response) -> Failure {
    refusal_and_problem(response).await.0
}

/// The same, with all of it that programs understand.
async fn refusal_and_problem(response: Response) -> (Failure, Option<Problem>) {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    if tls::wants_tls(status, &text) {
        let told = format!("the control plane can't be called: {}", Mismatch::NoHttp.told());
        return (Failure::system(told), None);
    }
    let beginning =
        || format!("the control plane answered {status}: {}", text.chars().take(300).collect::<String>());
    let problem = serde_json::from_str::<Problem>(&text).ok();
    let message = problem.as_ref().map_or_else(beginning, |problem| problem.detail.clone());
    // A refusal is one line, whatever the control plane, or whoever stands in its place, says.
    let message = shown::line(&message);
    let failure = if status.is_client_error() { Failure::usage(message) } else { Failure::system(message) };
    (failure, problem)
}

#[cfg(test)]
mod tests {
    use super::fake::FakeServer;
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    /// A server that hangs up on so many requests before it answers one; counts all of them.
    async fn rude_server(listener: TcpListener, mut hang_ups: u32) -> u32 {
        let mut seen = 0;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.windows(4).any(|part| part == b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            seen += 1;
            if hang_ups == 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7").await.unwrap();
                return seen;
            }
            hang_ups -= 1;
        }
    }

    async fn call(method: Method, hang_ups: u32) -> Result<(String, u32), Failure> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(rude_server(listener, hang_ups));
        let client = Client::new(base, "token".into(), &Roots::default()).unwrap();
        let response = client.send(client.request(method, "/x")).await?;
        Ok((response.text().await.unwrap(), server.await.unwrap()))
    }

    #[test]
    fn a_call_that_may_fetch_a_repository_waits_for_longer_than_that_takes() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = "http://127.0.0.1:1".parse().unwrap();
        let client = Client::new(base, "token".into(), &Roots::default()).unwrap();
        let request = client.fetching("/x", &()).build().unwrap();
        let limit = request.timeout().copied().unwrap();
        assert!(limit > server::Limits::default().git_fetch, "{limit:?}");
    }

    /// What whoever calls a server by `scheme` is told, which says `says` to everybody.
    async fn told_by(scheme: &str, says: &[u8]) -> String {
        let server = FakeServer::that_says(says, scheme).await;
        server.client.get::<serde_json::Value>("/x").await.unwrap_err().message
    }

    #[tokio::test]
    async fn plain_http_and_tls_taken_for_each_other_are_told_in_words() {
        let plain = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        let told = told_by("https", plain).await;
        assert!(told.contains("speaks no TLS: begin the URL with http://"), "{told}");
        // The alert of TLS that is sent back for what is none.
        let told = told_by("http", b"\x15\x03\x01\x00\x02\x02\x46").await;
        assert!(told.contains("begin the URL with https://"), "{told}");
        let go = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
        let told = told_by("http", go).await;
        assert!(told.contains("begin the URL with https://"), "{told}");
    }

    /// Servers behind a balancer that gives each connection to the next one: the last of so many has what is asked for, and each
    /// keeps its connections open. Tells what came of it, and how many connections there were.
    async fn on_the_last_of(servers: usize, path: &str) -> (Result<String, Failure>, usize) {
        const REFUSED: &str =
            r#"{"code":"result_elsewhere","status":503,"title":"t","detail":"it is not here"}"#;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let met = Arc::clone(&connections);
        let balancer = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let has_it = met.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 == servers;
                let told = if has_it { ("200 OK", "7") } else { ("503 Service Unavailable", REFUSED) };
                tokio::spawn(async move {
                    let mut heard = [0; 4 << 10];
                    while stream.read(&mut heard).await.is_ok_and(|read| read > 0) {
                        let (status, body) = told;
                        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                        stream.write_all((head + body).as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let client = Client::new(base, "token".into(), &Roots::default()).unwrap();
        let got = client.get_text(path).await;
        balancer.abort();
        (got, connections.load(std::sync::atomic::Ordering::Relaxed))
    }

    #[tokio::test]
    async fn the_server_that_has_a_result_is_looked_for_a_few_times() {
        let (found, connections) = on_the_last_of(3, "/x").await;
        assert_eq!((found.unwrap().as_str(), connections), ("7", 3));
        let (not_found, connections) = on_the_last_of(usize::MAX, "/x").await;
        assert_eq!(not_found.unwrap_err().message, "it is not here");
        assert_eq!(connections, MOST_ELSEWHERE as usize);
    }

    #[tokio::test]
    async fn a_call_that_was_cut_is_made_once_more_where_that_does_no_harm() {
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(call(method, 1).await.unwrap(), ("7".to_owned(), 2));
        }
        assert!(call(Method::GET, 2).await.is_err(), "once is enough");
        assert!(call(Method::POST, 1).await.is_err(), "a job would be submitted twice");
        assert_eq!(call(Method::POST, 0).await.unwrap(), ("7".to_owned(), 1));
    }
}
