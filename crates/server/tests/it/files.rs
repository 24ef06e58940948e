//! Files that are uploaded for jobs, and read by the jobs that name them.

use crate::access::Holder;
use crate::harness::{Harness, job, job_on, problem, told};
use jiff::SignedDuration;
use jobs::{FileSpec, JobSpec, Role};
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{MockClock, SmallDisk};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::Job;

const KIB: u64 = 1 << 10;
const LAST_CHANGE: &str = "2001-02-03T04:05:06.789Z";

fn upload(harness: &Harness, body: impl Into<reqwest::Body>) -> RequestBuilder {
    harness.api(Method::POST, &format!("/files?name=data.bin&modifiedAt={LAST_CHANGE}")).body(body)
}

async fn uploaded(harness: &Harness, body: impl Into<reqwest::Body>) -> Value {
    let response = upload(harness, body).send().await.unwrap();
    assert_eq!(response.status(), 201);
    response.json().await.unwrap()
}

pub(crate) async fn uploaded_id(harness: &Harness, body: &'static str) -> String {
    uploaded(harness, body).await["id"].as_str().unwrap().to_owned()
}

pub(crate) fn with_upload(spec: JobSpec, path: &str, id: &str) -> JobSpec {
    let file = FileSpec { path: path.to_owned(), upload: Some(id.to_owned()), ..FileSpec::default() };
    JobSpec { files: [spec.files.clone(), vec![file]].concat(), ..spec }
}

pub(crate) fn file_path(job: &Job, id: &str) -> String {
    format!("/.executors/files/batch-changes/{}/{id}", job.id)
}

/// What lies in the directory of uploaded files.
pub(crate) fn kept(harness: &Harness) -> Vec<String> {
    let entries = std::fs::read_dir(harness.data().join("files")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

async fn until_nothing_is_kept(harness: &Harness) {
    let begun = Instant::now();
    while !kept(harness).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", kept(harness));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_upload_is_told_what_arrived_and_lies_in_a_private_file() {
    let harness = Harness::start().await;
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let view = uploaded(&harness, content.clone()).await;
    let id = view["id"].as_str().unwrap();
    assert!(jobs::files::is_file_id(id), "{id}");
    let sha256 = hex::encode(Sha256::digest(&content));
    assert_eq!(
        view,
        json!({"id": id, "name": "data.bin", "size": 3_000_000, "sha256": sha256, "modifiedAt": LAST_CHANGE})
    );
    let dir = harness.data().join("files");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join(id))), (0o700, 0o600));
    assert!(std::fs::read(dir.join(id)).unwrap() == content);
    assert_eq!(kept(&harness), [id]);
}

#[tokio::test]
async fn a_job_gets_its_files_in_the_documented_shapes() {
    let harness = Harness::start().await;
    let id = uploaded_id(&harness, "uploaded\n").await;
    let inline = FileSpec {
        path: "a/inline.txt".to_owned(),
        content: Some("größer\n".to_owned()),
        ..FileSpec::default()
    };
    let spec = with_upload(JobSpec { files: vec![inline], ..job() }, "b/stored.bin", &id);
    let job_id = harness.submit(&spec).await;
    let payload: Value = harness.dequeue_request("batches").send().await.unwrap().json().await.unwrap();
    let expected = json!({
        "a/inline.txt": {"content": "Z3LDtsOfZXIK", "modifiedAt": "0001-01-01T00:00:00Z"},
        "b/stored.bin": {"bucket": "batch-changes", "key": format!("{job_id}/{id}"), "modifiedAt": LAST_CHANGE},
    });
    assert_eq!(payload["files"], expected);

    let job: Job = serde_json::from_value(payload).unwrap();
    let get = harness.with_job_token(Method::GET, &job, &file_path(&job, &id)).send().await.unwrap();
    assert_eq!((get.status().as_u16(), &get.headers()["content-length"]), (200, &"9".parse().unwrap()));
    assert_eq!(get.text().await.unwrap(), "uploaded\n");
    let head = all_that_comes_of_head(&harness, &job, &file_path(&job, &id)).await;
    let (headers, body) = head.split_once("\r\n\r\n").unwrap();
    assert!(headers.starts_with("HTTP/1.1 200"), "{headers}");
    assert!(headers.to_lowercase().contains("content-length: 9\r\n"), "{headers}");
    assert_eq!(body, "", "a client would take it for the next answer");
}

/// A client reads no body of an answer to HEAD, so whether one comes is seen below it only.
async fn all_that_comes_of_head(harness: &Harness, job: &Job, path: &str) -> String {
    let request = harness.with_job_token(Method::HEAD, job, path).build().unwrap();
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("{name}: {}\r\n", value.to_str().unwrap())
    };
    let headers: Vec<String> = request.headers().iter().map(line).collect();
    let request = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", headers.concat());
    let mut stream = TcpStream::connect(harness.server.addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_job_reads_its_own_files_and_no_others() {
    let harness = Harness::start().await;
    let (mine, other) = (uploaded_id(&harness, "mine").await, uploaded_id(&harness, "other").await);
    harness.submit(&with_upload(job(), "x", &mine)).await;
    harness.submit(&with_upload(job_on("codeintel"), "x", &other)).await;
    let me = harness.dequeue("batches").await.unwrap();
    let you = harness.dequeue("codeintel").await.unwrap();
    let not_there = (404, "workspace file does not exist\n".to_owned());
    for (path, expected) in [
        (file_path(&me, &mine), (200, "mine".to_owned())),
        (file_path(&me, &other), not_there.clone()),
        (file_path(&you, &other), not_there.clone()),
        (file_path(&you, &mine), not_there.clone()),
        (format!("/.executors/files/other-bucket/{}/{mine}", me.id), not_there.clone()),
        (format!("/.executors/files/batch-changes/{}/{}", me.id, "0".repeat(32)), not_there.clone()),
        (format!("/.executors/files/batch-changes/{}/..%2f{mine}", me.id), not_there.clone()),
        (format!("/.executors/files/batch-changes/{}/%00", me.id), not_there.clone()),
        (
            format!("/.executors/files/batch-changes/{mine}"),
            (400, "the path must be batch-changes/{job}/{file}\n".to_owned()),
        ),
    ] {
        assert_eq!(told(harness.with_job_token(Method::GET, &me, &path)).await, expected, "{path}");
    }
    assert_eq!(told(harness.with_job_token(Method::HEAD, &me, &file_path(&me, &other))).await.0, 404);
    let yours = harness.with_job_token(Method::GET, &you, &file_path(&you, &other));
    assert_eq!(told(yours).await, (200, "other".to_owned()), "whatever the queue");

    let url = harness.url(&file_path(&me, &mine));
    assert_eq!(told(harness.client.get(&url)).await.0, 401);
    let shared = harness.client.get(&url);
    let shared = shared.header("Authorization", format!("token-executor {}", harness.shared_secret()));
    assert_eq!(told(shared).await, (200, "mine".to_owned()), "as old executors do");
    assert_eq!(harness.mark(&me, "markComplete", json!({})).await.status(), 204);
    assert_eq!(told(harness.with_job_token(Method::GET, &me, &file_path(&me, &mine))).await.0, 401);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let harness = Harness::start_with(|config| {
        (config.limits.file, config.limits.files_total, config.limits.job_files) =
            (100 * KIB, 170 * KIB, 120 * KIB);
    })
    .await;
    let large = || "x".repeat(101 << 10);
    let chunked = || reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, String>(large())]));
    for body in [reqwest::Body::from(large()), chunked()] {
        let (status, code, detail) = problem(upload(&harness, body)).await;
        assert_eq!((status, code.as_str()), (413, "file_too_large"), "{detail}");
        assert!(detail.contains("102400 bytes"), "{detail}");
    }
    assert_eq!(kept(&harness), [""; 0]);
    let first = uploaded(&harness, "x".repeat(100 << 10)).await["id"].as_str().unwrap().to_owned();
    for body in [reqwest::Body::from("x".repeat(71 << 10)), chunked()] {
        let (status, code, detail) = problem(upload(&harness, body)).await;
        assert_eq!((status, code.as_str()), (507, "files_full"), "{detail}");
    }
    let second = uploaded(&harness, "x".repeat(50 << 10)).await["id"].as_str().unwrap().to_owned();
    assert_eq!(kept(&harness).len(), 2);

    let both = with_upload(with_upload(job(), "a", &first), "b", &second);
    let (status, code, detail) = problem(harness.api(Method::POST, "/jobs").json(&both)).await;
    assert_eq!((status, code.as_str()), (422, "invalid_job"));
    assert!(detail.contains("153600 bytes") && detail.contains("122880"), "{detail}");
    let unknown = with_upload(job(), "a", &"0".repeat(32));
    let (status, code, detail) = problem(harness.api(Method::POST, "/jobs").json(&unknown)).await;
    assert_eq!((status, code.as_str()), (422, "unknown_file"), "{detail}");
    assert_eq!(harness.get("/jobs").await["items"], json!([]));
}

#[tokio::test]
async fn an_upload_that_is_not_understood_is_refused_with_the_reason() {
    let harness = Harness::start().await;
    let post = |query: &str| harness.api(Method::POST, &format!("/files{query}")).body("x");
    let long = format!("?name={}", "n".repeat(256));
    for (request, expected) in [
        (post(""), (400, "invalid_query")),
        (post("?name="), (400, "invalid_query")),
        (post("?name=a%0Ab"), (400, "invalid_query")),
        (post(&long), (400, "invalid_query")),
        (post("?name=a&modifiedAt=yesterday"), (400, "invalid_query")),
        (post("?name=a&mode=777"), (400, "invalid_query")),
        (post("?name=a").header("Content-Encoding", "gzip"), (415, "encoded_file")),
        (harness.client.post(harness.url("/api/v1/files?name=a")).body("x"), (401, "unauthorized")),
    ] {
        let (status, code, detail) = problem(request).await;
        assert_eq!((status, code.as_str()), expected, "{detail}");
    }
    assert_eq!(kept(&harness), [""; 0]);
}

/// A connection on which the head of an upload of 1,000 bytes was sent, and 400 of them.
async fn half_an_upload(harness: &Harness) -> TcpStream {
    let token = harness.server.api_token().expose_secret();
    let mut stream = TcpStream::connect(harness.server.addr()).await.unwrap();
    let head = format!(
        "POST /api/v1/files?name=x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b'x'; 400]).await.unwrap();
    let begun = Instant::now();
    while kept(harness).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the upload did not begin");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stream
}

#[tokio::test]
async fn an_interrupted_upload_leaves_nothing() {
    let harness = Harness::start().await;
    drop(half_an_upload(&harness).await);
    until_nothing_is_kept(&harness).await;
}

#[tokio::test]
async fn an_upload_that_stands_still_is_given_up() {
    let harness = Harness::start_with(|config| config.limits.body_read = Duration::from_millis(200)).await;
    let stream = half_an_upload(&harness).await;
    until_nothing_is_kept(&harness).await;
    drop(stream);
}

#[tokio::test]
async fn an_upload_that_never_ends_is_given_up_however_busy_it_is() {
    let harness = Harness::start_with(|config| config.limits.upload = Duration::from_millis(300)).await;
    let drops = futures_util::stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok::<_, String>("x"), ()))
    });
    let (status, code, _) = problem(upload(&harness, reqwest::Body::wrap_stream(drops))).await;
    assert_eq!((status, code.as_str()), (408, "body_too_slow"));
    assert_eq!(kept(&harness), [""; 0]);
}

#[tokio::test]
async fn more_uploads_than_allowed_wait_and_are_told() {
    let harness = Harness::start_with(|config| {
        (config.limits.uploads, config.limits.upload_queue) = (1, Duration::from_millis(50));
    })
    .await;
    let first = half_an_upload(&harness).await;
    let (status, code, _) = problem(upload(&harness, "x")).await;
    assert_eq!((status, code.as_str()), (503, "too_many_uploads"));
    drop(first);
    until_nothing_is_kept(&harness).await;
    uploaded(&harness, "x").await;
}

/// Another client: the same token, from another host of the loopback network.
fn from_elsewhere() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy();
    builder.local_address(std::net::IpAddr::from([127, 0, 0, 2])).build().unwrap()
}

#[tokio::test]
async fn one_namespace_leaves_room_for_the_uploads_of_another_wherever_it_calls_from() {
    let harness = Harness::start_with(|config| {
        (config.limits.uploads, config.limits.upload_queue) = (2, Duration::from_millis(50));
    })
    .await;
    let ann = Holder::new(&harness, Role::Submitter, "user:ann").await;
    let _first = half_an_upload(&harness).await;
    let token = harness.server.api_token().expose_secret();
    let again = from_elsewhere().post(harness.url("/api/v1/files?name=x")).bearer_auth(token).body("x");
    let (status, code, _) = problem(again).await;
    assert_eq!((status, code.as_str()), (503, "too_many_uploads"));
    assert_eq!(told(ann.call(&harness, Method::POST, "/files?name=x").body("x")).await.0, 201);
}

#[tokio::test]
async fn one_client_leaves_room_for_the_uploads_of_another() {
    let harness = Harness::start_with(|config| {
        (config.limits.uploads, config.limits.uploads_per_client) = (4, 1);
        config.limits.upload_queue = Duration::from_millis(50);
    })
    .await;
    let _first = half_an_upload(&harness).await;
    let (status, code, _) = problem(upload(&harness, "x")).await;
    assert_eq!((status, code.as_str()), (503, "too_many_uploads"));
    let other = from_elsewhere().post(harness.url("/api/v1/files?name=x"));
    let token = harness.server.api_token().expose_secret();
    assert_eq!(told(other.bearer_auth(token).body("x")).await.0, 201);
}

#[tokio::test]
async fn an_upload_that_trickles_gives_up_its_slot() {
    let harness = Harness::start_with(|config| {
        (config.limits.body_read, config.limits.upload_rate) = (Duration::from_secs(1), 1 << 20);
    })
    .await;
    let drops = futures_util::stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok::<_, String>("x"), ()))
    });
    let refused = problem(upload(&harness, reqwest::Body::wrap_stream(drops)));
    let (status, code, detail) = tokio::time::timeout(Duration::from_secs(20), refused).await.unwrap();
    assert_eq!((status, code.as_str()), (408, "body_too_slow"));
    assert!(detail.contains("1048576 bytes a second"), "{detail}");
    assert_eq!(kept(&harness), [""; 0]);
}

#[tokio::test]
async fn files_of_no_size_are_bounded_in_number() {
    let room = 3 * store::FILE_CHARGE;
    let harness = Harness::start_with(|config| config.limits.files_total = room).await;
    for _ in 0..3 {
        uploaded(&harness, "").await;
    }
    let (status, code, detail) = problem(upload(&harness, "")).await;
    assert_eq!((status, code.as_str()), (507, "files_full"));
    assert!(
        detail.contains("196608 bytes") && detail.contains("each counts for 65536 bytes at least"),
        "{detail}"
    );
}

#[tokio::test]
async fn one_namespace_leaves_half_of_the_room_for_files_to_the_others() {
    let room = store::FILE_CHARGE * 4;
    let harness = Harness::start_with(|config| config.limits.files_total = room).await;
    let of = async |namespace: &'static str| Holder::new(&harness, Role::Submitter, namespace).await;
    let (acme, other) = (of("org:acme").await, of("org:other").await);
    let send =
        |holder: &Holder, body: &'static str| holder.call(&harness, Method::POST, "/files?name=a").body(body);
    for _ in 0..2 {
        assert_eq!(told(send(&acme, "x")).await.0, 201);
    }
    let (status, code, detail) = problem(send(&acme, "x")).await;
    assert_eq!((status, code.as_str()), (507, "files_full"), "{detail}");
    assert!(detail.contains("org:acme has reached that") && detail.contains(&room.to_string()), "{detail}");
    for _ in 0..2 {
        assert_eq!(told(send(&other, "x")).await.0, 201, "half is left for the others");
    }
    let (status, _, detail) = problem(upload(&harness, "x")).await;
    assert!(status == 507 && detail.contains("all uploaded files together"), "{status} {detail}");
}

#[tokio::test]
async fn uploads_under_way_can_not_outgrow_all_room_together() {
    let room = 2 * store::FILE_CHARGE - 1;
    let harness = Harness::start_with(|config| config.limits.files_total = room).await;
    let under_way = half_an_upload(&harness).await;
    for body in [
        reqwest::Body::from("x"),
        reqwest::Body::wrap_stream(futures_util::stream::pending::<Result<&str, String>>()),
    ] {
        let (status, code, _) = problem(upload(&harness, body)).await;
        assert_eq!((status, code.as_str()), (507, "files_full"));
    }
    drop(under_way);
    until_nothing_is_kept(&harness).await;
    uploaded(&harness, "x").await;
    assert_eq!(problem(upload(&harness, "x")).await.0, 507, "it is kept, and counts once");
}

#[tokio::test]
async fn leftovers_of_a_crash_are_cleared_away_and_files_stay() {
    let harness = Harness::start().await;
    let id = uploaded_id(&harness, "kept").await;
    harness.submit(&with_upload(job(), "x", &id)).await;
    let files = harness.data().join("files");
    let dir = harness.stop().await;
    std::fs::write(files.join("unfinished-x"), "half").unwrap();
    std::fs::write(files.join("0".repeat(32)), "its row was never written").unwrap();
    let harness = Harness::start_in(dir, |_| {}).await;
    assert_eq!(kept(&harness), std::slice::from_ref(&id));
    let job = harness.dequeue("batches").await.unwrap();
    let get = harness.with_job_token(Method::GET, &job, &file_path(&job, &id));
    assert_eq!(told(get).await, (200, "kept".to_owned()));
}

#[tokio::test]
async fn a_file_goes_when_no_job_has_needed_it_for_long() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let harness = Harness::start_with(|config| {
        config.clock = clock.clone();
        config.limits.files_kept = Duration::from_millis(20);
        // The job is not to be taken back.
        config.lease.untold = Duration::from_hours(100);
    })
    .await;
    let (needed, unneeded) = (uploaded_id(&harness, "needed").await, uploaded_id(&harness, "unneeded").await);
    harness.submit(&with_upload(job(), "x", &needed)).await;
    let job = harness.dequeue("batches").await.unwrap();
    clock.advance(SignedDuration::from_secs(60));
    let begun = Instant::now();
    while kept(&harness).contains(&unneeded) {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(kept(&harness), [needed], "its job runs");
    assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);
    clock.advance(SignedDuration::from_secs(60));
    until_nothing_is_kept(&harness).await;
}

#[tokio::test]
async fn a_content_that_was_lost_is_our_fault_and_told_so() {
    let harness = Harness::start().await;
    let id = uploaded_id(&harness, "lost").await;
    harness.submit(&with_upload(job(), "x", &id)).await;
    let job = harness.dequeue("batches").await.unwrap();
    std::fs::remove_file(harness.data().join("files").join(&id)).unwrap();
    let get = harness.with_job_token(Method::GET, &job, &file_path(&job, &id));
    assert_eq!(told(get).await.0, 500);
}

#[tokio::test]
async fn a_full_disk_refuses_a_file_and_takes_one_that_fits() {
    let test = "a_full_disk_refuses_a_file_and_takes_one_that_fits";
    let Some(disk) = SmallDisk::mount(test, 16 << 20) else { return };
    let harness = Harness::start_with(|config| config.data_dir = disk.path().join("data")).await;
    let files = disk.path().join("data/files");
    let (status, code, detail) = problem(upload(&harness, vec![b'x'; 16 << 20])).await;
    assert_eq!((status, code.as_str()), (507, "disk_full"), "{detail}");
    assert_eq!(std::fs::read_dir(&files).unwrap().count(), 0);
    uploaded(&harness, "small").await;
    assert_eq!(std::fs::read_dir(&files).unwrap().count(), 1);
    harness.stop().await;
}
