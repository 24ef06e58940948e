//! A server with something of everything, in `org:acme`; whatever can have a mark has `acme-` in it, or what a job or an
//! executor could write there to do harm.

use crate::access::Holder;
use crate::harness::{EXECUTOR, Harness, told};
use crate::source::SourceRepo;
use jobs::Role;
use reqwest::Method;
use serde_json::{Value, json};
use wire::Job;

/// What would show if it were ever taken for anything but text: an element, a script, a terminal's title, a turn of direction.
pub(crate) const EVIL: &str = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'><b id=evil>\u{202e}gnp\u{2066}\u{1b}]0;t\u{7}\u{1b}[31m&lt;{{7*17477}}${7*17477}";

/// The same as the name of a branch.
const EVIL_BRANCH: &str = "<b/id=evil><script>alert(3)</script>\"'\u{202e}&lt;";

/// The same as a concurrency key.
const EVIL_KEY: &str = "<img/src=x/onerror=alert(4)><script>alert(5)</script>&lt;{{7*17477}}${7*17477}\"'";

pub(crate) struct World {
    pub(crate) harness: Harness,
    pub(crate) job: i64,
    /// It waits until the other one has ended.
    pub(crate) waiting: i64,
    /// An index that says that it came of the job.
    pub(crate) upload: i64,
    pub(crate) token: i64,
    pub(crate) secret: String,
    _source: SourceRepo,
}

impl World {
    pub(crate) async fn start() -> Self {
        let harness = Harness::start().await;
        let source = SourceRepo::new();
        source.git(&["branch", EVIL_BRANCH]);
        let body = json!({"name": "acme-app", "source": source.path(), "namespace": "org:acme"});
        assert_eq!(told(harness.api(Method::POST, "/repositories").json(&body)).await.0, 201);
        let acme = Holder::new(&harness, Role::Admin, "org:acme").await;
        super::user(&harness, "acme-ann", "operator", "org:acme").await;
        let body = json!({"key": "ACME_KEY", "value": "a value", "namespace": "org:acme"});
        let kept = harness.api(Method::POST, "/secrets").json(&body).send().await.unwrap();
        let kept: Value = kept.json().await.unwrap();
        let tokens = harness.list("/tokens").await;
        let body = json!({"name": "acme-rack"});
        assert_eq!(told(harness.api(Method::POST, "/registration-tokens").json(&body)).await.0, 201);
        let job = Self::submit(&harness, &acme).await;
        let waiting = Self::submit(&harness, &acme).await;
        let upload = Self::upload(&harness, job).await;
        Self {
            job,
            waiting,
            upload,
            token: tokens[0]["id"].as_i64().unwrap(),
            secret: kept["id"].as_str().unwrap().to_owned(),
            harness,
            _source: source,
        }
    }

    async fn submit(harness: &Harness, acme: &Holder) -> i64 {
        let spec = json!({
            "repo": "acme-app", "rev": EVIL_BRANCH, "storedSecrets": ["ACME_KEY"],
            "artifacts": [{"name": "acme-out", "path": "**"}],
            "concurrency": {"key": EVIL_KEY, "limit": 1},
            "steps": [
                {"name": "build", "image": "debian:12", "run": EVIL},
                {"name": "test", "image": "debian:12", "run": "make test"}
            ]
        });
        let submitted = acme.call(harness, Method::POST, "/jobs").json(&spec).send().await.unwrap();
        let (status, body) = (submitted.status(), submitted.text().await.unwrap());
        assert_eq!(status, 201, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["id"].as_i64().unwrap()
    }

    /// What an index says of itself is whatever its job likes, but for control characters: those are refused.
    async fn upload(harness: &Harness, job: i64) -> i64 {
        let evil = EVIL.replace(char::is_control, "");
        let mut about = url::form_urlencoded::Serializer::new(String::new());
        about.append_pair("repository", "acme-app").append_pair("commit", crate::uploads::COMMIT);
        about.append_pair("associatedIndexId", &job.to_string()).append_pair("root", &format!("root {evil}"));
        about.append_pair("indexerName", &format!("indexer {evil}"));
        about.append_pair("indexerVersion", &format!("version {evil}"));
        let index = crate::uploads::packed(b"an index");
        crate::uploads::accepted(crate::uploads::call(harness, &about.finish(), index)).await
    }

    /// An executor of evil takes the job and says in every place what it likes.
    pub(crate) async fn take(&self) -> Job {
        let harness = &self.harness;
        let beat = json!({
            "executorName": EXECUTOR, "jobIds": [], "os": EVIL, "architecture": EVIL, "dockerVersion": EVIL,
            "executorVersion": EVIL, "gitVersion": EVIL, "igniteVersion": EVIL, "srcCliVersion": EVIL, "prometheusMetrics": "",
        });
        told(harness.executor("/.executors/queue/batches/heartbeat").json(&beat)).await;
        // Another one had it first, and is not the one that waits before it has it again.
        let other = json!({"executorName": "other", "version": "5.2.0"});
        let first = harness.executor("/.executors/queue/batches/dequeue").json(&other).send().await.unwrap();
        let first = crate::harness::job_in(first).await.unwrap();
        let end = json!({
            "reason": "executor_stopped", "step": EVIL, "path": EVIL, "class": EVIL, "by": EVIL, "from": EVIL, "token": EVIL,
            "client": EVIL, "artifact": EVIL,
        });
        let errored = json!({"executorName": "other", "jobId": first.id, "errorMessage": EVIL, "end": end});
        let (status, said) = told(harness.about(&first, "batches", "markErrored").json(&errored)).await;
        assert_eq!(status, 204, "{said}");
        let job = harness.dequeue("batches").await.unwrap();
        assert_eq!(job.id, first.id);
        for (key, text) in [("setup.git.init", "stdout: Initialized\n"), ("step.docker.build", "")] {
            let entry = harness.add_log(&job, key).await;
            let text = if text.is_empty() {
                format!(
                    "stdout: {EVIL}\nstderr: error: {EVIL}\nstdout: \u{1b}[1;32mgreen\u{1b}[0m plain\nno end"
                )
            } else {
                text.to_owned()
            };
            harness.append(&job, entry, 0, &text).await;
        }
        let entry = json!({
            "executorName": EXECUTOR, "jobId": job.id, "key": format!("step.{EVIL}"), "command": [EVIL, EVIL],
            "startTime": "2023-01-02T03:04:05.678Z", "out": format!("stdout: {EVIL}\n"), "exitCode": 3, "durationMs": 4000,
        });
        told(harness.about(&job, "batches", "addExecutionLogEntry").json(&entry)).await;
        job
    }

    /// The job fails, for a reason that is evil as well.
    pub(crate) async fn fail(&self, job: &Job) {
        let end = json!({
            "reason": "exit_code", "step": EVIL, "exitCode": 3, "path": EVIL, "class": EVIL, "by": EVIL, "from": EVIL,
            "token": EVIL, "client": EVIL, "artifact": EVIL,
        });
        let response = self.harness.mark(job, "markFailed", json!({"errorMessage": EVIL, "end": end})).await;
        assert!(response.status().is_success());
    }
}
