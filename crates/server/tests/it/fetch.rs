//! Fetching with the real git, as executors do.

use crate::harness::{Harness, job, told};
use crate::source::{SourceRepo, git};
use flate2::Compression;
use flate2::write::GzEncoder;
use jobs::JobSpec;
use reqwest::{Method, RequestBuilder};
use std::io::Write;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::Job;

/// A running job on a mirrored repository.
struct Setup {
    harness: Harness,
    source: SourceRepo,
    job: Job,
}

impl Setup {
    async fn new() -> Self {
        let harness = Harness::start().await;
        let source = SourceRepo::new();
        harness.add_repository("demo", &source.path()).await;
        harness.submit(&JobSpec { repo: Some("demo".to_owned()), ..job() }).await;
        let job = harness.dequeue("batches").await.unwrap();
        Self { harness, source, job }
    }

    /// Runs git with the headers that executors send. Off the runtime's thread, which serves it.
    async fn git(&self, dir: &TempDir, args: &[&str]) -> Result<String, String> {
        let mut all = Harness::git_headers(&self.job);
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let dir = dir.path().to_owned();
        let run = move || git(&dir, &all.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    fn url(&self, name: &str) -> String {
        self.harness.url(&format!("/.executors/git/{name}"))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.harness.with_job_token(method, &self.job, &format!("/.executors/git/{path}"))
    }
}

#[tokio::test]
async fn a_bare_commit_id_is_fetched_alone() {
    let setup = Setup::new().await;
    let unnamed = setup.source.commit("second", "2");
    setup.source.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    // The mirror still has what the branch no longer leads to.
    for protocol in ["protocol.version=0", "protocol.version=2"] {
        let dir = tempfile::tempdir().unwrap();
        setup.git(&dir, &["init", "--quiet", "."]).await.unwrap();
        let url = setup.url("demo");
        let fetch = ["-c", protocol, "fetch", "--quiet", "--depth=1", &url, &setup.job.commit];
        setup.git(&dir, &fetch).await.unwrap();
        setup.git(&dir, &["checkout", "--quiet", "FETCH_HEAD"]).await.unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("README")).unwrap(), "hello\n");
        assert_eq!(setup.git(&dir, &["rev-list", "--count", "HEAD"]).await.unwrap(), "1");
        assert!(setup.git(&dir, &["cat-file", "-e", &unnamed]).await.is_err());
    }
}

#[tokio::test]
async fn a_whole_clone_works_and_a_partial_one_too() {
    let setup = Setup::new().await;
    let dir = tempfile::tempdir().unwrap();
    let url = setup.url("demo");
    setup.git(&dir, &["clone", "--quiet", &url, "whole"]).await.unwrap();
    assert!(dir.path().join("whole/README").exists());
    setup.git(&dir, &["clone", "--quiet", "--bare", "--filter=blob:none", &url, "partial"]).await.unwrap();
}

#[tokio::test]
async fn the_answers_are_marked_as_gits_and_not_to_be_kept() {
    let setup = Setup::new().await;
    let refs = setup.request(Method::GET, "demo/info/refs?service=git-upload-pack");
    let refs = refs.header("Git-Protocol", "version=2").send().await.unwrap();
    assert_eq!(refs.headers()["content-type"], "application/x-git-upload-pack-advertisement");
    assert!(refs.headers()["cache-control"].to_str().unwrap().contains("no-cache"));
    let body = refs.text().await.unwrap();
    assert!(body.starts_with("001e# service=git-upload-pack\n0000000eversion 2\n"), "{body}");
}

#[tokio::test]
async fn a_compressed_request_is_inflated() {
    let setup = Setup::new().await;
    let request = "0014command=ls-refs\n00010000";
    let ask = |body: Vec<u8>| {
        let request = setup.request(Method::POST, "demo/git-upload-pack").header("Git-Protocol", "version=2");
        request.header("Content-Type", "application/x-git-upload-pack-request").body(body)
    };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(request.as_bytes()).unwrap();
    let plain = told(ask(request.into())).await;
    let inflated = told(ask(gzip.finish().unwrap()).header("Content-Encoding", "gzip")).await;
    assert_eq!(plain.0, 200);
    assert!(plain.1.contains("refs/heads/main"), "{}", plain.1);
    assert_eq!(inflated, plain);
    assert_eq!(told(ask(vec![]).header("Content-Encoding", "br")).await.0, 415);
}

#[tokio::test]
async fn a_request_that_inflates_without_end_is_broken_off() {
    let harness = Harness::start_with(|config| config.limits.git_body = 10_000).await;
    let source = SourceRepo::new();
    harness.add_repository("demo", &source.path()).await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    // Well-formed packets, so that git itself has no reason to stop.
    gzip.write_all(b"0014command=ls-refs\n0001").unwrap();
    gzip.write_all("0014ref-prefix refs\n".repeat(100_000).as_bytes()).unwrap();
    let request = harness.executor("/.executors/git/demo/git-upload-pack");
    let request = request.header("Git-Protocol", "version=2").header("Content-Encoding", "gzip");
    let response = request.body(gzip.finish().unwrap()).send().await.unwrap();
    assert!(response.bytes().await.is_err());
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_its_place() {
    let harness = Harness::start_with(|config| config.limits.git_transfers = 1).await;
    let source = SourceRepo::new();
    harness.add_repository("demo", &source.path()).await;
    let request =
        || harness.executor("/.executors/git/demo/git-upload-pack").header("Git-Protocol", "version=2");
    // The answer begins at once, and can't end before the request has.
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>("0014command=ls-refs\n")]);
    let endless = futures_util::StreamExt::chain(first, futures_util::stream::pending());
    let stuck = request().body(reqwest::Body::wrap_stream(endless)).send().await.unwrap();
    assert_eq!(stuck.status(), 200);
    drop(stuck);
    let (status, refs) = told(request().body("0014command=ls-refs\n00010000")).await;
    assert_eq!(status, 200);
    assert!(refs.contains("refs/heads/main"), "{refs}");
}

#[tokio::test]
async fn a_request_that_does_not_come_or_only_trickles_is_ended() {
    let harness = Harness::start_with(|config| {
        let limits = &mut config.limits;
        // So long may git itself take to answer what comes well.
        let idle = Duration::from_secs(4);
        (limits.git_transfers, limits.git_idle, limits.upload_rate) = (1, idle, 1 << 20);
    })
    .await;
    let source = SourceRepo::new();
    harness.add_repository("demo", &source.path()).await;
    let head = format!(
        "POST /.executors/git/demo/git-upload-pack HTTP/1.1\r\nHost: x\r\nAuthorization: token-executor {}\r\n\
         Git-Protocol: version=2\r\nTransfer-Encoding: chunked\r\n\r\n",
        harness.shared_secret()
    );
    for trickle in ["", "14\r\n0014ref-prefix refs\n\r\n"] {
        let mut slow = TcpStream::connect(harness.server.addr()).await.unwrap();
        slow.write_all(head.as_bytes()).await.unwrap();
        slow.write_all(b"18\r\n0014command=ls-refs\n0001\r\n").await.unwrap();
        let (mut answers, mut asks) = slow.into_split();
        let mut answer = Vec::new();
        let ended = answers.read_to_end(&mut answer);
        let trickling = async {
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            while asks.write_all(trickle.as_bytes()).await.is_ok() {
                pace.tick().await;
            }
            std::future::pending::<()>().await;
        };
        let in_time = tokio::time::timeout(Duration::from_secs(40), async {
            tokio::select! { _ = ended => (), () = trickling => () }
        });
        assert!(in_time.await.is_ok(), "{trickle:?} keeps the only slot");
        let request = harness.executor("/.executors/git/demo/git-upload-pack");
        let request = request.header("Git-Protocol", "version=2").body("0014command=ls-refs\n00010000");
        let (status, refs) = told(request).await;
        assert!(status == 200 && refs.contains("refs/heads/main"), "{status} {refs}");
    }
}

#[tokio::test]
async fn nothing_but_fetching_the_jobs_own_repository_is_possible() {
    let setup = Setup::new().await;
    setup.harness.add_repository("other", &setup.source.path()).await;
    for (method, path, expected) in [
        (Method::GET, "other/info/refs?service=git-upload-pack", 403),
        (Method::POST, "other/git-upload-pack", 403),
        (Method::GET, "demo/info/refs?service=git-receive-pack", 400),
        (Method::GET, "demo/info/refs", 400),
        (Method::POST, "demo/git-receive-pack", 403),
        (Method::GET, "demo/git-upload-pack", 405),
        (Method::GET, "demo/HEAD", 404),
        (Method::GET, "demo/objects/info/packs", 404),
    ] {
        assert_eq!(told(setup.request(method, path)).await.0, expected, "{path}");
    }
    let dir = tempfile::tempdir().unwrap();
    let url = setup.url("demo");
    setup.git(&dir, &["clone", "--quiet", &url, "."]).await.unwrap();
    assert!(setup.git(&dir, &["push", "--quiet", "origin", "HEAD:evil"]).await.is_err());
    let anonymous = setup.harness.client.get(setup.url("demo/info/refs?service=git-upload-pack"));
    assert_eq!(told(anonymous).await.0, 401);
}

#[tokio::test]
async fn the_shared_secret_fetches_anything_that_is_there() {
    let setup = Setup::new().await;
    let authorization = format!("token-executor {}", setup.harness.shared_secret());
    let request = |name: &str| {
        let url = setup.url(&format!("{name}/info/refs?service=git-upload-pack"));
        setup.harness.client.get(url).header("Authorization", authorization.clone())
    };
    assert_eq!(told(request("demo")).await.0, 200);
    assert_eq!(told(request("unknown")).await, (404, "repository not found\n".to_owned()));
}
