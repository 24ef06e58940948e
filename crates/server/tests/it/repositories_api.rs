//! Adding, resolving and removing repositories.

use crate::harness::{Harness, job, problem, told};
use crate::source::SourceRepo;
use jobs::JobSpec;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

fn add(harness: &Harness, name: &str, source: &str) -> reqwest::RequestBuilder {
    harness.api(Method::POST, "/repositories").json(&json!({"name": name, "source": source}))
}

fn left_in_mirrors(harness: &Harness) -> Vec<String> {
    let entries = std::fs::read_dir(harness.data().join("repositories")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

async fn commit_of(harness: &Harness, rev: Option<&str>) -> String {
    let spec = JobSpec { repo: Some("demo".to_owned()), rev: rev.map(str::to_owned), ..job() };
    let id = harness.submit(&spec).await;
    harness.get(&format!("/jobs/{id}")).await["commit"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn one_namespace_has_half_of_all_repositories_at_most() {
    let harness = Harness::start_with(|config| config.limits.repositories = 4).await;
    let source = SourceRepo::new();
    let add = |name: &str, namespace: &str| {
        let body = json!({"name": name, "source": source.path(), "namespace": namespace});
        harness.api(Method::POST, "/repositories").json(&body)
    };
    for name in ["a", "b"] {
        assert_eq!(told(add(name, "org:acme")).await.0, 201);
    }
    let (status, code, detail) = problem(add("c", "org:acme")).await;
    assert_eq!((status, code.as_str()), (507, "too_many_repositories"));
    assert!(detail.contains("2 of one namespace, and org:acme has those"), "{detail}");
    for name in ["c", "d"] {
        assert_eq!(told(add(name, "global")).await.0, 201);
    }
    let (status, _, detail) = problem(add("e", "org:other")).await;
    assert!(status == 507 && detail.contains("there may be 4 repositories, and there are"), "{detail}");
}

#[tokio::test]
async fn a_repository_comes_and_goes() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository("group/demo", &source.path()).await;
    let listed = harness.list("/repositories").await;
    assert_eq!(listed[0]["name"], "group/demo");
    assert_eq!(left_in_mirrors(&harness), ["1.git"]);
    let (status, code, _) = problem(add(&harness, "group/demo", source.path().to_str().unwrap())).await;
    assert_eq!((status, code.as_str()), (409, "repository_exists"));
    let remove = || harness.api(Method::DELETE, "/repositories/group/demo");
    assert_eq!(remove().send().await.unwrap().status(), 204);
    assert_eq!(left_in_mirrors(&harness), [""; 0]);
    let (status, code, _) = problem(remove()).await;
    assert_eq!((status, code.as_str()), (404, "unknown_repository"));
}

#[tokio::test]
async fn a_source_that_can_not_be_mirrored_leaves_nothing() {
    let harness = Harness::start().await;
    let empty = tempfile::tempdir().unwrap();
    for (name, source, code) in [
        ("demo", "ext::sh -c 'touch /tmp/evil'", "invalid_repository"),
        ("demo", "--upload-pack=evil", "invalid_repository"),
        ("demo", "relative/path", "invalid_repository"),
        ("../demo", "/srv/x", "invalid_repository"),
        ("demo", empty.path().to_str().unwrap(), "source_unreachable"),
        ("demo", "https://ann:hunter2@127.0.0.1:9/x", "source_unreachable"),
    ] {
        let (status, told, detail) = problem(add(&harness, name, source)).await;
        assert_eq!(told, code, "{detail}");
        assert!([422, 502].contains(&status));
        assert!(code == "invalid_repository" || detail.contains("fatal: "), "{detail}");
        assert!(!detail.contains("hunter2"), "{detail}");
    }
    assert_eq!(left_in_mirrors(&harness), [""; 0]);
    assert_eq!(harness.list("/repositories").await, json!([]));
}

#[tokio::test]
async fn revisions_are_those_the_source_has_now() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    let first = source.git(&["rev-parse", "HEAD"]);
    harness.add_repository("demo", &source.path()).await;
    assert_eq!(commit_of(&harness, None).await, first);
    let second = source.commit("second", "2");
    assert_eq!(commit_of(&harness, Some("main")).await, second);
    assert_eq!(commit_of(&harness, Some(&first)).await, first);
    assert_eq!(commit_of(&harness, Some(&second[..10])).await, second);
    source.git(&["tag", "--annotate", "--message=v1", "v1"]);
    assert_eq!(commit_of(&harness, Some("v1")).await, second);
    source.git(&["checkout", "--quiet", "-b", "next"]);
    let third = source.commit("third", "3");
    assert_eq!(commit_of(&harness, None).await, third, "the default branch changed");
    source.git(&["checkout", "--quiet", "--detach"]);
    let alone = source.commit("alone", "4");
    assert_eq!(commit_of(&harness, None).await, alone, "no branch leads there");
    source.git(&["checkout", "--quiet", "main"]);
    source.git(&["branch", "--quiet", "-D", "next"]);
    let spec = JobSpec { repo: Some("demo".to_owned()), rev: Some("next".to_owned()), ..job() };
    let (status, code, _) = problem(harness.api(Method::POST, "/jobs").json(&spec)).await;
    assert_eq!((status, code.as_str()), (422, "unknown_revision"));
}

#[tokio::test]
async fn a_commit_that_is_here_needs_no_source() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    let commit = source.git(&["rev-parse", "HEAD"]);
    harness.add_repository("demo", &source.path()).await;
    drop(source);
    assert_eq!(commit_of(&harness, Some(&commit)).await, commit);
    let spec = JobSpec { repo: Some("demo".to_owned()), rev: Some("main".to_owned()), ..job() };
    let (status, code, detail) = problem(harness.api(Method::POST, "/jobs").json(&spec)).await;
    assert_eq!((status, code.as_str()), (502, "source_unreachable"), "{detail}");
}

#[tokio::test]
async fn an_empty_repository_can_be_added() {
    let harness = Harness::start().await;
    let dir = tempfile::tempdir().unwrap();
    crate::source::git(dir.path(), &["init", "--quiet", "."]).unwrap();
    harness.add_repository("demo", dir.path()).await;
    let spec = JobSpec { repo: Some("demo".to_owned()), ..job() };
    let (status, code, _) = problem(harness.api(Method::POST, "/jobs").json(&spec)).await;
    assert_eq!((status, code.as_str()), (422, "unknown_revision"));
    assert_eq!(harness.get("/jobs").await["items"], Value::Array(vec![]));
}

#[tokio::test]
async fn a_source_of_another_user_can_be_mirrored() {
    if !testkit::have_root() {
        return testkit::missing_part("a_source_of_another_user_can_be_mirrored", "root");
    }
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    let commit = source.git(&["rev-parse", "HEAD"]);
    for dir in [source.path(), source.path().join(".git")] {
        std::os::unix::fs::chown(dir, Some(65_534), Some(65_534)).unwrap();
    }
    harness.add_repository("demo", &source.path()).await;
    assert_eq!(commit_of(&harness, None).await, commit);
}

/// A source that wants a password: gives its address, and what it was shown as such.
async fn demanding_source() -> (std::net::SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (shown, seen) = tokio::sync::mpsc::unbounded_channel();
    let demand = move |headers: http::HeaderMap| async move {
        match headers.get("Authorization") {
            None => (http::StatusCode::UNAUTHORIZED, [("WWW-Authenticate", "Basic realm=\"x\"")]),
            Some(value) => {
                shown.send(value.to_str().unwrap().to_owned()).unwrap();
                (http::StatusCode::NOT_FOUND, [("X-Seen", "yes")])
            }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(demand);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (addr, seen)
}

#[tokio::test]
async fn credentials_reach_the_source_and_nobody_else() {
    let harness = Harness::start().await;
    let (addr, mut seen) = demanding_source().await;
    let source = format!("http://ann:hunter2@{addr}/x");
    let (status, code, detail) = problem(add(&harness, "demo", &source)).await;
    assert_eq!((status, code.as_str()), (422, "source_unreachable"), "{detail}");
    assert!(detail.contains(&format!("http://{addr}/x")) && !detail.contains("hunter2"), "{detail}");
    assert_eq!(seen.recv().await.unwrap(), "Basic YW5uOmh1bnRlcjI=");
}

#[tokio::test]
async fn leftovers_of_a_crash_are_cleared_away() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository("demo", &source.path()).await;
    let mirrors = harness.data().join("repositories");
    let dir = harness.stop().await;
    for leftover in ["unfinished-x", "77.git"] {
        std::fs::create_dir(mirrors.join(leftover)).unwrap();
    }
    let harness = Harness::start_in(dir, |_| {}).await;
    assert_eq!(left_in_mirrors(&harness), ["1.git"]);
}

/// A source with the latest commit alone, as many a checkout is.
fn shallow_clone(source: &SourceRepo) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", source.path().display());
    crate::source::git(dir.path(), &["clone", "--quiet", "--depth=1", &url, "."]).unwrap();
    dir
}

#[tokio::test]
async fn a_shallow_source_is_mirrored_as_far_as_it_goes() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    let first = source.git(&["rev-parse", "HEAD"]);
    let second = source.commit("second", "2");
    let shallow = shallow_clone(&source);
    let git = |args: &[&str]| crate::source::git(shallow.path(), args).unwrap();
    harness.add_repository("demo", shallow.path()).await;
    assert_eq!(commit_of(&harness, None).await, second);
    let spec = JobSpec { repo: Some("demo".to_owned()), rev: Some(first), ..job() };
    let (status, code, _) = problem(harness.api(Method::POST, "/jobs").json(&spec)).await;
    assert_eq!((status, code.as_str()), (422, "unknown_revision"), "it is not there");

    let fetched = harness.dequeue("batches").await.unwrap();
    assert_eq!(fetched.commit, second);
    let headers = Harness::git_headers(&fetched);
    let url = harness.url("/.executors/git/demo");
    let fetch = move || {
        let dir = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| {
            let args: Vec<&str> = headers.iter().map(String::as_str).chain(args.iter().copied()).collect();
            crate::source::git(dir.path(), &args).unwrap()
        };
        run(&["init", "--quiet", "."]);
        run(&["fetch", "--quiet", "--depth=1", &url, &second]);
        run(&["cat-file", "-p", "FETCH_HEAD:second"])
    };
    assert_eq!(tokio::task::spawn_blocking(fetch).await.unwrap(), "2");

    // What it takes over later, and a commit that no branch leads to.
    source.commit("third", "3");
    let fourth = source.commit("fourth", "4");
    git(&["fetch", "--quiet", "--depth=1"]);
    git(&["reset", "--quiet", "--hard", "origin/main"]);
    assert_eq!(commit_of(&harness, None).await, fourth);
    git(&["checkout", "--quiet", "--detach"]);
    git(&["branch", "--quiet", "-D", "main"]);
    let fifth = source.commit("fifth", "5");
    git(&["fetch", "--quiet", "--depth=1", "origin", "main"]);
    git(&["checkout", "--quiet", "FETCH_HEAD"]);
    git(&["update-ref", "-d", "refs/remotes/origin/main"]);
    assert_eq!(commit_of(&harness, None).await, fifth);
}

#[tokio::test]
async fn a_source_that_withholds_what_its_head_names_is_refused() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    source.git(&["branch", "other"]);
    source.git(&["config", "transfer.hideRefs", "refs/heads/main"]);
    let (status, code, detail) = problem(add(&harness, "demo", source.path().to_str().unwrap())).await;
    assert_eq!((status, code.as_str()), (422, "source_unreachable"), "{detail}");
    assert!(detail.contains("refs/heads/main"), "{detail}");
    assert_eq!(left_in_mirrors(&harness), [""; 0]);
}

#[tokio::test]
async fn sources_that_do_not_answer_keep_no_other_namespace_waiting() {
    let harness = Harness::start_with(|config| {
        (config.limits.git_fetches, config.limits.git_queue) = (2, Duration::from_millis(100));
    })
    .await;
    // Whoever connects is never answered.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/demo.git", silent.local_addr().unwrap());
    let first = tokio::spawn(add(&harness, "slow", &url).send());
    let _connected = silent.accept().await.unwrap();
    let (status, code, detail) = problem(add(&harness, "slow-as-well", &url)).await;
    assert_eq!((status, code.as_str()), (503, "too_many_fetches"), "{detail}");
    let source = SourceRepo::new();
    let body = json!({"name": "demo", "source": source.path(), "namespace": "org:acme"});
    let added = harness.api(Method::POST, "/repositories").json(&body).send().await.unwrap();
    assert_eq!(added.status(), 201, "another namespace has a turn of its own");
    first.abort();
}

#[tokio::test]
async fn a_source_that_sends_too_much_is_cut_off_and_leaves_nothing() {
    let harness = Harness::start_with(|config| config.limits.mirror = 1 << 20).await;
    let source = SourceRepo::new();
    // What can't be packed any smaller, and takes git a moment.
    let noise: Vec<u8> = (0..16 << 20)
        .scan(1_u64, |state, _| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            Some((*state >> 56) as u8)
        })
        .collect();
    std::fs::write(source.path().join("noise"), noise).unwrap();
    source.git(&["add", "noise"]);
    source.git(&["commit", "--quiet", "--message", "noise"]);
    let (status, code, detail) = problem(add(&harness, "large", &source.path().to_string_lossy())).await;
    assert_eq!((status, code.as_str()), (422, "source_unreachable"), "{detail}");
    assert!(detail.contains("more than 1048576 bytes"), "{detail}");
    assert!(left_in_mirrors(&harness).is_empty(), "{:?}", left_in_mirrors(&harness));
}
