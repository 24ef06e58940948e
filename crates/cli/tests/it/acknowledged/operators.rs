//! Operators: they write the same few things over again and again, and look at each before.

use super::caller::{Caller, PAUSE};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// A queue of which nobody wants a job.
const QUEUE: &str = "codeintel";
/// An executor that is heard of, and takes none.
const EXECUTOR: &str = "operated";

impl Caller {
    /// Pauses a queue and lets it go on, limits it, and has an executor go into maintenance and come back.
    pub(super) async fn operate(self) {
        self.be_heard_of().await;
        while self.goes_on() {
            self.check_operated().await;
            let path = format!("/queues/{QUEUE}");
            self.change(QUEUE, &path, |n| json!({"paused": n % 2 == 1, "maxRunning": n})).await;
            let path = format!("/executors/{EXECUTOR}");
            self.change(EXECUTOR, &path, |n| json!({"maintenance": n % 2 == 1})).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What was lost would be hidden by the next write, which is under way whenever something is killed: so it is looked at before that
    /// is made again.
    async fn change(&self, what: &str, path: &str, change: impl Fn(u64) -> Value) {
        let number = self.ledger.begin(what);
        while !self.has_written(what, number, self.api("PATCH", path).json(&change(number))).await {
            self.check_operated().await;
        }
    }

    /// An executor is known from its first heartbeat on, and what was heard of it is no promise: it is soon heard of again.
    async fn be_heard_of(&self) {
        let path = "/.executors/queue/heartbeat";
        let beat = json!({"executorName": EXECUTOR, "queueNames": [QUEUE], "version": "V2"});
        loop {
            let (status, text) = self.until_answered(|| self.shared("POST", path).json(&beat)).await;
            assert_eq!(status, StatusCode::OK, "{text}");
            // From here on it waits for the disk.
            let patch =
                || self.api("PATCH", &format!("/executors/{EXECUTOR}")).json(&json!({"maintenance": false}));
            let (status, text) = self.until_answered(patch).await;
            if status == StatusCode::OK {
                return;
            }
            assert_eq!(status, StatusCode::NOT_FOUND, "{text}");
        }
    }

    /// Holds queue and executor against what was written last.
    pub(super) async fn check_operated(&self) {
        let written = self.ledger.numbers();
        let queue = self.read(&format!("/queues/{QUEUE}")).await;
        let shown = (queue["maxRunning"].as_u64().unwrap_or_default(), !queue["pausedAt"].is_null());
        self.ledger.must_be(QUEUE, &written, |number| shown == (number, number % 2 == 1), &queue);
        let executors = self.list("/executors").await;
        let found = executors.iter().find(|executor| executor["name"] == EXECUTOR).unwrap();
        let in_maintenance = !found["maintenanceAt"].is_null();
        self.ledger.must_be(EXECUTOR, &written, |number| in_maintenance == (number % 2 == 1), found);
    }
}
