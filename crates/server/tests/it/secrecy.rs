//! No secret in any log.

use crate::harness::{EXECUTOR, Harness, job, told};
use crate::source::SourceRepo;
use jobs::JobSpec;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;
use testkit::Told;
use tracing::level_filters::LevelFilter;

#[tokio::test]
async fn the_secret_of_a_job_that_ended_is_off_the_disk_within_seconds() {
    let harness = Harness::start().await;
    let secret = "v4lue-that-must-go";
    let on_disk = || {
        let files = ["executor.db", "executor.db-wal"];
        let bytes = files.map(|file| std::fs::read(harness.data().join(file)).unwrap_or_default()).concat();
        bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
    };
    harness.submit(&JobSpec { secrets: [("KEY".to_owned(), secret.to_owned())].into(), ..job() }).await;
    let job = harness.dequeue("batches").await.unwrap();
    assert!(on_disk());
    let ended = std::time::Instant::now();
    assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);
    while on_disk() {
        // Far below the time between two regular checkpoints.
        assert!(ended.elapsed().as_secs() < 8, "the secret is still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn no_secret_is_logged_at_any_level() {
    let told_in_log = Told::default();
    let writer = told_in_log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // The test's runtime has one thread, so this hears the server as well.
    let _listening = tracing::subscriber::set_default(subscriber);

    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository("demo", &source.path()).await;
    let unreachable = json!({"name": "other", "source": "http://ann:p4ssw0rd-of-ann@127.0.0.1:9/x"});
    assert_eq!(told(harness.api(Method::POST, "/repositories").json(&unreachable)).await.0, 422);
    let secrets = [("KEY".to_owned(), "v4lue-of-key".to_owned())];
    harness.submit(&JobSpec { repo: Some("demo".to_owned()), secrets: secrets.into(), ..job() }).await;
    let job = harness.dequeue("batches").await.unwrap();
    let entry = harness.add_log(&job, "step.docker.0").await;
    harness.append(&job, entry, 0, "t3xt-of-log\n").await;
    let refs = format!("/.executors/git/demo/info/refs?service=git-upload-pack&x={EXECUTOR}");
    assert_eq!(told(harness.with_job_token(Method::GET, &job, &refs)).await.0, 200);
    assert_eq!(told(harness.client.get(harness.url("/api/v1/jobs")).bearer_auth("wr0ng-token")).await.0, 401);
    harness.mark(&job, "markFailed", json!({"errorMessage": "m3ssage"})).await;
    let (shared, api) = (harness.shared_secret(), harness.server.api_token().expose_secret().to_owned());
    harness.stop().await;

    let logged = told_in_log.text();
    assert!(logged.contains("a job ended") && logged.contains("markFailed"), "the log was heard: {logged}");
    let never = [&*shared, &api, &job.token, "p4ssw0rd", "v4lue-of-key", "t3xt-of-log", "wr0ng-token"];
    for secret in never {
        assert!(!logged.contains(secret), "{secret} is in the log");
    }
}
