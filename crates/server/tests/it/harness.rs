//! A running server and the two kinds of client it has.

use jobs::{JobSpec, StepSpec};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use server::{RunningServer, ServerConfig};
use std::path::Path;
use std::sync::Once;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wire::Job;
use wire::headers::{Credentials, EXECUTOR_NAME, JOB_ID};

pub(crate) const EXECUTOR: &str = "exec-1";

pub(crate) struct Harness {
    pub(crate) dir: TempDir,
    pub(crate) server: RunningServer,
    pub(crate) stop: CancellationToken,
    pub(crate) client: Client,
}

/// An HTTP client. The first one chooses the TLS implementation for the process.
pub(crate) fn client() -> Client {
    static TLS: Once = Once::new();
    TLS.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
    Client::builder().no_proxy().build().unwrap()
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), adjust).await
    }

    pub(crate) async fn start_in(dir: TempDir, adjust: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig::new("127.0.0.1:0".parse().unwrap(), dir.path().join("data"));
        // Machines that run tests may have little room.
        config.disk_floor = Some(0);
        adjust(&mut config);
        let stop = CancellationToken::new();
        let server = server::start(config, stop.clone()).await.unwrap();
        Self { dir, server, stop, client: client() }
    }

    /// Stops the server and gives back its directory.
    pub(crate) async fn stop(self) -> TempDir {
        self.stop.cancel();
        drop(self.client);
        self.server.join().await.unwrap();
        self.dir
    }

    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.addr())
    }

    pub(crate) fn shared_secret(&self) -> String {
        self.server.shared_secret().unwrap().expose_secret().to_owned()
    }

    /// A request of an executor, with the shared secret.
    pub(crate) fn executor(&self, path: &str) -> RequestBuilder {
        let credentials = Credentials::Shared(&self.shared_secret()).to_header();
        self.client.post(self.url(path)).header("Authorization", credentials)
    }

    /// A request about a job, with its token.
    pub(crate) fn about(&self, job: &Job, queue: &str, call: &str) -> RequestBuilder {
        self.with_job_token(Method::POST, job, &format!("/.executors/queue/{queue}/{call}"))
    }

    pub(crate) fn with_job_token(&self, method: Method, job: &Job, path: &str) -> RequestBuilder {
        self.client
            .request(method, self.url(path))
            .header("Authorization", Credentials::Job(&job.token).to_header())
            .header(JOB_ID, job.id.to_string())
            .header(EXECUTOR_NAME, EXECUTOR)
    }

    /// What git is told so that it sends the headers that executors send.
    pub(crate) fn git_headers(job: &Job) -> Vec<String> {
        let headers = [
            format!("Authorization: Bearer {}", job.token),
            format!("X-Sourcegraph-Job-ID: {}", job.id),
            format!("X-Sourcegraph-Executor-Name: {EXECUTOR}"),
        ];
        headers.iter().flat_map(|header| ["-c".to_owned(), format!("http.extraHeader={header}")]).collect()
    }

    /// A request of the public API, with its token.
    pub(crate) fn api(&self, method: Method, path: &str) -> RequestBuilder {
        let token = self.server.api_token().expose_secret();
        self.client.request(method, self.url(&in_api(path))).bearer_auth(token)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.api(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// The items of the first page of a list.
    pub(crate) async fn list(&self, path: &str) -> Value {
        self.get(path).await["items"].take()
    }

    pub(crate) async fn submit(&self, spec: &JobSpec) -> i64 {
        let response = self.api(Method::POST, "/jobs").json(spec).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        response.json::<Value>().await.unwrap()["id"].as_i64().unwrap()
    }

    /// Sets a global secret.
    pub(crate) async fn set_secret(&self, key: &str, value: &str) -> String {
        let body = json!({"key": key, "value": value});
        let response = self.api(Method::PUT, "/secrets").json(&body).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn cancel(&self, id: i64) {
        let response = self.api(Method::POST, &format!("/jobs/{id}/cancel")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }

    /// Submits a job and takes it.
    pub(crate) async fn running_job(&self) -> Job {
        self.submit(&job()).await;
        self.dequeue("batches").await.unwrap()
    }

    pub(crate) fn dequeue_request(&self, queue: &str) -> RequestBuilder {
        self.executor(&format!("/.executors/queue/{queue}/dequeue"))
            .json(&json!({"executorName": EXECUTOR, "version": "5.2.0"}))
    }

    pub(crate) async fn dequeue(&self, queue: &str) -> Option<Job> {
        job_in(self.dequeue_request(queue).send().await.unwrap()).await
    }

    pub(crate) async fn mark(&self, job: &Job, call: &str, extra: Value) -> Response {
        self.mark_request(job, call, &extra).send().await.unwrap()
    }

    pub(crate) fn mark_request(&self, job: &Job, call: &str, extra: &Value) -> RequestBuilder {
        let mut body = json!({"executorName": EXECUTOR, "jobId": job.id});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.about(job, "batches", call).json(&body)
    }

    pub(crate) async fn add_log(&self, job: &Job, key: &str) -> i64 {
        let response = self.about(job, "batches", "addExecutionLogEntry").json(&entry(job, key)).send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.text().await.unwrap().parse().unwrap()
    }

    pub(crate) async fn append(&self, job: &Job, entry: i64, offset: u64, chunk: &str) -> Response {
        let body = json!({"executorName": EXECUTOR, "jobId": job.id, "entryId": entry, "offset": offset,
                          "chunk": chunk});
        self.about(job, "batches", "appendExecutionLog").json(&body).send().await.unwrap()
    }

    pub(crate) async fn add_repository(&self, name: &str, source: &Path) {
        self.add_repository_of(name, source, "global").await;
    }

    pub(crate) async fn add_repository_of(&self, name: &str, source: &Path, namespace: &str) {
        let body = json!({"name": name, "source": source, "namespace": namespace});
        let response = self.api(Method::POST, "/repositories").json(&body).send().await.unwrap();
        let (status, told) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, StatusCode::CREATED, "{told}");
    }
}

/// Where a route of the public API is served.
pub(crate) fn in_api(path: &str) -> String {
    if path.starts_with("/metrics") { path.to_owned() } else { format!("/api/v1{path}") }
}

pub(crate) async fn job_in(response: Response) -> Option<Job> {
    match response.status() {
        StatusCode::NO_CONTENT => None,
        StatusCode::OK => Some(response.json().await.unwrap()),
        status => panic!("{status}: {}", response.text().await.unwrap()),
    }
}

/// Status and body of an answer.
pub(crate) async fn told(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Status and `code` of a problem.
pub(crate) async fn problem(request: RequestBuilder) -> (u16, String, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: server::api::Problem = response.json().await.unwrap();
    assert_eq!(problem.status, status);
    (status, problem.code, problem.detail)
}

/// A log entry to open.
pub(crate) fn entry(job: &Job, key: &str) -> Value {
    json!({"executorName": EXECUTOR, "jobId": job.id, "key": key, "command": ["true"],
           "startTime": "2023-01-02T03:04:05.678Z", "out": ""})
}

/// The least a job can be.
pub(crate) fn job() -> JobSpec {
    job_on("batches")
}

pub(crate) fn job_on(queue: &str) -> JobSpec {
    let step = StepSpec { image: "alpine".to_owned(), run: "true".to_owned(), ..StepSpec::default() };
    JobSpec { queue: queue.to_owned(), steps: vec![step], ..JobSpec::default() }
}
