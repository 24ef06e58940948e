//! Executors: they take jobs, look at what these bring along, log a text, leave a file, and complete them.

use super::caller::{Caller, PAUSE};
use super::clients::brought;
use super::ledger::{Ended, Numbers};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// A job that an executor took.
struct Taken<'a> {
    caller: &'a Caller,
    executor: &'a str,
    id: i64,
    payload: &'a Value,
}

impl Caller {
    /// Takes jobs as any executor does; all but the first are executors of ours, which are told of artifacts.
    pub(super) async fn execute(self, number: u64) {
        let name = format!("scripted-{number}");
        while !self.has_left() {
            let ask = self.shared("POST", "/.executors/queue/batches/dequeue");
            let ask = if number == 0 { ask } else { ask.header("Prefer", "lease-term") };
            let written = self.ledger.numbers();
            let asked = ask.json(&json!({"executorName": name, "version": "5.9.0"})).send().await;
            let Ok(response) = asked else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            match (response.status(), response.json::<Value>().await) {
                (StatusCode::OK, Ok(payload)) => {
                    self.look_at_secrets(&payload, &written);
                    let id = payload["id"].as_i64().unwrap();
                    Taken { caller: &self, executor: &name, id, payload: &payload }.run().await;
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// A job is given the values that its secrets have: none that was written over before it was asked for.
    fn look_at_secrets(&self, payload: &Value, written: &Numbers) {
        for variable in payload["dockerSteps"][0]["env"].as_array().into_iter().flatten() {
            let (key, value) = variable.as_str().unwrap().split_once('=').unwrap();
            let number: u64 = value.strip_prefix("value-").unwrap().parse().unwrap();
            self.ledger.must_be(key, written, |known| known == number, value);
            self.ledger.handed_out(key, number);
        }
    }
}

impl Taken<'_> {
    /// A call with the job's token.
    fn call(&self, method: &str, path: &str) -> RequestBuilder {
        let call = self.caller.call(method, path).bearer_auth(self.payload["token"].as_str().unwrap());
        let call = call.header("X-Sourcegraph-Job-ID", self.id.to_string());
        call.header("X-Sourcegraph-Executor-Name", self.executor)
    }

    /// One of those that say something of the job.
    async fn say(&self, what: &str, mut body: Value) -> (StatusCode, String) {
        body["executorName"] = json!(self.executor);
        body["jobId"] = json!(self.id);
        let path = format!("/.executors/queue/batches/{what}");
        self.caller.until_answered(|| self.call("POST", &path).json(&body)).await
    }

    /// Whatever is refused on the way: the job is somebody else's by now, or was canceled. What is refused is nobody's promise.
    async fn run(&self) {
        let id = self.id;
        let entry = |text: &str| json!({"key": "step.docker.0", "command": ["echo"], "startTime": "2026-01-02T03:04:05Z", "out": text});
        let (status, opened) = self.say("addExecutionLogEntry", entry("")).await;
        let Ok(number) = opened.trim().parse::<i64>() else {
            assert_ne!(status, StatusCode::OK, "{opened}");
            return;
        };
        let mut text = String::new();
        for piece in 0..3 {
            text.extend([format!("stdout: job {id} piece {piece} of {}\n", self.executor)]);
            let mut update = entry(&text);
            update["entryId"] = json!(number);
            if !self.say("updateExecutionLogEntry", update).await.0.is_success() {
                return;
            }
        }
        self.look_at_files().await;
        self.leave_a_file().await;
        // Refused: its answer was lost before, or it was canceled or given away.
        let (status, _) = self.say("markComplete", json!({})).await;
        if status.is_success() {
            self.caller.ledger.complete(id, Ended { entry: number, text });
        }
    }

    async fn look_at_files(&self) {
        for (name, file) in self.payload["files"].as_object().into_iter().flatten() {
            let key = file["key"].as_str().unwrap();
            let path = format!("/.executors/files/{}/{key}", file["bucket"].as_str().unwrap());
            let (status, text) = self.caller.until_answered(|| self.call("GET", &path)).await;
            assert_ne!(status, StatusCode::NOT_FOUND, "a file of job {}: {text}", self.id);
            if status.is_success() {
                assert!(text == brought(name), "{name} of job {}: {text}", self.id);
            }
        }
    }

    async fn leave_a_file(&self) {
        for artifact in self.payload["artifacts"].as_array().into_iter().flatten() {
            let (name, path) = (artifact["name"].as_str().unwrap(), artifact["path"].as_str().unwrap());
            let content = self.caller.ledger.unique(&format!("what job {} left", self.id));
            let to = format!("/.executors/queue/batches/artifacts/{name}/{path}");
            let (status, _) =
                self.caller.until_answered(|| self.call("POST", &to).body(content.clone())).await;
            if status.is_success() {
                self.caller.ledger.left(self.id, content);
            }
        }
    }
}
