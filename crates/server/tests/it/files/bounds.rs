//! What uploads may take: room, places at one time, and time.

use super::{kept, until_nothing_is_kept, upload, uploaded, with_upload};
use crate::access::Holder;
use crate::harness::{Harness, job, problem, told};
use jobs::Role;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::SmallDisk;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const KIB: u64 = 1 << 10;

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
