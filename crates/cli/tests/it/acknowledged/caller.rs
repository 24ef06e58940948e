//! Whoever calls the server, and repeats each call until it is answered.

use super::ledger::Ledger;
use crate::support::{System, http_builder};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long to wait before a call is made again.
pub(super) const PAUSE: Duration = Duration::from_millis(30);
/// How long an answer may take: calls wait for a database that is away.
const ANSWER: Duration = Duration::from_mins(1);

/// Somebody who calls the server.
#[derive(Clone)]
pub(super) struct Caller {
    client: reqwest::Client,
    url: String,
    token: String,
    shared_secret: String,
    pub(super) ledger: Arc<Ledger>,
    /// No more is to be asked for.
    stop: Arc<AtomicBool>,
    /// Nor is there anything left to run.
    left: Arc<AtomicBool>,
}

impl Caller {
    pub(super) fn new(system: &System, ledger: Arc<Ledger>) -> Self {
        Self {
            // Where somebody who signed in is led to, they need not go.
            client: http_builder().redirect(Policy::none()).build().unwrap(),
            url: system.url(),
            token: system.setting("apiToken"),
            shared_secret: system.shared_secret(),
            ledger,
            stop: Arc::default(),
            left: Arc::default(),
        }
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// A call of whoever may do everything.
    pub(super) fn api(&self, method: &str, path: &str) -> RequestBuilder {
        self.call(method, &format!("/api/v1{path}")).bearer_auth(&self.token)
    }

    /// A call of an executor in its own name.
    pub(super) fn shared(&self, method: &str, path: &str) -> RequestBuilder {
        let credentials = format!("token-executor {}", self.shared_secret);
        self.call(method, path).header("Authorization", credentials)
    }

    /// A call of nobody. An address that shows many bad secrets has to wait: each of these comes from one of its own.
    pub(super) fn anonymous(&self, method: &str, path: &str, number: usize) -> RequestBuilder {
        let from = Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(number).unwrap());
        self.call(method, path).header("X-Forwarded-For", from.to_string())
    }

    pub(super) fn call(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.client.request(method.parse().unwrap(), url).timeout(ANSWER)
    }

    /// Makes a call until there is an answer that says what was done.
    pub(super) async fn until_answered(&self, call: impl Fn() -> RequestBuilder) -> (StatusCode, String) {
        let (status, body) = self.until_heard(call).await;
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// The same, where the answer need not be text.
    pub(super) async fn until_heard(&self, call: impl Fn() -> RequestBuilder) -> (StatusCode, Vec<u8>) {
        loop {
            if let Some(heard) = self.once(call()).await {
                return heard;
            }
        }
    }

    /// Makes a call once. `None`, after a moment, where no answer says what was done.
    pub(super) async fn once(&self, call: RequestBuilder) -> Option<(StatusCode, Vec<u8>)> {
        if let Ok(response) = call.send().await {
            let status = response.status();
            assert_ne!(status, StatusCode::INSUFFICIENT_STORAGE, "there is room for all that is asked here");
            let worth_a_word = !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS;
            if let (true, Ok(body)) = (worth_a_word, response.bytes().await) {
                return Some((status, body.to_vec()));
            }
        }
        self.ledger.again();
        tokio::time::sleep(PAUSE).await;
        None
    }

    pub(super) async fn read(&self, path: &str) -> Value {
        let (status, text) = self.until_answered(|| self.api("GET", path)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// All of a list, page by page.
    pub(super) async fn list(&self, path: &str) -> Vec<Value> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.read(&format!("{path}?limit=500{cursor}")).await;
            all.extend(page["items"].as_array().unwrap().iter().cloned());
            let next = &page["nextCursor"];
            if next.is_null() {
                return all;
            }
            cursor = format!("&cursor={}", next.as_str().map_or_else(|| next.to_string(), str::to_owned));
        }
    }

    /// Makes a call once that writes over what was written before; says whether it was answered.
    pub(super) async fn has_written(&self, what: &str, number: u64, call: RequestBuilder) -> bool {
        let Some((status, body)) = self.once(call).await else { return false };
        assert!(status.is_success(), "{what}: {status} {}", String::from_utf8_lossy(&body));
        self.ledger.written(what, number);
        true
    }

    /// Makes something; whoever made it by a call whose answer was lost is told that it is there.
    pub(super) async fn make(&self, path: &str, body: &Value) -> Option<Value> {
        let (status, text) = self.until_answered(|| self.api("POST", path).json(body)).await;
        if status == StatusCode::CONFLICT {
            return None;
        }
        assert_eq!(status, StatusCode::CREATED, "{path}: {text}");
        Some(serde_json::from_str(&text).unwrap_or(json!(null)))
    }

    /// Removes something; it is gone as well where a call did it whose answer was lost.
    pub(super) async fn remove(&self, path: &str) {
        let (status, text) = self.until_answered(|| self.api("DELETE", path)).await;
        assert!(status.is_success() || status == StatusCode::NOT_FOUND, "{path}: {status} {text}");
    }
}
