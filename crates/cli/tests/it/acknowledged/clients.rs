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

    /// Submits a job and returns its id.
    pub(super) async fn submit_one(&self, key: &str, job: &Value) -> i64 {
        let submit = || self.api("POST", "/jobs").header("Idempotency-Key", key).json(job);
        let (status, text) = self.until_answered(submit).await;
        assert_eq!(status, StatusCode::CREATED, "{key}: {text}");
        let id = serde_json::from_str::<Value>(&text).unwrap()["id"].as_i64().unwrap();
        self.ledger.job(key, id);
        id
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
