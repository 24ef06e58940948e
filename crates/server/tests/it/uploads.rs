//! Indexes that jobs upload, with the shared secret, whole and in parts.

use crate::access::Holder;
use crate::harness::{Harness, job, problem, told};
use crate::source::SourceRepo;
use flate2::Compression;
use flate2::write::GzEncoder;
use jobs::Role;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use store::FILE_CHARGE;
use wire::headers::Credentials;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const PATHS: [&str; 2] = ["/.executors/lsif/upload", "/.executors/scip/upload"];

pub(crate) fn packed(text: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

fn about() -> String {
    format!(
        "repository=app&commit={COMMIT}&root=sub%2F&indexerName=scip-go&indexerVersion=1&associatedIndexId=7"
    )
}

async fn with_repository() -> Harness {
    with_repository_and(|_| {}).await
}

pub(crate) async fn with_repository_and(adjust: impl FnOnce(&mut server::ServerConfig)) -> Harness {
    let harness = Harness::start_with(adjust).await;
    harness.add_repository("app", &SourceRepo::new().path()).await;
    harness
}

pub(crate) fn call(harness: &Harness, query: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    harness.executor(&format!("{}?{query}", PATHS[0])).body(body)
}

/// The id of an upload that was accepted: a decimal number, as a string.
pub(crate) async fn accepted(request: RequestBuilder) -> i64 {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED, "{}", response.text().await.unwrap());
    response.json::<Value>().await.unwrap()["id"].as_str().unwrap().parse().unwrap()
}

/// Uploads an index for a repository; its id.
pub(crate) async fn upload_one(harness: &Harness, repository: &str) -> i64 {
    accepted(call(harness, &format!("repository={repository}&commit={COMMIT}"), packed(b"an index"))).await
}

/// The same of what says that it came of a job.
pub(crate) async fn upload_one_of(harness: &Harness, repository: &str, job: i64) -> i64 {
    let query = format!("repository={repository}&commit={COMMIT}&associatedIndexId={job}");
    accepted(call(harness, &query, packed(b"an index"))).await
}

pub(crate) async fn content(harness: &Harness, id: i64) -> Vec<u8> {
    let response = harness.api(Method::GET, &format!("/uploads/{id}/content")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn an_index_is_uploaded_whole() {
    let harness = with_repository().await;
    let index = packed(b"an index");
    for path in PATHS {
        let request = harness.executor(&format!("{path}?{}", about())).body(index.clone());
        let request = request.header("Content-Type", "application/x-protobuf+scip");
        let id = accepted(request.header("X-Uncompressed-Size", "8")).await;
        assert_eq!(content(&harness, id).await, index);
        let shown = harness.get(&format!("/uploads/{id}")).await;
        let expected = json!({
            "id": id, "namespace": "global", "repository": "app", "commit": COMMIT, "root": "sub/",
            "indexerName": "scip-go", "indexerVersion": "1", "associatedIndexId": 7,
            "contentType": "application/x-protobuf+scip", "uncompressedSize": 8, "size": index.len(),
            "startedAt": shown["startedAt"], "finishedAt": shown["finishedAt"]
        });
        assert_eq!(shown, expected);
    }
    // No type means the older format, and little has to be said of it.
    let id = accepted(call(&harness, &format!("repository=app&commit={COMMIT}"), index)).await;
    let listed = harness.get("/uploads?limit=2").await;
    assert_eq!(listed["items"][0]["id"], id);
    assert_eq!(listed["items"][0]["contentType"], "application/x-ndjson+lsif");
    assert_eq!(listed["items"][0]["associatedIndexId"], Value::Null);
    assert_eq!(listed["nextCursor"], (id - 1).to_string());
    let rest = harness.get(&format!("/uploads?cursor={}", id - 1)).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn parts_come_in_any_order_twice_and_across_a_restart() {
    let harness = with_repository().await;
    let index = packed(&vec![b'x'; 100_000]);
    let cut = index.len() / 3;
    let parts = [&index[..cut], &index[cut..2 * cut], &index[2 * cut..]].map(<[u8]>::to_vec);
    let id = accepted(call(&harness, &format!("{}&multiPart=true&numParts=3", about()), "")).await;
    let part = async |harness: &Harness, number: usize, body: Vec<u8>| {
        told(call(harness, &format!("uploadId={id}&index={number}"), body)).await
    };
    let none = (204, String::new());
    let done = format!("uploadId={id}&done=true");
    assert_eq!(part(&harness, 2, b"something else".to_vec()).await, none);
    let (one, two) = tokio::join!(part(&harness, 2, parts[2].clone()), part(&harness, 0, parts[0].clone()));
    assert_eq!((one, two), (none.clone(), none.clone()));
    let (status, missing) = told(call(&harness, &done, "")).await;
    assert_eq!((status, missing.contains("2 of its 3 parts")), (400, true), "{missing}");
    let (status, _, _) = problem(harness.api(Method::GET, &format!("/uploads/{id}"))).await;
    assert_eq!(status, 404, "it is nothing before it is complete");

    let harness = Harness::start_in(harness.stop().await, |_| {}).await;
    assert_eq!(part(&harness, 1, parts[1].clone()).await, none);
    for _ in 0..2 {
        assert_eq!(told(call(&harness, &done, "")).await, none);
    }
    assert_eq!(content(&harness, id).await, index);
    let over = part(&harness, 1, parts[1].clone()).await;
    assert_eq!(over.0, 404, "{}", over.1);
    // Any part of it can be had.
    for (range, expected) in [
        (format!("bytes={}-{}", cut - 1, cut), &index[cut - 1..=cut]),
        ("bytes=-1".to_owned(), &index[index.len() - 1..]),
    ] {
        let request = harness.api(Method::GET, &format!("/uploads/{id}/content")).header("Range", &range);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert!(response.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
        assert_eq!(response.bytes().await.unwrap(), expected, "{range}");
    }
    let beyond = harness.api(Method::GET, &format!("/uploads/{id}/content")).header("Range", "bytes=999999-");
    assert_eq!(beyond.send().await.unwrap().status(), StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn what_is_wrong_is_refused_as_documented() {
    let harness = with_repository().await;
    let id = accepted(call(&harness, &format!("{}&multiPart=true&numParts=2", about()), "")).await;
    let long = "x".repeat(2_000);
    let rows = [
        ("repository=app".to_owned(), 400, "commit must be a 40-character revhash"),
        (format!("repository=app&commit={}", COMMIT.to_uppercase()), 400, "40-character"),
        (format!("repository=app&commit={COMMIT}0"), 400, "40-character"),
        (format!("commit={COMMIT}"), 400, "repository is missing"),
        (format!("repository=other&commit={COMMIT}"), 404, "unknown repository"),
        (format!("{}&multiPart=true&numParts=x", about()), 400, "numParts"),
        (format!("{}&multiPart=true&numParts=0", about()), 400, "numParts"),
        (format!("{}&multiPart=true&numParts=1001", about()), 400, "numParts"),
        (format!("{}&multiPart=true", about()), 400, "numParts"),
        (format!("repository=app&commit={COMMIT}&associatedIndexId=x"), 400, r#"associatedIndexId is "x""#),
        (format!("repository=app&commit={COMMIT}&root={long}"), 400, "root must have at most"),
        (format!("uploadId={id}"), 400, "uploadId without index"),
        (format!("uploadId={id}&done=false"), 400, "uploadId without index"),
        (format!("uploadId={id}&index=x"), 400, "index is \"x\""),
        (format!("uploadId={id}&index=-1"), 400, "index is \"-1\""),
        (format!("uploadId={id}&index=2"), 400, "part 2"),
        ("uploadId=999&index=0".to_owned(), 404, "upload not found"),
        ("uploadId=999&done=true".to_owned(), 404, "upload not found"),
        ("uploadId=abc&done=true".to_owned(), 404, r#"upload not found: uploadId is "abc", but must be"#),
    ];
    for (query, status, words) in rows {
        let (answered, text) = told(call(&harness, &query, packed(b"x"))).await;
        assert_eq!(answered, status, "{query}: {text}");
        assert!(text.starts_with("failed to enqueue payload: ") && text.contains(words), "{query}: {text}");
        assert!(text.ends_with('\n') && text.lines().count() == 1, "{query}: {text}");
    }
    let size = call(&harness, &about(), packed(b"x")).header("X-Uncompressed-Size", "many");
    let (status, text) = told(size).await;
    assert!(status == 422 && text.contains(r#"X-Uncompressed-Size is "many""#), "{status} {text}");
    for body in [b"no gzip".to_vec(), Vec::new(), packed(b"cut off")[..15].to_vec()] {
        let (status, text) = told(call(&harness, &about(), body)).await;
        assert_eq!((status, text.contains("not compressed with gzip")), (400, true), "{text}");
    }
    assert_eq!(harness.get("/uploads").await["items"], json!([]));
}

#[tokio::test]
async fn only_the_shared_secret_opens_it() {
    let harness = with_repository().await;
    let job = harness.running_job().await;
    for path in PATHS {
        let url = harness.url(&format!("{path}?{}", about()));
        let with = |value: &str| harness.client.post(&url).header("Authorization", value).body(packed(b"x"));
        assert_eq!(told(harness.client.post(&url).body(packed(b"x"))).await.0, 401);
        assert_eq!(
            told(with(&Credentials::Shared("not-the-secret-at-all").to_header())).await,
            (401, String::new())
        );
        assert_eq!(told(with(&Credentials::Job(&job.token).to_header())).await.0, 401);
        let probe = |value: String| harness.client.head(harness.url(path)).header("Authorization", value);
        let right = Credentials::Shared(&harness.shared_secret()).to_header();
        assert_eq!(probe(right).send().await.unwrap().status(), 200);
        assert_eq!(probe("token-executor wrong".to_owned()).send().await.unwrap().status(), 401);
    }
    assert_eq!(harness.client.head(harness.url("/.api/scip/upload")).send().await.unwrap().status(), 200);
    assert_eq!(harness.get("/uploads").await["items"], json!([]));
}

#[tokio::test]
async fn everything_is_bounded() {
    let harness = with_repository_and(|config| {
        config.limits.index_part = 2_000;
        config.limits.indexes_total = 5 * FILE_CHARGE;
        config.limits.index_unpacked = 50_000;
    })
    .await;
    let noise: Vec<u8> = (0..3_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let (status, text) = told(call(&harness, &about(), packed(&noise))).await;
    assert_eq!((status, text.contains("larger than 2000 bytes")), (413, true), "{text}");
    let bomb = packed(&vec![0; 60_000]);
    let (status, text) = told(call(&harness, &about(), bomb.clone())).await;
    assert_eq!((status, text.contains("50000 bytes when it is unpacked")), (413, true), "{text}");
    let id = accepted(call(&harness, &format!("{}&multiPart=true&numParts=2", about()), "")).await;
    for (number, part) in [&bomb[..30], &bomb[30..]].into_iter().enumerate() {
        let query = format!("uploadId={id}&index={number}");
        assert_eq!(told(call(&harness, &query, part.to_vec())).await.0, 204);
    }
    assert_eq!(told(call(&harness, &format!("uploadId={id}&done=true"), "")).await.0, 413);
    // It fills up, since the smallest has a row and an object as well, and is not counted twice when it is refused.
    let begin = |parts: u32| call(&harness, &format!("{}&multiPart=true&numParts={parts}", about()), "");
    accepted(call(&harness, &about(), packed(b"small"))).await;
    for _ in 0..3 {
        let (status, text) = told(begin(3)).await;
        assert_eq!((status, text.contains("327680 bytes")), (507, true), "{text}");
        assert_eq!(told(call(&harness, &about(), bomb.clone())).await.0, 413);
    }
    accepted(begin(2)).await;
    assert_eq!(told(call(&harness, &about(), packed(b"small"))).await.0, 507);
}

#[tokio::test]
async fn one_namespace_leaves_half_of_the_room_to_the_others() {
    let harness = with_repository_and(|config| {
        config.limits.index_part = 2 * FILE_CHARGE;
        config.limits.indexes_total = 6 * FILE_CHARGE;
    })
    .await;
    let source = SourceRepo::new();
    let body = json!({"name": "acme-app", "source": source.path(), "namespace": "org:acme"});
    assert_eq!(told(harness.api(Method::POST, "/repositories").json(&body)).await.0, 201);
    let index = packed(b"an index");
    let theirs = format!("repository=acme-app&commit={COMMIT}");
    for _ in 0..3 {
        accepted(call(&harness, &theirs, index.clone())).await;
    }
    let (status, text) = told(call(&harness, &theirs, index.clone())).await;
    assert_eq!((status, text.contains("namespace 196608, and org:acme has reached")), (507, true), "{text}");
    for _ in 0..3 {
        accepted(call(&harness, &about(), index.clone())).await;
    }
}

#[tokio::test]
async fn only_so_many_uploads_are_begun() {
    let harness = with_repository().await;
    let begin = format!("{}&multiPart=true&numParts=2", about());
    for _ in 0..1_000 {
        accepted(call(&harness, &begin, "")).await;
    }
    let (status, text) = told(call(&harness, &begin, "")).await;
    assert_eq!(
        (status, text.contains("1000 uploads that are begun and not complete")),
        (507, true),
        "{text}"
    );
    accepted(call(&harness, &about(), packed(b"whole"))).await;
}

#[tokio::test]
async fn an_upload_belongs_to_the_namespace_of_its_repository() {
    let harness = with_repository().await;
    let source = SourceRepo::new();
    let body = json!({"name": "acme-app", "source": source.path(), "namespace": "org:acme"});
    assert_eq!(told(harness.api(Method::POST, "/repositories").json(&body)).await.0, 201);
    let ours = accepted(call(&harness, &format!("repository=acme-app&commit={COMMIT}"), packed(b"x"))).await;
    let global = accepted(call(&harness, &about(), packed(b"y"))).await;
    let acme = Holder::new(&harness, Role::Reader, "org:acme").await;
    let mallory = Holder::new(&harness, Role::Admin, "user:mallory").await;
    let listed = async |holder: &Holder| {
        let listed = told(holder.call(&harness, Method::GET, "/uploads")).await.1;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let items = listed["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&acme).await, [ours]);
    assert_eq!(listed(&mallory).await, Vec::<i64>::new());
    for path in ["", "/content"] {
        let of = |id: i64| format!("/uploads/{id}{path}");
        assert_eq!(told(acme.call(&harness, Method::GET, &of(ours))).await.0, 200);
        for (holder, id) in [(&acme, global), (&mallory, ours), (&mallory, 9_999)] {
            assert_eq!(problem(holder.call(&harness, Method::GET, &of(id))).await.1, "unknown_upload");
        }
    }
    // The job that it says it came of knows better whose it is, where two have a repository of that name.
    harness.add_repository_of("app", &source.path(), "org:acme").await;
    let submitter = Holder::new(&harness, Role::Submitter, "org:acme").await;
    let submitted = submitter.call(&harness, Method::POST, "/jobs").json(&job()).send().await.unwrap();
    let of_job = submitted.json::<Value>().await.unwrap()["id"].as_i64().unwrap();
    let query = format!("repository=app&commit={COMMIT}&associatedIndexId={of_job}");
    let theirs = accepted(call(&harness, &query, packed(b"z"))).await;
    assert_eq!(listed(&acme).await, [theirs, ours]);
    // What it did not come of is not meant, whoever else has a repository of that name.
    harness.add_repository("theirs", &source.path()).await;
    for repository in ["theirs", "none"] {
        let query = format!("repository={repository}&commit={COMMIT}&associatedIndexId={of_job}");
        let (status, text) = told(call(&harness, &query, packed(b"z"))).await;
        assert_eq!((status, text.contains("unknown repository")), (404, true), "{text}");
    }
    // Nor is one of several namespaces without a global one where it came of none.
    for namespace in ["org:acme", "org:zeta"] {
        harness.add_repository_of("shared", &source.path(), namespace).await;
    }
    let query = format!("repository=shared&commit={COMMIT}");
    assert_eq!(told(call(&harness, &query, packed(b"z"))).await.0, 404);
    assert_eq!(listed(&acme).await, [theirs, ours]);
}

#[tokio::test]
async fn whoever_has_an_index_unpacked_keeps_its_slot_meanwhile() {
    let harness = with_repository_and(|config| {
        config.limits.index_uploads = 1;
        config.limits.index_uploads_per_client = 1;
        config.limits.upload_queue = Duration::from_millis(1);
    })
    .await;
    let large = packed(&vec![0; 1 << 20]).repeat(4_000);
    let size = large.len() as u64;
    let first = tokio::spawn(accepted(call(&harness, &about(), large)));
    let kept = harness.data().join("objects/uploads");
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_there(&kept, size) {
        assert!(Instant::now() < deadline && !first.is_finished(), "it was not kept");
        tokio::task::yield_now().await;
    }
    // Who comes now is refused until that one is done with, and so has a later number.
    let second = loop {
        let (status, text) = told(call(&harness, &about(), packed(b"small"))).await;
        if status == 202 {
            break serde_json::from_str::<Value>(&text).unwrap()["id"].as_str().unwrap().parse().unwrap();
        }
        assert_eq!((status, text.contains("too many indexes")), (503, true), "{text}");
        assert!(Instant::now() < deadline, "the slot is not free again");
    };
    assert!(first.await.unwrap() < second, "it was taken while the first was unpacked");
}

/// All executors may call through one proxy, and one namespace's from many addresses.
#[tokio::test]
async fn one_namespace_leaves_room_for_the_indexes_of_another() {
    let harness = with_repository_and(|config| {
        config.limits.index_uploads = 2;
        config.limits.index_uploads_per_client = 2;
        config.limits.upload_queue = Duration::from_millis(50);
    })
    .await;
    let source = SourceRepo::new();
    harness.add_repository_of("acme", &source.path(), "org:acme").await;
    let of_acme = format!("repository=acme&commit={COMMIT}");
    let begin = || {
        let stands_still = futures_util::stream::pending::<Result<&str, String>>();
        tokio::spawn(call(&harness, &of_acme, reqwest::Body::wrap_stream(stands_still)).send())
    };
    let mut first = begin();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        // Another one had the slot that it was to take.
        if first.is_finished() {
            first = begin();
        }
        let (status, text) = told(call(&harness, &of_acme, packed(b"second"))).await;
        if status == 503 && !first.is_finished() {
            assert!(text.contains("too many indexes"), "{text}");
            break;
        }
        assert!(Instant::now() < deadline, "the first one takes no slot: {status} {text}");
    }
    accepted(call(&harness, &about(), packed(b"of somebody else"))).await;
    first.abort();
}

/// Whether a directory has a file of that many bytes.
fn is_there(dir: &Path, size: u64) -> bool {
    let found = std::fs::read_dir(dir).into_iter().flatten().flatten();
    found.filter_map(|file| file.metadata().ok()).any(|file| file.len() == size)
}
