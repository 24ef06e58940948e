//! A server, and the calls of an executor that has been there for long: its connection is open.

use reqwest::{Client, RequestBuilder};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use server::{RunningServer, ServerConfig};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wire::additions::{MORE, MOST};

const NAME: &str = "exec-0";
/// A dequeue that was sent so long ago has been looked at, and is held.
const HELD_AFTER: Duration = Duration::from_millis(20);

pub(crate) struct Serving {
    server: RunningServer,
    stop: CancellationToken,
    client: Client,
}

impl Serving {
    pub(crate) async fn start(data: &Path, database_url: Option<String>) -> Self {
        let config = ServerConfig::new("127.0.0.1:0".parse().unwrap(), data);
        let stop = CancellationToken::new();
        let server = server::start(ServerConfig { database_url, ..config }, stop.clone()).await.unwrap();
        let client = Client::builder().no_proxy().tcp_nodelay(true).build().unwrap();
        Self { server, stop, client }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        drop(self.client);
        self.server.join().await.unwrap();
    }

    /// How long a dequeue takes that need not wait. The job is completed afterwards.
    pub(crate) async fn dequeue_one(&self) -> Duration {
        let begun = Instant::now();
        let job = answer(self.dequeue(NAME)).await;
        let took = begun.elapsed();
        self.complete(NAME, &job).await;
        took
    }

    /// How long it takes from a submission until a dequeue that was held has the job.
    pub(crate) async fn wake_up(&self) -> Duration {
        let held = tokio::spawn(answer(self.dequeue(NAME)));
        tokio::time::sleep(HELD_AFTER).await;
        let submit = self.submission(1);
        let begun = Instant::now();
        let submitted = tokio::spawn(async move { submit.send().await.unwrap().error_for_status().unwrap() });
        let job = held.await.unwrap();
        let took = begun.elapsed();
        submitted.await.unwrap();
        self.complete(NAME, &job).await;
        took
    }

    /// Submits so many jobs: one as one, others with one call.
    pub(crate) async fn submit(&self, jobs: u32) {
        self.submission(jobs).send().await.unwrap().error_for_status().unwrap();
    }

    fn submission(&self, jobs: u32) -> RequestBuilder {
        let spec = json!({"queue": "batches", "steps": [{"image": "debian:12", "run": "make test"}]});
        let (path, body) = match jobs {
            1 => ("/api/v1/jobs", spec),
            _ => ("/api/v1/jobs/batch", json!({"jobs": vec![json!({"job": spec}); jobs as usize]})),
        };
        let submission = self.client.post(self.url(path)).json(&body);
        submission.bearer_auth(self.server.api_token().expose_secret())
    }

    /// Up to so many jobs, as an executor of ours asks that has places for them.
    pub(crate) async fn take(&self, name: &str, most: u32) -> Vec<Value> {
        let mut first = answer(self.dequeue(name).header(MOST, most)).await;
        let more = first[MORE].take();
        let more = more.as_array().cloned().unwrap_or_default();
        std::iter::once(first).chain(more).collect()
    }

    fn dequeue(&self, name: &str) -> RequestBuilder {
        let asked = json!({"executorName": name, "version": "5.9.0"});
        self.call("dequeue").json(&asked).header("Prefer", "wait=20, lease-term")
    }

    pub(crate) async fn complete(&self, name: &str, job: &Value) {
        let mark = self.client.post(self.url("/.executors/queue/batches/markComplete"));
        let mark = mark.bearer_auth(job["token"].as_str().unwrap());
        let mark = mark.header("X-Sourcegraph-Job-ID", job["id"].to_string());
        let mark = mark.header("X-Sourcegraph-Executor-Name", name);
        let body = json!({"executorName": name, "jobId": job["id"]});
        mark.json(&body).send().await.unwrap().error_for_status().unwrap();
    }

    fn call(&self, call: &str) -> RequestBuilder {
        let secret = self.server.shared_secret().unwrap();
        let authorization = format!("token-executor {}", secret.expose_secret());
        let path = format!("/.executors/queue/batches/{call}");
        self.client.post(self.url(&path)).header("Authorization", authorization)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.addr())
    }
}

async fn answer(dequeue: RequestBuilder) -> Value {
    let answer = dequeue.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}
