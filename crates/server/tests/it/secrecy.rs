//! No secret in any log.

use crate::harness::{EXECUTOR, Harness, job, told};
use crate::source::SourceRepo;
use jobs::JobSpec;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;
use std::os::unix::ffi::OsStringExt;
use testkit::Told;
use tracing::level_filters::LevelFilter;

#[tokio::test]
async fn no_secret_is_ever_on_the_disk() {
    let harness = Harness::start().await;
    let (of_job, kept) = ("v4lue-of-a-job", "v4lue-that-is-kept");
    let on_disk = |there: &str| {
        let (mut dirs, mut bytes) = (vec![harness.data()], Vec::new());
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    dirs.push(entry.path());
                    continue;
                }
                // What is in a name is on the disk as well. Some files go while they are looked at.
                bytes.extend(entry.path().into_os_string().into_vec());
                bytes.extend(std::fs::read(entry.path()).unwrap_or_default());
            }
        }
        let contains = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(contains(there), "{there} is there");
        contains(of_job) || contains(kept)
    };
    harness.set_secret("KEPT", kept).await;
    let spec = JobSpec {
        secrets: [("KEY".to_owned(), of_job.to_owned())].into(),
        stored_secrets: vec!["KEPT".to_owned()],
        ..job()
    };
    harness.submit(&spec).await;
    assert!(!on_disk("alpine"));
    let job = harness.dequeue("batches").await.unwrap();
    assert_eq!(job.docker_steps[0].env, [format!("KEPT={kept}"), format!("KEY={of_job}")]);
    let entry = harness.add_log(&job, "step.docker.0").await;
    harness.append(&job, entry, 0, "stdout: t3xt-in-a-directory\n").await;
    assert!(!on_disk("t3xt-in-a-directory"));
    assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);
    assert!(!on_disk("alpine"));
    let dir = harness.stop().await;
    let harness = Harness::start_in(dir, |_| {}).await;
    assert_eq!(harness.get("/secrets").await["items"][0]["key"], "KEPT");
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
    harness.set_secret("KEPT", "v4lue-kept").await;
    let bad = json!({"key": "DOCKER_AUTH_CONFIG", "value": "v4lue-kept"});
    assert_eq!(told(harness.api(Method::PUT, "/secrets").json(&bad)).await.0, 422);
    let stored_secrets = vec!["KEPT".to_owned()];
    let repo = Some("demo".to_owned());
    harness.submit(&JobSpec { repo, secrets: secrets.into(), stored_secrets, ..job() }).await;
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
    let never =
        [&*shared, &api, &job.token, "p4ssw0rd", "v4lue-of-key", "v4lue-kept", "t3xt-of-log", "wr0ng-token"];
    for secret in never {
        assert!(!logged.contains(secret), "{secret} is in the log");
    }
}
