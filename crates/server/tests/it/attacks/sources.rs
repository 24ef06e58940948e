//! Repositories that are not what they say.

use crate::harness::{Harness, job, problem, told};
use crate::source::{SourceRepo, git};
use axum::response::IntoResponse;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode, Uri};
use jobs::JobSpec;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tokio::task::JoinHandle;

pub(super) fn add(harness: &Harness, source: &str) -> RequestBuilder {
    harness.api(Method::POST, "/repositories").json(&json!({"name": "demo", "source": source}))
}

/// Everything below a directory that holds `needle`.
fn files_with(dir: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if std::fs::read(&path).unwrap().windows(needle.len()).any(|part| part == needle.as_bytes()) {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn a_source_runs_no_program_and_is_no_option() {
    let harness = Harness::start().await;
    let evil = harness.dir.path().join("evil");
    let touch = format!("touch {}", evil.display());
    for source in [
        format!("ext::sh -c '{touch}'"),
        format!("ext::sh% -c% {touch}"),
        format!("--upload-pack={touch}"),
        format!("--config=core.sshCommand={touch}"),
        "-u/bin/sh".to_owned(),
        format!("ssh://-oProxyCommand={touch}/x"),
        format!("ssh://-oProxyCommand={}@host/x", touch.replace(' ', "%20")),
        format!("ssh://%2doProxyCommand={}@127.0.0.1:9/x", touch.replace(' ', "%20")),
        "ssh://%2doProxyCommand=x/x".to_owned(),
        format!("-oProxyCommand={touch}:x"),
        "git@-oProxyCommand=x:y".to_owned(),
        "fd::7".to_owned(),
        "transport::address".to_owned(),
        "file://elsewhere/etc".to_owned(),
        "file:/etc".to_owned(),
        "FTP://127.0.0.1/x".to_owned(),
        "javascript://x/%0aalert(1)".to_owned(),
        "https://".to_owned(),
        "https:///x".to_owned(),
        "https:x".to_owned(),
        "//host/x".to_owned(),
        "/no/such/dir".to_owned(),
        "/srv/../etc".to_owned(),
        "/".to_owned(),
        "/dev/zero".to_owned(),
        "/proc/self/root/proc/self/environ".to_owned(),
        "http://127.0.0.1:9/x\n[core]\n\tsshCommand = x".to_owned(),
        "/srv/x\n[remote \"origin\"]\n\tuploadpack = x".to_owned(),
        "http://127.0.0.1:9/x\"\n".to_owned(),
        "http://127.0.0.1:9/x\u{0}y".to_owned(),
        "\u{202e}http://127.0.0.1:9/x".to_owned(),
        format!("http://127.0.0.1:9/{}", "x".repeat(4_000)),
    ] {
        let (status, code, detail) = problem(add(&harness, &source)).await;
        assert_eq!(status, 422, "{source:?}: {detail}");
        assert!(["invalid_repository", "source_unreachable"].contains(&code.as_str()), "{source:?}: {code}");
        assert_eq!(detail.lines().count(), 1, "{source:?}: {detail}");
    }
    assert!(!evil.exists(), "a program was run");
    assert_eq!(std::fs::read_dir(harness.data().join("repositories")).unwrap().count(), 0);
}

#[tokio::test]
async fn odd_directory_names_are_only_names() {
    let harness = Harness::start().await;
    let outside = harness.dir.path().join("evil");
    for (number, name) in [
        "a b",
        "quote\"d",
        "back\\slash",
        "$(touch evil)",
        "`touch evil`",
        ";touch evil",
        "a]b[c",
        "#hash;semi",
        "-dash",
        "größe",
        "a%20b",
        "a:b",
    ]
    .into_iter()
    .enumerate()
    {
        let dir = harness.dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        git(&dir, &["init", "--quiet", "--initial-branch=main", "."]).unwrap();
        git(&dir, &["commit", "--quiet", "--allow-empty", "--message=x"]).unwrap();
        let body = json!({"name": format!("r{number}"), "source": dir});
        let response = harness.api(Method::POST, "/repositories").json(&body).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 201, "{name:?}: {text}");
        let spec = JobSpec { repo: Some(format!("r{number}")), rev: Some("main".to_owned()), ..job() };
        harness.submit(&spec).await;
    }
    assert!(!outside.exists());
}

#[tokio::test]
async fn credentials_in_a_source_are_told_to_nobody() {
    let harness = Harness::start().await;
    for source in [
        "http://ann:hunter2@127.0.0.1:9/x",
        "http://hunter2@127.0.0.1:9/x",
        "http://:hunter2@127.0.0.1:9/x",
        "http://ann:hunter2@x@127.0.0.1:9/x",
        "http://ann:hunter2%40@127.0.0.1:9/x",
        "http://ann:hunter2%0aevil@127.0.0.1:9/x",
        "http://ann%0d%0ahost=evil:hunter2@127.0.0.1:9/x",
        "http://127.0.0.1:9/x?access_token=hunter2",
        "http://127.0.0.1:9/x#hunter2",
        "ssh://ann:hunter2@127.0.0.1:9/x",
        "ftp://ann:hunter2@127.0.0.1:9/x",
        "ann:hunter2@127.0.0.1:9/x",
        "https://ann:hunter2@",
        "http://ann:hunter2@[::1/x",
    ] {
        let (status, _, detail) = problem(add(&harness, source)).await;
        assert_eq!(status, 422, "{source}: {detail}");
        assert!(!detail.contains("hunter2"), "{source}: {detail}");
        let left = files_with(&harness.data(), "hunter2");
        assert!(left.is_empty(), "{source}: {left:?}");
    }
}

/// Serves a repository's files, if need be to whoever shows any credentials, as plain web servers do.
pub(super) async fn serve(source: &SourceRepo, private: bool) -> (String, JoinHandle<()>) {
    source.git(&["update-server-info"]);
    let root = source.path().join(".git");
    let files = move |headers: HeaderMap, uri: Uri| async move {
        let file = root.join(uri.path().trim_start_matches('/'));
        match (headers.contains_key(AUTHORIZATION), std::fs::read(file)) {
            (false, _) if private => {
                (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic realm=\"x\"")]).into_response()
            }
            (_, Ok(content)) => content.into_response(),
            (_, Err(_)) => StatusCode::NOT_FOUND.into_response(),
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(files);
    (url, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

#[tokio::test]
async fn credentials_of_a_repository_are_in_one_private_file() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    let (url, serving) = serve(&source, true).await;
    let secret = url.replace("http://", "http://ann:hunter2@");
    assert_eq!(add(&harness, &secret).send().await.unwrap().status(), 201);
    let listed = harness.get("/repositories").await.to_string();
    assert!(listed.contains(&url) && !listed.contains("hunter2"), "{listed}");
    let spec = JobSpec { repo: Some("demo".to_owned()), ..job() };
    harness.submit(&spec).await;
    let credentials = harness.data().join("repositories/1.git/credentials");
    assert_eq!(files_with(&harness.data(), "hunter2"), std::slice::from_ref(&credentials));
    let mode = std::fs::metadata(credentials).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    assert!(harness.dequeue("batches").await.is_some());
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    let (status, code, detail) = problem(harness.api(Method::POST, "/jobs").json(&spec)).await;
    assert_eq!((status, code.as_str()), (502, "source_unreachable"));
    assert!(!detail.contains("hunter2"), "{detail}");
}

/// Whoever may write to a source must not be able to run anything on the server.
#[tokio::test]
async fn a_source_that_belongs_to_an_enemy_runs_nothing() {
    let harness = Harness::start().await;
    let evil = harness.dir.path().join("evil");
    let touch = format!("touch {}", evil.display());
    let script = harness.dir.path().join("evil.sh");
    std::fs::write(&script, format!("#!/bin/sh\n{touch}\nexec cat\n")).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = script.to_string_lossy().into_owned();

    let source = SourceRepo::new();
    let blob = source.git(&["rev-parse", "HEAD:README"]);
    let config = source.path().join(".git/config");
    let hooks = source.path().join(".git/hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    for hook in ["pre-upload-pack", "post-checkout", "reference-transaction", "post-upload-pack", "fsmonitor"]
    {
        std::fs::copy(&script, hooks.join(hook)).unwrap();
    }
    for (key, value) in [
        ("core.hooksPath", hooks.to_str().unwrap()),
        ("core.fsmonitor", &*script),
        ("core.sshCommand", &script),
        ("core.gitProxy", &script),
        ("core.alternateRefsCommand", &script),
        ("core.pager", &script),
        ("core.editor", &script),
        ("uploadpack.packObjectsHook", &script),
        ("credential.helper", &format!("!{script}")),
        ("protocol.ext.allow", "always"),
        ("protocol.allow", "always"),
        // Objects that are missing are to be fetched from there.
        ("remote.evil.url", &format!("ext::{script}")),
        ("remote.evil.uploadpack", &script),
        ("remote.evil.promisor", "true"),
        ("remote.evil.partialCloneFilter", "blob:none"),
        ("extensions.partialClone", "evil"),
        ("core.repositoryFormatVersion", "1"),
    ] {
        // From outside, for git would heed some of it at once.
        git(harness.dir.path(), &["config", "--file", config.to_str().unwrap(), key, value]).unwrap();
    }
    harness.add_repository("demo", &source.path()).await;
    let spec = JobSpec { repo: Some("demo".to_owned()), ..job() };
    harness.submit(&spec).await;
    assert!(!evil.exists(), "the source ran a program");

    // An object that is not there, so that it would have to be fetched.
    std::fs::remove_file(source.path().join(format!(".git/objects/{}/{}", &blob[..2], &blob[2..]))).unwrap();
    let fresh = json!({"name": "fresh", "source": source.path()});
    let answer = harness.api(Method::POST, "/repositories").json(&fresh).send().await.unwrap();
    let told: Value = answer.json().await.unwrap();
    assert!(!evil.exists(), "the source ran a program to get an object: {told}");
    // Whatever came of it, the server goes on.
    assert_eq!(harness.get("/version").await["version"].as_str().map(str::is_empty), Some(false));
}

#[tokio::test]
async fn a_name_of_a_ref_is_only_a_name() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    let evil = harness.dir.path().join("evil");
    for name in ["-x", "--upload-pack=x", "$(touch evil)", "a;touch${IFS}evil", "@{u}", "größe"] {
        let branch = format!("refs/heads/{name}");
        if git(&source.path(), &["check-ref-format", &branch]).is_ok() {
            source.git(&["update-ref", &branch, "HEAD"]);
        }
    }
    harness.add_repository("demo", &source.path()).await;
    for rev in [
        "--upload-pack=x",
        "-x",
        "--output=/tmp/x",
        "HEAD --output=x",
        "HEAD\n",
        "HEAD\0",
        "$(touch evil)",
        "a;touch${IFS}evil",
        "HEAD:README",
        "HEAD^{/x}",
        "HEAD^{/(((((((((((((a+)+)+)+)+)+)+)+)+)+)+)+)+)$}",
        "HEAD@{2001-01-01}",
        "HEAD~99999999",
        "HEAD~5000~5001",
        ":/hello",
        "@{u}",
        "../../../api-token",
        "refs/../../config",
        "HEAD..HEAD",
        "^HEAD",
        &"x".repeat(251),
        &"x".repeat(1 << 20),
    ] {
        let spec = JobSpec { repo: Some("demo".to_owned()), rev: Some(rev.to_owned()), ..job() };
        let response = harness.api(Method::POST, "/jobs").json(&spec).send().await.unwrap();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        // A branch of that very name is one; all else is refused.
        assert!(status == 422 || status == 201 && rev.contains("touch"), "{rev:?}: {status} {text}");
        assert!(text.len() < 3_000, "{} bytes are answered", text.len());
    }
    for (rev, answered) in [("HEAD~0", 201), ("main^0", 201), ("HEAD~1", 422)] {
        let spec = JobSpec { repo: Some("demo".to_owned()), rev: Some(rev.to_owned()), ..job() };
        let told = told(harness.api(Method::POST, "/jobs").json(&spec)).await;
        assert_eq!(told.0, answered, "{rev}: {}", told.1);
    }
    assert!(!evil.exists());
}
