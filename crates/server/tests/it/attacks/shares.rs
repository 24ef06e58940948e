//! What the jobs of one namespace take from those of others.

use crate::access::Holder;
use crate::files::{file_path, with_upload};
use crate::harness::{Harness, job, told};
use crate::source::SourceRepo;
use jobs::{JobSpec, Role};
use reqwest::{Body, Method, RequestBuilder, Response};
use serde_json::Value;
use server::Limits;
use std::time::Duration;
use wire::Job;

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_millis(50);
/// All that there is to ask for refs.
const WHOLE: &str = "0014command=ls-refs\n00010000";

/// A job of a namespace that was given out.
async fn given(harness: &Harness, holder: &Holder, spec: &JobSpec) -> Job {
    let (status, told) = told(holder.call(harness, Method::POST, "/jobs").json(spec)).await;
    assert_eq!(status, 201, "{told}");
    harness.dequeue("batches").await.unwrap()
}

/// Two namespaces that anybody may be of.
async fn two(harness: &Harness) -> [Holder; 2] {
    [
        Holder::new(harness, Role::Submitter, "org:acme").await,
        Holder::new(harness, Role::Submitter, "org:other").await,
    ]
}

/// One with two git transfers at one time, and what jobs in its repository are.
async fn with_two_transfers(source: &SourceRepo) -> (Harness, JobSpec) {
    let harness = Harness::start_with(|config| {
        let limits = config.limits.clone();
        config.limits = Limits { git_transfers: 2, git_transfers_per_client: 2, git_queue: SOON, ..limits };
    })
    .await;
    for namespace in ["global", "org:acme", "org:other"] {
        harness.add_repository_of("demo", &source.path(), namespace).await;
    }
    (harness, JobSpec { repo: Some("demo".to_owned()), ..job() })
}

fn fetch(harness: &Harness, job: &Job) -> RequestBuilder {
    let request = harness.with_job_token(Method::POST, job, "/.executors/git/demo/git-upload-pack");
    request.header("Git-Protocol", "version=2")
}

/// A transfer that does not end.
async fn stuck(harness: &Harness, job: &Job) -> Response {
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>("0014command=ls-refs\n")]);
    let endless = futures_util::StreamExt::chain(first, futures_util::stream::pending());
    let stuck = fetch(harness, job).body(Body::wrap_stream(endless)).send().await.unwrap();
    assert_eq!(stuck.status(), 200);
    stuck
}

#[tokio::test]
async fn the_jobs_of_one_namespace_leave_git_transfers_to_others() {
    let source = SourceRepo::new();
    let (harness, spec) = with_two_transfers(&source).await;
    let [acme, other] = two(&harness).await;
    let (mine, others) = (given(&harness, &acme, &spec).await, given(&harness, &other, &spec).await);
    let stuck = stuck(&harness, &mine).await;
    assert_eq!(told(fetch(&harness, &mine).body(WHOLE)).await.0, 503, "it has its half");
    let (status, refs) = told(fetch(&harness, &others).body(WHOLE)).await;
    assert_eq!(status, 200, "{refs}");
    drop(stuck);
}

/// Where there are no others, half of them would be for nobody.
#[tokio::test]
async fn the_jobs_of_the_global_namespace_may_have_all_git_transfers() {
    let source = SourceRepo::new();
    let (harness, spec) = with_two_transfers(&source).await;
    harness.submit(&spec).await;
    let job = harness.dequeue("batches").await.unwrap();
    let stuck = stuck(&harness, &job).await;
    let (status, refs) = told(fetch(&harness, &job).body(WHOLE)).await;
    assert_eq!(status, 200, "{refs}");
    drop(stuck);
}

/// One with room for so many bytes of files, all of which one address may have.
async fn with_room_for_files(bytes: usize) -> Harness {
    Harness::start_with(|config| {
        let limits = config.limits.clone();
        config.limits =
            Limits { file_reads: bytes, file_reads_per_client: bytes, file_read_queue: SOON, ..limits };
    })
    .await
}

/// As many of a job's files as there is room for where nobody reads them.
async fn unread_files(harness: &Harness, job: &Job, path: &str) -> Vec<Response> {
    let mut held = Vec::new();
    loop {
        let response = harness.with_job_token(Method::GET, job, path).send().await.unwrap();
        if response.status() == 503 {
            return held;
        }
        assert_eq!(response.status(), 200);
        held.push(response);
        assert!(held.len() < 40, "files that nobody reads are in memory");
    }
}

#[tokio::test]
async fn the_jobs_of_one_namespace_leave_room_for_files_to_others() {
    let harness = with_room_for_files(4 * MIB).await;
    let mut files = Vec::new();
    for holder in two(&harness).await {
        let upload = holder.call(&harness, Method::POST, "/files?name=data.bin").body(vec![b'f'; 16 * MIB]);
        let uploaded: Value = serde_json::from_str(&told(upload).await.1).unwrap();
        let id = uploaded["id"].as_str().unwrap();
        let job = given(&harness, &holder, &with_upload(job(), "data.bin", id)).await;
        files.push((file_path(&job, id), job));
    }
    let [(mine, ours), (theirs, others)] = &files[..] else { panic!("{files:?}") };
    let held = unread_files(&harness, ours, mine).await;
    let (status, read) = told(harness.with_job_token(Method::GET, others, theirs)).await;
    assert_eq!((status, read.len()), (200, 16 * MIB));
    drop(held);
}

#[tokio::test]
async fn the_jobs_of_the_global_namespace_may_have_all_room_for_files() {
    let mut had = Vec::new();
    for namespace in ["global", "org:acme"] {
        let harness = with_room_for_files(4 * MIB).await;
        let holder = Holder::new(&harness, Role::Submitter, namespace).await;
        let upload = holder.call(&harness, Method::POST, "/files?name=data.bin").body(vec![b'f'; 16 * MIB]);
        let uploaded: Value = serde_json::from_str(&told(upload).await.1).unwrap();
        let id = uploaded["id"].as_str().unwrap();
        let job = given(&harness, &holder, &with_upload(job(), "data.bin", id)).await;
        had.push(unread_files(&harness, &job, &file_path(&job, id)).await.len());
    }
    assert!(had[0] >= 2 * had[1] && had[1] > 0, "{had:?}");
}
