//! Clients: they submit jobs, bring files along, and cancel.

use super::caller::{Caller, PAUSE};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// What a file has in it that a job brings along.
pub(super) fn brought(key: &str) -> String {
    format!("what {key} brings along\n").repeat(50)
}

impl Caller {
    /// Submits one job after the other, some of them twice, and cancels some.
    pub(super) async fn submit(self, client: u64) {
        let mut n = 0_u64;
        while self.goes_on() {
            n += 1;
            let key = format!("client-{client}-{n}");
            let mut job = json!({"steps": [{"image": "busybox", "run": format!("echo {key}")}]});
            let mut file = None;
            match n % 3 {
                0 => {
                    let id = self.bring(&key).await;
                    job["files"] = json!([{"path": key, "upload": id}]);
                    file = Some(id);
                }
                1 => job["artifacts"] = json!([{"name": "left", "path": "left.txt"}]),
                _ => {
                    let secrets = self.ledger.secrets();
                    let turn = usize::try_from(n).unwrap() % secrets.len().max(1);
                    job["storedSecrets"] = secrets.into_iter().skip(turn).take(1).collect();
                }
            }
            let mut id = 0;
            for _ in 0..=u64::from(n.is_multiple_of(5)) {
                id = self.submit_one(&key, &job).await;
            }
            if let Some(file) = file {
                self.ledger.brought(id, file, brought(&key));
            }
            if n.is_multiple_of(4) {
                self.cancel(id).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Submits two jobs with one call, and again two. Beside other calls this one would hardly ever be the one that is cut off.
    pub(super) async fn submit_pairs(self) {
        let mut n = 0;
        while self.goes_on() {
            n += 1;
            self.submit_pair(&format!("pair-{n}")).await;
            tokio::time::sleep(PAUSE * 2).await;
        }
    }

    /// Submits a job and returns its id.
    pub(super) async fn submit_one(&self, key: &str, job: &Value) -> i64 {
        let submit = || self.api("POST", "/jobs").header("Idempotency-Key", key).json(job);
        let (status, text) = self.until_answered(submit).await;
        assert_eq!(status, StatusCode::CREATED, "{key}: {text}");
        let id = serde_json::from_str::<Value>(&text).unwrap()["id"].as_i64().unwrap();
        self.ledger.job(key, id);
        id
    }

    /// Submits two, and then one of them by itself, which is no other job.
    async fn submit_pair(&self, key: &str) {
        let keys = ["a", "b"].map(|which| format!("{key}-{which}"));
        let jobs =
            keys.each_ref().map(|key| json!({"steps": [{"image": "busybox", "run": format!("echo {key}")}]}));
        let both = json!({"jobs": [
            {"job": jobs[0], "idempotencyKey": keys[0]},
            {"job": jobs[1], "idempotencyKey": keys[1]},
        ]});
        let (status, text) = loop {
            if let Some(answer) = self.once(self.api("POST", "/jobs/batch").json(&both)).await {
                break answer;
            }
            // The next call would submit what is missing.
            self.are_both_there_or_none(&keys).await;
        };
        let text = String::from_utf8_lossy(&text);
        assert_eq!(status, StatusCode::CREATED, "{key}: {text}");
        let submitted: Value = serde_json::from_str(&text).unwrap();
        let ids: Vec<i64> =
            submitted["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect();
        assert_eq!(ids.len(), keys.len(), "{text}");
        for (key, id) in keys.iter().zip(&ids) {
            self.ledger.job(key, *id);
        }
        self.ledger.pair();
        assert_eq!(self.submit_one(&keys[1], &jobs[1]).await, ids[1], "{text}");
    }

    /// Asks for something else with the same keys, which can't be had: a key that is known is told before that.
    async fn are_both_there_or_none(&self, keys: &[String; 2]) {
        let unlike = json!({"steps": [{"image": "busybox", "run": "true"}], "repo": "nowhere"});
        let jobs = keys.each_ref().map(|key| json!({"job": unlike, "idempotencyKey": key}));
        let call = || self.api("POST", "/jobs/batch").json(&json!({"jobs": jobs}));
        let (status, text) = self.until_answered(call).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{keys:?}: {text}");
        let refused: Value = serde_json::from_str(&text).unwrap();
        let codes: Vec<&str> =
            refused["jobs"].as_array().unwrap().iter().map(|job| job["code"].as_str().unwrap()).collect();
        match codes.as_slice() {
            ["idempotency_key_reused", "idempotency_key_reused"] => self.ledger.cut_pair(true),
            ["unknown_repository", "unknown_repository"] => self.ledger.cut_pair(false),
            _ => panic!("one of two that go with one call is there: {text}"),
        }
    }

    /// Uploads a file and returns its id. One that was taken by a call whose answer was lost is nobody's.
    async fn bring(&self, key: &str) -> String {
        let path = format!("/files?name={key}");
        let (status, text) = self.until_answered(|| self.api("POST", &path).body(brought(key))).await;
        assert_eq!(status, StatusCode::CREATED, "{key}: {text}");
        serde_json::from_str::<Value>(&text).unwrap()["id"].as_str().unwrap().to_owned()
    }

    async fn cancel(&self, id: i64) {
        let (status, text) = self.until_answered(|| self.api("POST", &format!("/jobs/{id}/cancel"))).await;
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
}
