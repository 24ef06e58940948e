//! Two servers on one database and one bucket, and calls about one job that alternate between them.

use crate::files::{file_path, uploaded_id, with_upload};
use crate::harness::{EXECUTOR, Harness, job, problem, told};
use crate::pages::Visitor;
use crate::source::{SourceRepo, git};
use crate::stream::Events;
use jobs::JobSpec;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use server::{S3Credentials, SecretKeys, ServerConfig, rotate_secret_key};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use testkit::{Postgres, S3Server};
use wire::Job;

/// What both seal secrets with.
const KEYS: &str = "first:1111111111111111111111111111111111111111111111111111111111111111";

struct Pair {
    a: Harness,
    b: Harness,
    s3: S3Server,
    _postgres: Postgres,
    _dir: TempDir,
}

impl Pair {
    async fn start(test: &str) -> Option<Self> {
        let (postgres, s3) = (Postgres::start(test)?, S3Server::start(test)?);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("site-config.jsonc");
        let bucket = json!({"bucket": s3.bucket(), "endpoint": s3.url(), "region": "us-east-1"});
        let site =
            json!({"executors.accessToken": "a-secret-of-both-servers", "executors.objectStore": bucket});
        std::fs::write(&file, site.to_string()).unwrap();
        let adjust = |config: &mut ServerConfig| {
            config.site_config = Some(file.clone());
            config.database_url = Some(postgres.url());
            config.s3_credentials = S3Credentials::parse(&s3.credentials());
            config.secret_keys = SecretKeys::Given(KEYS.into());
            config.limits.seal_logs_every = Duration::from_millis(50);
        };
        let (a, b) = (Harness::start_with(adjust).await, Harness::start_with(adjust).await);
        Some(Self { a, b, s3, _postgres: postgres, _dir: dir })
    }
}

/// What an executor does for a job's workspace: it fetches one commit. Off the runtime's thread, which serves it.
async fn fetched(harness: &Harness, job: &Job, repository: &str) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let url = harness.url(&format!("/.executors/git/{repository}"));
    let mut fetch = Harness::git_headers(job);
    fetch.extend(["fetch", "--quiet", "--depth=1", &url, &job.commit].map(str::to_owned));
    let run = move || {
        git(dir.path(), &["init", "--quiet", "."])?;
        git(dir.path(), &fetch.iter().map(String::as_str).collect::<Vec<_>>())?;
        git(dir.path(), &["show", "FETCH_HEAD:README"])
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn beat(harness: &Harness, job: &Job) -> Value {
    let body = json!({"version": "V2", "executorName": EXECUTOR, "jobIds": [job.id]});
    let answer = harness.executor("/.executors/queue/batches/heartbeat").json(&body).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["knownIds"].take()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_calls_of_a_job_go_to_either_server() {
    let Some(pair) = Pair::start("the_calls_of_a_job_go_to_either_server").await else { return };
    let (a, b) = (&pair.a, &pair.b);
    let source = SourceRepo::new();
    a.add_repository("demo", &source.path()).await;
    let file = uploaded_id(a, "of the first server").await;
    let spec = with_upload(JobSpec { repo: Some("demo".to_owned()), ..job() }, "in.txt", &file);
    let id = a.submit(&spec).await;
    let job = b.dequeue("batches").await.unwrap();
    assert_eq!(job.id.0, id);

    // The workspace comes from the one as well as from the other.
    for server in [b, a] {
        assert_eq!(fetched(server, &job, "demo").await.unwrap(), "hello");
        let file = server.with_job_token(Method::GET, &job, &file_path(&job, &file));
        assert_eq!(told(file).await, (200, "of the first server".to_owned()));
        assert_eq!(beat(server, &job).await, json!([id.to_string()]));
    }

    // The log is taken by turns, and followed through either.
    let mut followers = [Events::open(a, id, None).await, Events::open(b, id, None).await];
    let entry = a.add_log(&job, "step.docker.step.0.run").await;
    assert_eq!(b.append(&job, entry, 0, "one, ").await.status(), 200);
    assert_eq!(a.append(&job, entry, 5, "two, ").await.status(), 200);
    assert_eq!(b.append(&job, entry, 10, "three").await.status(), 200);
    for events in &mut followers {
        let mut text = String::new();
        while text.len() < 15 {
            text.push_str(&events.next_text().await.1);
        }
        assert_eq!(text, "one, two, three");
    }
    assert_eq!(b.mark(&job, "markComplete", json!({})).await.status(), 204);
    assert_eq!(a.get(&format!("/jobs/{id}")).await["state"], "completed");

    // Once its try is over it is an object, and reads the same.
    let begun = Instant::now();
    while !pair.s3.keys().iter().any(|key| key.starts_with("logs/")) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", pair.s3.keys());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for server in [a, b] {
        let text = server.api(Method::GET, &format!("/jobs/{id}/logs/{entry}/text"));
        assert_eq!(told(text).await, (200, "one, two, three".to_owned()));
        assert_eq!(server.data().join("logs").read_dir().unwrap().count(), 0, "nothing is on a disk");
    }
}

/// Without a bucket each keeps the logs of the jobs that ended at it on its own disk. Whoever asks the other one is told so, and
/// sees what else there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_on_the_other_servers_disk_is_told_in_words() {
    let test = "a_log_on_the_other_servers_disk_is_told_in_words";
    let Some(postgres) = Postgres::start(test) else { return };
    let adjust = |config: &mut ServerConfig| {
        config.database_url = Some(postgres.url());
        config.secret_keys = SecretKeys::Given(KEYS.into());
        config.limits.seal_logs_every = Duration::from_millis(50);
    };
    // The second one starts when the log is sealed, so that it is the first that keeps it.
    let a = Harness::start_with(adjust).await;
    let id = a.submit(&job()).await;
    let job = a.dequeue("batches").await.unwrap();
    let entry = a.add_log(&job, "step.docker.step.0.run").await;
    assert_eq!(a.append(&job, entry, 0, "stdout: on one disk\n").await.status(), 200);
    assert_eq!(a.mark(&job, "markComplete", json!({})).await.status(), 204);
    let begun = Instant::now();
    while std::fs::read_dir(a.data().join("objects/logs")).map_or(0, Iterator::count) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the log becomes an object");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let b = Harness::start_with(adjust).await;
    let path = format!("/jobs/{id}/logs/{entry}/text");
    assert_eq!(told(a.api(Method::GET, &path)).await, (200, "stdout: on one disk\n".to_owned()));
    let (status, code, detail) = problem(b.api(Method::GET, &path)).await;
    assert_eq!((status, code.as_str()), (503, "result_elsewhere"));
    let followed = problem(b.api(Method::GET, &format!("/jobs/{id}/logs/stream"))).await;
    assert_eq!((followed.0, followed.1.as_str()), (503, "result_elsewhere"));
    assert!(detail.contains("executors.objectStore") && detail.contains("own disks"), "{detail}");

    let visitor = Visitor::with_token(&b, b.server.api_token().expose_secret()).await;
    for page in ["", "/log"] {
        let told = visitor.get(&format!("/jobs/{id}{page}")).await;
        assert_eq!(told.status, 200, "{page}: {}", told.body);
        assert!(told.body.contains("The result is not on this server"), "{page}: {}", told.body);
        assert!(told.body.contains("completed") && told.body.contains("step.0"), "{page}: {}", told.body);
    }
    let download = visitor.get(&format!("/jobs/{id}/log/text")).await;
    assert!(download.status == 503 && download.body.contains("own disks"), "{}", download.body);
}

/// A server that has a mirror already fetches what another one resolved since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_catches_up_with_what_another_server_resolved() {
    let Some(pair) = Pair::start("a_mirror_catches_up_with_what_another_server_resolved").await else {
        return;
    };
    let (a, b) = (&pair.a, &pair.b);
    let source = SourceRepo::new();
    a.add_repository("demo", &source.path()).await;
    let spec = JobSpec { repo: Some("demo".to_owned()), ..job() };
    b.submit(&spec).await;
    let first = a.dequeue("batches").await.unwrap();
    let later = source.commit("README", "later\n");
    a.submit(&spec).await;
    let second = b.dequeue("batches").await.unwrap();
    assert_eq!(second.commit, later);
    for (job, readme) in [(&first, "hello"), (&second, "later")] {
        assert_eq!(fetched(a, job, "demo").await.unwrap(), readme);
        assert_eq!(fetched(b, job, "demo").await.unwrap(), readme);
    }
}

/// Several jobs need it at once; it is made once, and one that can't be made is told as something to try again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_is_missing_is_made_once() {
    let Some(pair) = Pair::start("a_mirror_that_is_missing_is_made_once").await else { return };
    let (a, b) = (&pair.a, &pair.b);
    let source = SourceRepo::new();
    a.add_repository("demo", &source.path()).await;
    a.submit(&JobSpec { repo: Some("demo".to_owned()), ..job() }).await;
    let job = a.dequeue("batches").await.unwrap();
    let away = source.path().with_extension("away");
    std::fs::rename(source.path(), &away).unwrap();
    let refs =
        || b.with_job_token(Method::GET, &job, "/.executors/git/demo/info/refs?service=git-upload-pack");
    let (status, refused) = told(refs()).await;
    assert_eq!(status, 503, "{refused}");
    assert!(refused.contains("try again"), "{refused}");
    std::fs::rename(&away, source.path()).unwrap();
    let all = tokio::join!(told(refs()), told(refs()), told(refs()));
    assert_eq!([all.0.0, all.1.0, all.2.0], [200; 3]);
    let mirrors: Vec<_> = b.data().join("repositories").read_dir().unwrap().collect();
    assert_eq!(mirrors.len(), 1, "{mirrors:?}");
}

/// One of two servers is given a new key, and the other one is forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_key_that_is_in_use_says_so_and_leaves_jobs_to_the_other() {
    let test = "a_server_without_a_key_that_is_in_use_says_so_and_leaves_jobs_to_the_other";
    let Some(postgres) = Postgres::start(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let files = ["a", "b"].map(|name| dir.path().join(name));
    let site = dir.path().join("site-config.jsonc");
    std::fs::write(&site, json!({"executors.accessToken": "a-secret-of-both-servers"}).to_string()).unwrap();
    let start = async |keys: &Path| {
        std::fs::write(keys, KEYS).unwrap();
        let adjust = |config: &mut ServerConfig| {
            config.site_config = Some(site.clone());
            config.database_url = Some(postgres.url());
            config.secret_keys = SecretKeys::File(keys.to_owned());
        };
        Harness::start_with(adjust).await
    };
    let (a, b) = (start(&files[0]).await, start(&files[1]).await);
    let ready = async |server: &Harness| told(server.client.get(server.url("/readyz"))).await;
    let until = async |server: &Harness, wanted: u16| {
        let begun = Instant::now();
        loop {
            let (status, why) = ready(server).await;
            if status == wanted {
                return why;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{status} {why}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until(&b, 200).await;

    let key = rotate_secret_key(&files[0], false).unwrap().id;
    let why = until(&b, 503).await;
    assert!(why.starts_with("sealing key: ") && why.contains(&key) && why.contains("put it back"), "{why}");
    a.set_secret("KEPT", "value-that-is-kept").await;
    let of_its_own =
        JobSpec { secrets: [("OF_JOB".to_owned(), "value-of-the-job".to_owned())].into(), ..job() };
    let kept = JobSpec { stored_secrets: vec!["KEPT".to_owned()], ..job() };
    for spec in [&of_its_own, &kept] {
        let id = a.submit(spec).await;
        let (status, said) = told(b.dequeue_request("batches")).await;
        assert_eq!((status, said.as_str()), (204, ""));
        let job = a.dequeue("batches").await.unwrap();
        assert_eq!((job.id.0, a.get(&format!("/jobs/{id}")).await["attempt"].as_i64()), (id, Some(1)));
    }
    assert_eq!(ready(&a).await.0, 200);

    std::fs::copy(&files[0], &files[1]).unwrap();
    until(&b, 200).await;
    for spec in [of_its_own, kept] {
        let id = a.submit(&spec).await;
        assert_eq!(b.dequeue("batches").await.unwrap().id.0, id);
    }
}
