//! Clients and executors that repeat each call until it is answered.

use super::ledger::{Ended, Ledger};
use crate::support::{System, http};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long to wait before a call is made again.
const PAUSE: Duration = Duration::from_millis(30);
/// How long an answer may take: calls wait for a database that is away.
const ANSWER: Duration = Duration::from_mins(1);
/// Jobs on a page.
const PAGE: usize = 500;
/// Logs that are read at one time: a long storm leaves thousands.
const READERS: usize = 16;

/// Somebody who calls the server.
#[derive(Clone)]
pub(super) struct Caller {
    client: Client,
    url: String,
    token: String,
    shared_secret: String,
    ledger: Arc<Ledger>,
    /// No more is to be asked for.
    stop: Arc<AtomicBool>,
    /// Nor is there anything left to run.
    left: Arc<AtomicBool>,
}

impl Caller {
    pub(super) fn new(system: &System, ledger: Arc<Ledger>, stop: Arc<AtomicBool>) -> Self {
        Self {
            client: http(),
            url: system.url(),
            token: system.setting("apiToken"),
            shared_secret: system.shared_secret(),
            ledger,
            stop,
            left: Arc::default(),
        }
    }

    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    fn api(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("{}/api/v1{path}", self.url);
        self.client.request(method.parse().unwrap(), url).bearer_auth(&self.token).timeout(ANSWER)
    }

    /// Makes a call until there is an answer that says what was done.
    async fn until_answered(&self, call: impl Fn() -> RequestBuilder) -> (StatusCode, String) {
        loop {
            if let Ok(response) = call().send().await {
                let status = response.status();
                assert_ne!(
                    status,
                    StatusCode::INSUFFICIENT_STORAGE,
                    "there is room for all that is asked here"
                );
                let worth_a_word = !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS;
                if let (true, Ok(text)) = (worth_a_word, response.text().await) {
                    return (status, text);
                }
            }
            self.ledger.again();
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn read(&self, path: &str) -> Value {
        let (status, text) = self.until_answered(|| self.api("GET", path)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Submits one job after the other, some of them twice, and cancels some.
    pub(super) async fn submit(self, client: u64) {
        let mut n = 0_u64;
        while !self.stop.load(Ordering::Relaxed) {
            n += 1;
            let key = format!("client-{client}-{n}");
            let body = json!({"steps": [{"image": "busybox", "run": format!("echo {key}")}]});
            let submit = || self.api("POST", "/jobs").header("Idempotency-Key", &key).json(&body);
            for _ in 0..=u64::from(n.is_multiple_of(5)) {
                let (status, text) = self.until_answered(submit).await;
                assert_eq!(status, StatusCode::CREATED, "{key}: {text}");
                let job: Value = serde_json::from_str(&text).unwrap();
                self.ledger.job(&key, job["id"].as_i64().unwrap());
            }
            let id = *self.ledger.keys()[&key].first().unwrap();
            if n.is_multiple_of(4) {
                let cancel = || self.api("POST", &format!("/jobs/{id}/cancel"));
                let (status, text) = self.until_answered(cancel).await;
                // It may have ended before, or by the same call of which no answer came.
                match status {
                    StatusCode::OK => {
                        let job: Value = serde_json::from_str(&text).unwrap();
                        self.ledger.cancel(id, job["state"] == "canceled");
                    }
                    StatusCode::CONFLICT => {}
                    _ => panic!("cancel of {id}: {status} {text}"),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Keeps secrets, and makes and revokes tokens.
    pub(super) async fn keep(self) {
        let mut n = 0;
        while !self.stop.load(Ordering::Relaxed) {
            n += 1;
            // A namespace may have some hundred.
            let key = format!("KEPT_{}", n % 100);
            let secret = json!({"key": key, "value": format!("value-{n}")});
            let (status, text) = self.until_answered(|| self.api("PUT", "/secrets").json(&secret)).await;
            assert!(status.is_success(), "{key}: {status} {text}");
            self.ledger.secret(key);

            let token = json!({"name": format!("token-{n}"), "role": "reader"});
            let (status, text) = self.until_answered(|| self.api("POST", "/tokens").json(&token)).await;
            // Made by a call whose answer was lost, it is not shown again.
            if status == StatusCode::CREATED {
                let made: Value = serde_json::from_str(&text).unwrap();
                let value = made["token"].as_str().unwrap().to_owned();
                self.ledger.token(value.clone());
                if n % 2 == 0 {
                    self.ledger.doubt(&value);
                    let revoke = || self.api("DELETE", &format!("/tokens/{}", made["id"]));
                    let (status, text) = self.until_answered(revoke).await;
                    assert!(status.is_success() || status == StatusCode::NOT_FOUND, "{status} {text}");
                    self.ledger.revoke(value);
                }
            } else {
                assert_eq!(status, StatusCode::CONFLICT, "{text}");
            }
            tokio::time::sleep(PAUSE * 3).await;
        }
    }

    /// Takes jobs as any executor does, logs a text of some pieces, and completes them.
    pub(super) async fn execute(self, executor: u64) {
        let name = format!("scripted-{executor}");
        let (dequeue, credentials) = (
            format!("{}/.executors/queue/batches/dequeue", self.url),
            format!("token-executor {}", self.shared_secret),
        );
        while !self.left.load(Ordering::Relaxed) {
            let ask = self.client.post(&dequeue).header("Authorization", &credentials).timeout(ANSWER);
            let asked = ask.json(&json!({"executorName": name, "version": "5.9.0"})).send().await;
            let Ok(response) = asked else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            match (response.status(), response.json::<Value>().await) {
                (StatusCode::OK, Ok(job)) => self.run(&name, &job).await,
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn run(&self, executor: &str, job: &Value) {
        let (id, token) = (job["id"].as_i64().unwrap(), job["token"].as_str().unwrap());
        let call = |path: &str, mut body: Value| {
            body["executorName"] = json!(executor);
            body["jobId"] = json!(id);
            let call = self.client.post(format!("{}/.executors/queue/batches/{path}", self.url));
            let call = call.bearer_auth(token).header("X-Sourcegraph-Job-ID", id.to_string());
            call.header("X-Sourcegraph-Executor-Name", executor).timeout(ANSWER).json(&body)
        };
        let entry = |text: &str| json!({"key": "step.docker.0", "command": ["echo"], "startTime": "2026-01-02T03:04:05Z", "out": text});
        let (status, opened) = self.until_answered(|| call("addExecutionLogEntry", entry(""))).await;
        let Ok(number) = opened.trim().parse::<i64>() else {
            // The job is somebody else's by now, or was canceled.
            assert_ne!(status, StatusCode::OK, "{opened}");
            return;
        };
        let mut text = String::new();
        for piece in 0..3 {
            text.extend([format!("stdout: job {id} piece {piece} of {executor}\n")]);
            let mut update = entry(&text);
            update["entryId"] = json!(number);
            let (status, _) = self.until_answered(|| call("updateExecutionLogEntry", update.clone())).await;
            if !status.is_success() {
                return;
            }
        }
        // Refused: its answer was lost before, or it was canceled or given away. What is refused is nobody's promise.
        let (status, _) = self.until_answered(|| call("markComplete", json!({}))).await;
        if status.is_success() {
            self.ledger.complete(id, Ended { entry: number, text });
        }
    }

    /// Holds what is there against what was acknowledged.
    pub(super) async fn check(&self) {
        let jobs = self.all_jobs().await;
        let keys = self.ledger.keys();
        for (key, ids) in &keys {
            assert_eq!(ids.len(), 1, "one submission became several jobs: {key}: {ids:?}");
        }
        let known = self.ledger.submitted();
        assert_eq!(known.len(), keys.len(), "two submissions became one job");
        let there: Vec<i64> = jobs.keys().copied().collect();
        assert_eq!(
            there,
            known.into_iter().collect::<Vec<_>>(),
            "jobs that are there, and those that should be"
        );

        let mut logs = JoinSet::new();
        for (id, ends) in self.ledger.completed() {
            assert_eq!(ends.len(), 1, "the end of job {id} was acknowledged twice: {ends:?}");
            assert_eq!(jobs[&id]["state"], "completed", "{}", jobs[&id]);
            if logs.len() == READERS {
                logs.join_next().await.unwrap().unwrap();
            }
            let (caller, job) = (self.clone(), jobs[&id].clone());
            logs.spawn(async move { caller.check_log(id, &job, &ends[0]).await });
        }
        while let Some(log) = logs.join_next().await {
            log.unwrap();
        }
        for (id, has_ended) in self.ledger.canceled() {
            let state = jobs[&id]["state"].as_str().unwrap();
            assert!(state == "canceled" || (state == "completed" && !has_ended), "{}", jobs[&id]);
        }
        let failed: Vec<&Value> = jobs.values().filter(|job| job["state"] == "failed").collect();
        assert!(failed.is_empty(), "who was killed is no reason for a job to fail: {failed:?}");
        self.check_kept().await;
    }

    async fn check_log(&self, id: i64, job: &Value, ended: &Ended) {
        let attempt = &job["attempt"];
        let path = format!("/jobs/{id}/logs/{}/text?attempt={attempt}", ended.entry);
        let (status, text) = self.until_answered(|| self.api("GET", &path)).await;
        assert_eq!((status, text), (StatusCode::OK, ended.text.clone()), "the log of {job}");
    }

    async fn check_kept(&self) {
        let mut there = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.read(&format!("/secrets?limit=400{cursor}")).await;
            there.extend(
                page["items"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap().to_owned()),
            );
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        for key in self.ledger.secrets() {
            assert_eq!(there.iter().filter(|known| **known == key).count(), 1, "{key} in {there:?}");
        }
        let (good, revoked) = self.ledger.tokens();
        for (tokens, expected) in [(good, StatusCode::OK), (revoked, StatusCode::UNAUTHORIZED)] {
            for (number, token) in tokens.into_iter().enumerate() {
                // An address that shows many bad tokens has to wait: each of these comes from one of its own.
                let from = std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(number).unwrap());
                let who = || {
                    let who = self.client.get(format!("{}/api/v1/whoami", self.url)).bearer_auth(&token);
                    who.header("X-Forwarded-For", from.to_string())
                };
                let (status, text) = self.until_answered(who).await;
                assert_eq!(status, expected, "{text}");
            }
        }
    }

    pub(super) async fn all_jobs(&self) -> BTreeMap<i64, Value> {
        let (mut jobs, mut cursor) = (BTreeMap::new(), String::new());
        loop {
            let page = self.read(&format!("/jobs?limit={PAGE}{cursor}")).await;
            for job in page["items"].as_array().unwrap() {
                jobs.insert(job["id"].as_i64().unwrap(), job.clone());
            }
            let next = &page["nextCursor"];
            if next.is_null() {
                return jobs;
            }
            cursor = format!("&cursor={}", next.as_str().map_or_else(|| next.to_string(), str::to_owned));
        }
    }
}
