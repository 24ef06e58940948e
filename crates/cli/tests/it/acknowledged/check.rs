//! Holding what is there against what was acknowledged, when all is over. What is lost stays lost, so once is enough, but for
//! what is written over: that is looked at before.

use super::caller::Caller;
use super::keepers::password;
use super::ledger::{Ended, Kind};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinSet;

/// Logs that are read at one time: a long storm leaves thousands.
const READERS: usize = 16;

impl Caller {
    /// Submits a job that is given all secrets: who runs it looks at them.
    pub(super) async fn ask_for_secrets(&self) {
        let job =
            json!({"steps": [{"image": "busybox", "run": "true"}], "storedSecrets": self.ledger.secrets()});
        self.submit_one("secrets", &job).await;
    }

    pub(super) async fn check(&self, commit: &str) {
        let jobs = self.all_jobs().await;
        self.check_submissions(&jobs);
        self.check_ends(&jobs).await;
        self.check_files().await;
        self.check_artifacts(&jobs).await;
        self.check_indexes().await;
        self.check_operated().await;
        self.ledger.all_secrets_were_handed_out();
        self.check_tokens().await;
        self.check_people().await;
        self.check_repositories(commit).await;
    }

    pub(super) async fn all_jobs(&self) -> BTreeMap<i64, Value> {
        self.list("/jobs").await.into_iter().map(|job| (job["id"].as_i64().unwrap(), job)).collect()
    }

    fn check_submissions(&self, jobs: &BTreeMap<i64, Value>) {
        let keys = self.ledger.keys();
        for (key, ids) in &keys {
            assert_eq!(ids.len(), 1, "one submission became several jobs: {key}: {ids:?}");
        }
        let known: BTreeSet<i64> = keys.values().flatten().copied().collect();
        assert_eq!(known.len(), keys.len(), "two submissions became one job");
        let there: BTreeSet<i64> = jobs.keys().copied().collect();
        assert_eq!(there, known, "jobs that are there, and those that should be");
    }

    async fn check_ends(&self, jobs: &BTreeMap<i64, Value>) {
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
    }

    async fn check_log(&self, id: i64, job: &Value, ended: &Ended) {
        let attempt = &job["attempt"];
        let path = format!("/jobs/{id}/logs/{}/text?attempt={attempt}", ended.entry);
        let (status, text) = self.until_answered(|| self.api("GET", &path)).await;
        assert_eq!((status, text), (StatusCode::OK, ended.text.clone()), "the log of {job}");
    }

    /// Only jobs read files, and executors, which may have any job.
    async fn check_files(&self) {
        for (job, file, content) in self.ledger.files() {
            let path = format!("/.executors/files/batch-changes/{job}/{file}");
            let (status, text) = self.until_answered(|| self.shared("GET", &path)).await;
            assert_eq!((status, text), (StatusCode::OK, content), "file {file} of job {job}");
        }
    }

    /// An artifact is its try's: a job that was given to another one afterwards still has it.
    async fn check_artifacts(&self, jobs: &BTreeMap<i64, Value>) {
        for (job, content) in self.ledger.artifacts() {
            let mut found = Vec::new();
            for attempt in 1..=jobs[&job]["attempt"].as_u64().unwrap() {
                let path = format!("/jobs/{job}/artifacts/left?attempt={attempt}");
                found.push(self.until_answered(|| self.api("GET", &path)).await);
            }
            assert!(found.contains(&(StatusCode::OK, content.clone())), "{content:?} in {found:?}");
        }
    }

    async fn check_indexes(&self) {
        for (id, content) in self.ledger.indexes() {
            let path = format!("/uploads/{id}/content");
            let (status, there) = self.until_heard(|| self.api("GET", &path)).await;
            assert!(
                status == StatusCode::OK && there == content,
                "index {id}: {status}, {} bytes",
                there.len()
            );
        }
    }

    async fn check_tokens(&self) {
        let (good, revoked) = self.ledger.there_and_gone(Kind::Token);
        for (tokens, expected) in [(good, StatusCode::OK), (revoked, StatusCode::UNAUTHORIZED)] {
            for (number, token) in tokens.into_iter().enumerate() {
                let who = || self.anonymous("GET", "/api/v1/whoami", number).bearer_auth(&token);
                let (status, text) = self.until_answered(who).await;
                assert_eq!(status, expected, "{text}");
            }
        }
    }

    /// People sign in with the passwords that they were let in with.
    async fn check_people(&self) {
        let people = self.check_named(Kind::Person, "/users").await;
        for (number, name) in people.into_iter().enumerate() {
            let form = format!("name={name}&password={}", password(&name));
            let sign_in = || {
                let sign_in = self.anonymous("POST", "/sign-in", number).body(form.clone());
                let sign_in = sign_in.header("Content-Type", "application/x-www-form-urlencoded");
                sign_in.header("Sec-Fetch-Site", "same-origin")
            };
            let (status, text) = self.until_answered(sign_in).await;
            assert_eq!(status, StatusCode::SEE_OTHER, "{name} can't sign in: {text}");
        }
    }

    /// A mirror has the commit that its source had.
    async fn check_repositories(&self, commit: &str) {
        for name in self.check_named(Kind::Repository, "/repositories").await {
            let path = format!("/.executors/git/{name}/info/refs?service=git-upload-pack");
            let (status, text) = self.until_answered(|| self.shared("GET", &path)).await;
            assert!(status == StatusCode::OK && text.contains(commit), "{name}: {status} {text}");
        }
    }

    /// Whether a list has what should be there, once, and nothing that is gone. Returns what should be there.
    async fn check_named(&self, kind: Kind, path: &str) -> BTreeSet<String> {
        let listed: Vec<String> =
            self.list(path).await.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect();
        let (there, gone) = self.ledger.there_and_gone(kind);
        for name in &there {
            assert_eq!(listed.iter().filter(|known| *known == name).count(), 1, "{name} in {listed:?}");
        }
        let left: Vec<_> = gone.iter().filter(|name| listed.contains(name)).collect();
        assert!(left.is_empty(), "what was removed is there: {left:?}");
        there
    }
}
