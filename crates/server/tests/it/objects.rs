//! Results in an object store that speaks S3.

use crate::artifacts::{leaving, put, taken};
use crate::harness::{Harness, problem, told};
use crate::uploads::{COMMIT, accepted, call, content, packed, with_repository_and};
use reqwest::Method;
use serde_json::json;
use server::{S3Credentials, ServerConfig};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use testkit::{S3Server, SmallDisk};

/// Bytes of more than one part of an upload to S3.
const LARGE: usize = 9 << 20;

/// A server whose results go there, with a repository.
async fn keeping_in(s3: &S3Server) -> (Harness, TempDir) {
    keeping_in_and(s3, |_| {}).await
}

async fn keeping_in_and(s3: &S3Server, more: impl FnOnce(&mut ServerConfig)) -> (Harness, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("site-config.jsonc");
    let bucket =
        json!({"bucket": s3.bucket(), "endpoint": s3.url(), "region": "us-east-1", "prefix": "of/ours"});
    let site = json!({"executors.accessToken": "a-secret-of-enough-length", "executors.objectStore": bucket});
    std::fs::write(&file, site.to_string()).unwrap();
    let adjust = |config: &mut ServerConfig| {
        config.site_config = Some(file);
        config.s3_credentials = S3Credentials::parse(&s3.credentials());
        more(config);
    };
    (with_repository_and(adjust).await, dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_and_indexes_are_kept_in_s3_and_wait_for_it() {
    let test = "artifacts_and_indexes_are_kept_in_s3_and_wait_for_it";
    let Some(mut s3) = S3Server::start(test) else { return };
    let (harness, _dir) = keeping_in(&s3).await;
    let (job, _) = taken(&harness, &leaving(&[("app", "out/app"), ("large", "large")])).await;
    assert_eq!(put(&harness, &job, "app/out/app", "an artifact").await.0, 200);
    let large = "0123456789abcdef".repeat(LARGE / 16);
    assert_eq!(put(&harness, &job, "large/large", &large).await.0, 200);
    let artifact = format!("/jobs/{}/artifacts/app", job.id);
    let part = harness.api(Method::GET, &artifact).header("Range", "bytes=3-5");
    assert_eq!(told(part).await, (206, "art".to_owned()));
    let end = format!("bytes={}-", large.len() - 4);
    let path = format!("/jobs/{}/artifacts/large", job.id);
    assert_eq!(told(harness.api(Method::GET, &path).header("Range", end)).await, (206, "cdef".to_owned()));

    let about = format!("repository=app&commit={COMMIT}");
    let index = packed(b"an index in two parts");
    let (first, second) = index.split_at(10);
    let id = accepted(call(&harness, &format!("{about}&multiPart=true&numParts=2"), "")).await;
    for (part, bytes) in [(1, second), (0, first)] {
        let sent = told(call(&harness, &format!("uploadId={id}&index={part}"), bytes.to_vec())).await;
        assert_eq!(sent.0, 204, "{}", sent.1);
    }
    assert_eq!(told(call(&harness, &format!("uploadId={id}&done=true"), "")).await.0, 204);
    assert_eq!(content(&harness, id).await, index);
    let keys = s3.keys();
    let below = |place: &str| keys.iter().filter(|key| key.starts_with(&format!("of/ours/{place}/"))).count();
    assert_eq!((below("artifacts"), below("uploads")), (2, 2), "{keys:?}");

    // While it is away all of that is told, nothing is lost, and nothing new is taken as if it were kept.
    s3.crash();
    let (status, code, _) = problem(harness.api(Method::GET, &artifact)).await;
    assert_eq!((status, code.as_str()), (503, "object_store_failed"));
    assert_eq!(put(&harness, &job, "app/out/app", "another one").await.0, 503);
    let refused = told(call(&harness, &about, packed(b"an index"))).await;
    assert_eq!(refused.0, 503, "{}", refused.1);
    s3.restart();
    assert_eq!(told(harness.api(Method::GET, &artifact)).await, (200, "an artifact".to_owned()));
    assert_eq!(put(&harness, &job, "app/out/app", "another one").await.0, 200);
    assert_eq!(told(harness.api(Method::GET, &artifact)).await, (200, "another one".to_owned()));
    assert_eq!(content(&harness, id).await, index);
}

#[tokio::test]
async fn what_is_known_of_objects_leaves_the_database_its_room() {
    let test = "what_is_known_of_objects_leaves_the_database_its_room";
    let Some(s3) = S3Server::start(test) else { return };
    let Some(disk) = SmallDisk::mount(test, 64 << 20) else { return };
    let (harness, _dir) = keeping_in_and(&s3, |config| {
        config.data_dir = disk.path().join("data");
        config.disk_floor = Some(8 << 20);
    })
    .await;
    let (job, _) = taken(&harness, &leaving(&[("app", "out/app")])).await;
    let upload = || call(&harness, &format!("repository=app&commit={COMMIT}"), packed(b"an index"));
    accepted(upload()).await;
    disk.fill(4 << 20);
    let begun = Instant::now();
    // What was seen of the disk holds for a moment.
    while told(upload()).await.0 != 507 {
        assert!(begun.elapsed() < Duration::from_secs(10), "it is taken below the floor");
    }
    assert_eq!(put(&harness, &job, "app/out/app", "an artifact").await.0, 507);
}
