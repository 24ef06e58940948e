//! A scripted stock executor works through whole jobs of both queues: what it asks for, sends and reads is documented, and it knows
//! of nothing else.

use crate::harness::{EXECUTOR, Harness, job_on, told};
use crate::indexing::{REPOSITORY, submit};
use crate::source::{SourceRepo, git};
use crate::uploads::{content, packed};
use jobs::{FileSpec, JobSpec, StepSpec};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

/// Takes whatever there is of both queues, as a stock executor of several queues does.
struct Stock<'h> {
    harness: &'h Harness,
    job: Value,
}

impl<'h> Stock<'h> {
    async fn dequeue(harness: &'h Harness) -> Self {
        let body = json!({"executorName": EXECUTOR, "version": "6.1.0", "queues": ["batches", "codeintel"],
                          "numCPUs": 4, "memory": "12G", "diskSpace": "20G"});
        let (status, text) = told(harness.executor("/.executors/queue/dequeue").json(&body)).await;
        assert_eq!(status, 200, "{text}");
        Self { harness, job: serde_json::from_str(&text).unwrap() }
    }

    fn queue(&self) -> &str {
        self.job["queue"].as_str().unwrap()
    }

    /// A call about the job, with its token.
    async fn call(&self, path: &str, mut body: Value) -> (u16, String) {
        body["executorName"] = json!(EXECUTOR);
        body["jobId"] = self.job["id"].clone();
        let url = self.harness.url(&format!("/.executors/queue/{}/{path}", self.queue()));
        told(self.with_token(self.harness.client.post(url)).json(&body)).await
    }

    fn with_token(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let token = self.job["token"].as_str().unwrap();
        let request = request.header("Authorization", format!("Bearer {token}"));
        request
            .header("X-Sourcegraph-Job-ID", self.job["id"].to_string())
            .header("X-Sourcegraph-Executor-Name", EXECUTOR)
    }

    async fn beat(&self) -> Value {
        let queues = json!([{"queueName": self.queue(), "jobIds": [self.job["id"].to_string()]}]);
        let body = json!({"version": "V2", "executorName": EXECUTOR, "queueNames": ["batches", "codeintel"],
                          "jobIdsByQueue": queues, "os": "linux", "architecture": "amd64", "dockerVersion": "26.1.5",
                          "executorVersion": "6.1.0", "gitVersion": "2.39.5", "igniteVersion": "", "srcCliVersion": "",
                          "prometheusMetrics": ""});
        let (status, text) = told(self.harness.executor("/.executors/queue/heartbeat").json(&body)).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A command with its log entry, opened, told of twice, and closed.
    async fn command(&self, key: &str, output: &str) {
        let entry =
            json!({"key": key, "command": ["git", "x"], "startTime": "2026-01-02T03:04:05.678Z", "out": ""});
        let (status, number) = self.call("addExecutionLogEntry", entry.clone()).await;
        assert_eq!(status, 200, "{number}");
        let number: i64 = number.parse().unwrap();
        for end in [json!({}), json!({"exitCode": 0, "durationMs": 12})] {
            let mut update = entry.clone();
            update["entryId"] = json!(number);
            update["out"] = json!(format!("stdout: {output}\n"));
            update.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
            assert_eq!(self.call("updateExecutionLogEntry", update).await, (204, String::new()));
        }
    }

    /// Clones as stock executors do: a bare commit, one deep, with the token in headers.
    async fn clone_into(&self, dir: &std::path::Path) {
        let repository = self.job["repositoryName"].as_str().unwrap();
        let url = self.harness.url(&format!("/.executors/git/{repository}"));
        let commit = self.job["commit"].as_str().unwrap().to_owned();
        let token = self.job["token"].as_str().unwrap();
        let headers = [
            format!("http.extraHeader=Authorization: Bearer {token}"),
            format!("http.extraHeader=X-Sourcegraph-Job-ID: {}", self.job["id"]),
            format!("http.extraHeader=X-Sourcegraph-Executor-Name: {EXECUTOR}"),
        ];
        let dir = dir.to_owned();
        let clone = move || {
            git(&dir, &["init", "--quiet", "."]).unwrap();
            let mut fetch = vec!["-c", "protocol.version=2"];
            fetch.extend(headers.iter().flat_map(|header| ["-c", header.as_str()]));
            fetch.extend([
                "fetch",
                "--quiet",
                "--no-recurse-submodules",
                "--no-tags",
                "--depth=1",
                &url,
                &commit,
            ]);
            git(&dir, &fetch).unwrap();
            git(&dir, &["checkout", "--quiet", "--force", &commit]).unwrap();
        };
        tokio::task::spawn_blocking(clone).await.unwrap();
    }

    async fn files(&self, dir: &std::path::Path) {
        for (path, file) in self.job["files"].as_object().into_iter().flatten() {
            let content = match (file["bucket"].as_str(), file["key"].as_str()) {
                (Some(bucket), Some(key)) if !bucket.is_empty() => {
                    let url = self.harness.url(&format!("/.executors/files/{bucket}/{key}"));
                    let (status, content) = told(self.with_token(self.harness.client.get(url))).await;
                    assert_eq!(status, 200, "{path}: {content}");
                    content.into_bytes()
                }
                _ => {
                    use base64::Engine;
                    base64::prelude::BASE64_STANDARD.decode(file["content"].as_str().unwrap()).unwrap()
                }
            };
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }
}

#[tokio::test]
async fn a_stock_executor_works_through_whole_jobs_of_both_queues() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository("github.com/acme/app", &source.path()).await;
    for queue in ["batches", "codeintel"] {
        let uploaded = harness.api(Method::POST, "/files?name=in.bin").body("uploaded").send().await.unwrap();
        let uploaded: Value = uploaded.json().await.unwrap();
        let spec = JobSpec {
            repo: Some("github.com/acme/app".to_owned()),
            steps: vec![StepSpec {
                image: "alpine:3".to_owned(),
                run: "cat in/*".to_owned(),
                ..StepSpec::default()
            }],
            files: vec![
                FileSpec {
                    path: "in/text".to_owned(),
                    content: Some("inline".to_owned()),
                    ..FileSpec::default()
                },
                FileSpec {
                    path: "in/bytes".to_owned(),
                    upload: uploaded["id"].as_str().map(str::to_owned),
                    ..FileSpec::default()
                },
            ],
            ..job_on(queue)
        };
        let id = harness.submit(&spec).await;

        let stock = Stock::dequeue(&harness).await;
        assert_eq!((stock.queue(), &stock.job["id"]), (queue, &json!(id)));
        let known = format!("{id}-{queue}");
        assert_eq!(stock.beat().await, json!({"knownIds": [known], "cancelIds": []}));
        let workspace = tempfile::tempdir().unwrap();
        stock.clone_into(workspace.path()).await;
        stock.command("setup.git.fetch", "fetched").await;
        stock.files(workspace.path()).await;
        let file = |path: &str| std::fs::read_to_string(workspace.path().join(path)).unwrap();
        assert_eq!((file("in/text").as_str(), file("in/bytes").as_str()), ("inline", "uploaded"));
        let step = stock.job["dockerSteps"][0].clone();
        assert!(step["commands"].to_string().contains("cat in/*"), "{step}");
        let key = format!("step.docker.{}", step["key"].as_str().unwrap());
        stock.command(&key, "inlineuploaded").await;
        assert_eq!(stock.call("markComplete", json!({})).await.0, 204);
        assert_eq!(stock.call("markComplete", json!({})).await.0, 401, "its token has died");
        assert_eq!(stock.beat().await["knownIds"], json!([]));

        let shown = harness.get(&format!("/jobs/{id}")).await;
        assert_eq!((&shown["state"], &shown["executor"]), (&json!("completed"), &json!(EXECUTOR)));
        let entries = harness.get(&format!("/jobs/{id}/logs")).await;
        let keys: Vec<&str> =
            entries.as_array().unwrap().iter().map(|entry| entry["key"].as_str().unwrap()).collect();
        assert_eq!(keys, ["setup.git.fetch", &key]);
        let text = harness.api(Method::GET, &format!("/jobs/{id}/logs/2/text?attempt=1"));
        assert_eq!(told(text).await, (200, "stdout: inlineuploaded\n".to_owned()));
    }
}

/// What `src code-intel upload` sends for the command line and the environment of a step: the whole index at once.
async fn upload_as_src(harness: &Harness, step: &Value, index: &[u8]) -> (u16, String) {
    let line = shell_words::split(step["commands"][0].as_str().unwrap()).unwrap();
    assert_eq!(line[..4], ["src", "code-intel", "upload", "-no-progress"]);
    let flag = |name: &str| {
        let place = line.iter().position(|argument| argument == name).unwrap();
        line[place + 1].as_str()
    };
    let variable = |name: &str| {
        let mut env = step["env"].as_array().unwrap().iter().filter_map(Value::as_str);
        env.find_map(|text| text.strip_prefix(name)?.strip_prefix('=')).unwrap().to_owned()
    };
    let query = [
        ("repository", flag("-repo")),
        ("commit", flag("-commit")),
        ("root", flag("-root").trim_start_matches('.')),
        ("indexerName", "scip-go"),
        ("indexerVersion", "v1.2.3"),
        ("associatedIndexId", flag("-associated-index-id")),
    ];
    let url = format!("{}{}", variable("SRC_ENDPOINT"), flag("-upload-route"));
    let url = Url::parse_with_params(&url, query).unwrap();
    let request = harness.client.post(url).header("Content-Type", "application/x-protobuf+scip");
    let request = request.header("X-Uncompressed-Size", index.len().to_string());
    told(request.header("Authorization", variable("SRC_HEADER_AUTHORIZATION")).body(packed(index))).await
}

#[tokio::test]
async fn a_stock_executor_makes_an_index_which_is_there_afterwards() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository(REPOSITORY, &source.path()).await;
    let id = json!(
        submit(
            &harness,
            json!({
                "steps": [{"image": "alpine:3", "commands": ["touch made"]}], "indexer": "sourcegraph/scip-go:v1.2.3",
                "indexer_args": ["scip-go"], "outfile": "index.scip",
            }),
        )
        .await
    );

    let stock = Stock::dequeue(&harness).await;
    assert_eq!((stock.queue(), &stock.job["id"]), ("codeintel", &id));
    let workspace = tempfile::tempdir().unwrap();
    stock.clone_into(workspace.path()).await;
    for step in stock.job["dockerSteps"].as_array().unwrap() {
        let key = step["key"].as_str().unwrap();
        if key == "upload" {
            let (status, text) = upload_as_src(&harness, step, b"what the indexer made").await;
            assert_eq!(status, 202, "{text}");
        }
        stock.command(&format!("step.docker.{key}"), "done").await;
    }
    assert_eq!(stock.call("markComplete", json!({})).await.0, 204);

    let shown = harness.get(&format!("/jobs/{id}")).await;
    assert_eq!(shown["state"], "completed");
    let steps: Vec<_> =
        shown["steps"].as_array().unwrap().iter().map(|step| (&step["key"], &step["exitCode"])).collect();
    let zero = json!(0);
    let keys = [json!("pre-index.0"), json!("indexer"), json!("upload")];
    assert_eq!(steps, keys.iter().map(|key| (key, &zero)).collect::<Vec<_>>());
    let upload = &harness.list("/uploads").await[0];
    assert_eq!((&upload["associatedIndexId"], &upload["repository"]), (&id, &json!(REPOSITORY)));
    assert_eq!((&upload["indexerName"], &upload["commit"]), (&json!("scip-go"), &stock.job["commit"]));
    let content = content(&harness, upload["id"].as_i64().unwrap()).await;
    assert_eq!(content, packed(b"what the indexer made"));
}
