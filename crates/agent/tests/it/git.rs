//! Clones by the real git, from a real repository, through the agent's proxy.

use crate::support::{Act, Call, Harness, LIMIT, Plan, eventually, job, step};
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use testkit::SmallDisk;
use testkit::stock_server::CLONED;
use tokio_util::sync::CancellationToken;

/// A bare repository with one commit.
pub(crate) struct Repository {
    root: TempDir,
    commit: String,
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Makes one whose files are written by `fill`.
pub(crate) fn repository(fill: impl FnOnce(&Path)) -> Repository {
    let root = tempfile::tempdir().unwrap();
    let work = tempfile::tempdir().unwrap();
    git(work.path(), &["init", "-q"]);
    fill(work.path());
    git(work.path(), &["add", "-A"]);
    git(work.path(), &["commit", "-q", "-m", "one"]);
    let commit = git(work.path(), &["rev-parse", "HEAD"]);
    let bare = root.path().join("github.com/foo/bar");
    std::fs::create_dir_all(&bare).unwrap();
    git(&bare, &["init", "-q", "--bare"]);
    git(&bare, &["config", "uploadpack.allowFilter", "true"]);
    git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    git(work.path(), &["push", "-q", bare.to_str().unwrap(), "HEAD:refs/heads/main"]);
    Repository { root, commit }
}

/// Serves the repositories below `root` as git's own CGI program does.
fn serve(root: &Path, call: &Call, body: &Bytes) -> Option<Response> {
    let below = call.path.strip_prefix("/.executors/git")?;
    let (path, query) = below.split_once('?').unwrap_or((below, ""));
    assert_eq!(call.header("x-sourcegraph-actor-uid"), Some("internal"));
    assert_eq!(call.header("authorization"), Some("Bearer job-token-0123"));
    assert_eq!(call.header("x-sourcegraph-job-id"), Some("1"));
    assert_eq!(call.header("x-sourcegraph-executor-name"), Some("agent-1"));
    assert!(call.headers.keys().all(|name| name != "x-executor-clone"), "the nonce stays on this host");
    let header = |name| call.header(name).unwrap_or_default();
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", call.method.as_str())
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let split = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut headers = HeaderMap::new();
    let mut status = StatusCode::OK;
    for line in std::str::from_utf8(&output[..split]).unwrap().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            status = value[..3].parse().unwrap();
        } else {
            headers.insert(name.parse::<axum::http::HeaderName>().unwrap(), value.parse().unwrap());
        }
    }
    Some((status, headers, output[split + 4..].to_vec()).into_response())
}

pub(crate) fn plan(repository: &Repository, change: impl FnOnce(&mut Value)) -> Plan {
    let mut payload = job(1, &[step("a")]);
    payload["repositoryName"] = json!("github.com/foo/bar");
    payload["commit"] = json!(repository.commit);
    change(&mut payload);
    let root = repository.root.path().to_owned();
    Plan {
        jobs: [payload.to_string()].into(),
        extra: Some(Box::new(move |call, body| serve(&root, call, &body))),
        ..Plan::default()
    }
}

pub(crate) fn names(files: &[(String, String)]) -> Vec<&str> {
    let names = files.iter().map(|(name, _)| name.as_str());
    names.filter(|name| !name.starts_with(".sourcegraph-executor/")).collect()
}

#[tokio::test]
async fn a_repository_is_cloned_with_the_documented_entries() {
    let repository = repository(|dir| {
        std::fs::create_dir(dir.join("src")).unwrap();
        std::fs::write(dir.join("src/a.txt"), "A").unwrap();
    });
    let change = |payload: &mut Value| {
        payload["repositoryDirectory"] = json!("repo/here");
        payload["shallowClone"] = json!(true);
    };
    let harness = Harness::start(plan(&repository, change), Vec::new());
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markComplete", "{body}: {:#?}", harness.plane.plan().entries);
    let opened = harness.runtime.opened()[0].clone();
    assert_eq!(names(&opened.files), ["repo/here/src/a.txt"]);
    let script = opened.files[0].0.clone();
    assert_eq!(script, format!(".sourcegraph-executor/1.0_github.com_foo_bar@{}.sh", repository.commit));

    let entries = harness.plane.plan().entries.clone();
    let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, [&CLONED[..], &["step.docker.a", "teardown.fs"]].concat());
    assert!(entries.iter().all(|entry| entry.exit_code == Some(0)), "{entries:?}");
    assert!(entries[0].out.starts_with("stdout: Initialized empty Git repository"), "{}", entries[0].out);
    assert_eq!(entries[0].command[0], "git");
    assert_eq!(entries[5].command[6], "github.com/foo/bar");
    harness.end().await;
}

#[tokio::test]
async fn a_sparse_checkout_has_only_what_was_asked_for() {
    let repository = repository(|dir| {
        std::fs::create_dir(dir.join("keep")).unwrap();
        std::fs::write(dir.join("keep/a"), "A").unwrap();
        std::fs::write(dir.join("drop"), "B").unwrap();
    });
    let change = |payload: &mut Value| payload["sparseCheckout"] = json!(["/keep/"]);
    let harness = Harness::start(plan(&repository, change), Vec::new());
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markComplete", "{body}: {:#?}", harness.plane.plan().entries);
    assert_eq!(names(&harness.runtime.opened()[0].files), ["keep/a"]);
    harness.end().await;
}

#[tokio::test]
async fn an_unknown_commit_reads_clearly() {
    let repository = repository(|dir| std::fs::write(dir.join("a"), "A").unwrap());
    let commit = "0123456789012345678901234567890123456789";
    let change = |payload: &mut Value| payload["commit"] = json!(commit);
    let harness = Harness::start(plan(&repository, change), Vec::new());
    let (mark, body) = harness.marked().await;
    let message = body["errorMessage"].as_str().unwrap();
    assert_eq!((mark.as_str(), &body["end"]["reason"]), ("markErrored", &json!("checkout")));
    assert!(
        message.starts_with("creating workspace: failed setup.git.fetch: command failed with exit code "),
        "{message}"
    );
    assert!(
        message.ends_with(&format!("(repository github.com/foo/bar has no commit {commit})")),
        "{message}"
    );
    assert!(harness.runtime.opened()[0].closed);
    harness.end().await;
}

#[tokio::test]
async fn arguments_that_git_could_misread_do_not_reach_it() {
    let repository = repository(|dir| std::fs::write(dir.join("a"), "A").unwrap());
    for (key, value) in [
        ("commit", "--upload-pack=touch /tmp/pwned"),
        ("commit", ""),
        ("repositoryName", "-x"),
        ("repositoryName", "github.com/../../secret"),
        ("repositoryDirectory", "../out"),
    ] {
        let change = |payload: &mut Value| payload[key] = json!(value);
        let harness = Harness::start(plan(&repository, change), Vec::new());
        assert_eq!(harness.marked().await.1["end"]["reason"], "bad_job", "{key} {value}");
        assert!(harness.plane.plan().entry("setup.git.init").is_none());
        harness.end().await;
    }
}

#[tokio::test]
async fn a_symlink_in_the_repository_leads_no_file_outside() {
    let outside = tempfile::tempdir().unwrap();
    let repository = repository(|dir| {
        std::os::unix::fs::symlink(outside.path(), dir.join("out")).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.join(".sourcegraph-executor")).unwrap();
    });
    for files in [json!({"out/file": {"content": ""}}), json!({})] {
        let change = |payload: &mut Value| payload["files"] = files;
        let harness = Harness::start(plan(&repository, change), Vec::new());
        let (_, body) = harness.marked().await;
        let message = body["errorMessage"].as_str().unwrap();
        assert!(
            message.starts_with("creating workspace: refusing to write outside of working directory"),
            "{message}"
        );
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        harness.end().await;
    }
}

#[tokio::test]
async fn the_proxy_serves_our_git_alone_and_only_while_it_clones() {
    let repository = repository(|dir| std::fs::write(dir.join("a"), "A").unwrap());
    let mut scripted = plan(&repository, |_| {});
    let extra = scripted.extra.take().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel();
    // While git waits for an answer, somebody else on this host tries its luck.
    scripted.extra = Some(Box::new(move |call, body| {
        if call.path.contains("info/refs") {
            tell.send(()).unwrap();
            gone.recv_timeout(LIMIT).unwrap();
        }
        extra(call, body)
    }));
    let harness = Harness::start(scripted, Vec::new());
    tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
    let config = harness.runtime.opened()[0].workspace.join(".git/config");
    let config = std::fs::read_to_string(config).unwrap();
    let url = config.lines().find_map(|line| line.trim().strip_prefix("url = ")).unwrap().to_owned();
    assert!(!config.contains("x-executor-clone"), "the nonce is in no file");
    let client = reqwest::Client::new();
    let path = format!("{url}/info/refs?service=git-upload-pack");
    let answer = client.get(&path).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    let answer = client.get(&path).header("x-executor-clone", "0".repeat(32)).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    go.send(()).unwrap();
    assert_eq!(harness.marked().await.0, "markComplete");
    assert!(client.get(&path).send().await.is_err(), "the proxy is gone, kept connections included");
    harness.end().await;
}

#[tokio::test]
async fn a_clone_survives_a_control_plane_that_is_away_for_a_moment() {
    let repository = repository(|dir| std::fs::write(dir.join("a"), "A").unwrap());
    let mut scripted = plan(&repository, |_| {});
    let mut failures = 2;
    scripted.before = Some(Box::new(move |call| {
        let fail = call.path.contains("info/refs") && failures > 0;
        failures -= i32::from(fail);
        fail.then(|| StatusCode::BAD_GATEWAY.into_response())
    }));
    let harness = Harness::start(scripted, Vec::new());
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markComplete", "{body}");
    harness.end().await;
}

/// An answer that begins and never ends.
fn endless() -> Response {
    let begin = futures_util::stream::iter([Ok::<_, std::io::Error>("0008NAK\n")]);
    let body = axum::body::Body::from_stream(begin.chain(futures_util::stream::pending()));
    ([("content-type", "application/x-git-upload-pack-result")], body).into_response()
}

#[tokio::test]
async fn a_clone_survives_a_control_plane_that_dies_in_the_middle_of_it() {
    let repository = repository(|dir| std::fs::write(dir.join("a"), "A").unwrap());
    let mut scripted = plan(&repository, |_| {});
    let reached = CancellationToken::new();
    let tell = reached.clone();
    scripted.before = Some(Box::new(move |call| {
        let die = call.name() == "git-upload-pack" && !tell.is_cancelled();
        die.then(|| {
            tell.cancel();
            endless()
        })
    }));
    let mut harness = Harness::start(scripted, Vec::new());
    reached.cancelled().await;
    harness.plane.go_away();
    harness.plane.come_back();
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markComplete", "{body}: {:#?}", harness.plane.plan().entries);
    let entries = harness.plane.plan().entries.clone();
    let fetches: Vec<_> = entries.iter().filter(|entry| entry.key == "setup.git.fetch").collect();
    assert_eq!(fetches.last().unwrap().exit_code, Some(0));
    assert!(fetches.len() >= 2 && fetches[0].exit_code != Some(0), "{fetches:#?}");
    let told = "The control plane, which serves the repository, ";
    assert!(fetches[0].out.lines().last().unwrap().starts_with(told), "{fetches:#?}");
    assert_eq!(names(&harness.runtime.opened()[0].files), ["a"]);
    harness.end().await;
}

#[tokio::test]
async fn a_sparse_checkout_survives_an_answer_that_is_cut_off() {
    let repository = repository(|dir| {
        std::fs::create_dir(dir.join("keep")).unwrap();
        std::fs::write(dir.join("keep/a"), "A").unwrap();
    });
    let change = |payload: &mut Value| payload["sparseCheckout"] = json!(["/keep/"]);
    let mut scripted = plan(&repository, change);
    let mut posts = 0;
    scripted.after = Some(Box::new(move |call| {
        posts += usize::from(call.name() == "git-upload-pack");
        // The blobs are asked for by the checkout, after the fetch's own calls.
        let cut = call.name() == "git-upload-pack" && posts == 3;
        cut.then(|| StatusCode::SERVICE_UNAVAILABLE.into_response())
    }));
    let harness = Harness::start(scripted, Vec::new());
    let (mark, body) = harness.marked().await;
    let entries = harness.plane.plan().entries.clone();
    assert_eq!(mark, "markComplete", "{body}: {entries:#?}");
    assert_eq!(names(&harness.runtime.opened()[0].files), ["keep/a"]);
    let broken: Vec<_> = entries.iter().filter(|entry| entry.exit_code != Some(0)).collect();
    assert_eq!(broken.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["setup.git.checkout"]);
    harness.end().await;
}

#[tokio::test]
async fn a_control_plane_that_breaks_every_clone_is_not_the_jobs_fault() {
    let repository = repository(|dir| std::fs::write(dir.join("a"), "A").unwrap());
    let mut scripted = plan(&repository, |_| {});
    scripted.before = Some(Box::new(|call| {
        (call.name() == "git-upload-pack").then(|| StatusCode::BAD_GATEWAY.into_response())
    }));
    let harness = Harness::start_with(scripted, Vec::new(), |config| {
        config.clone_patience = std::time::Duration::from_millis(300);
    });
    let (mark, body) = harness.marked().await;
    assert_eq!((mark.as_str(), &body["end"]["reason"]), ("markErrored", &json!("sandbox")));
    let message = body["errorMessage"].as_str().unwrap();
    assert!(
        message.starts_with("creating workspace: failed setup.git.fetch: command failed with exit code "),
        "{message}"
    );
    let told = "(the control plane answered with status 502, and the clone was tried for 300ms)";
    assert!(message.ends_with(told), "{message}");
    harness.end().await;
}

#[tokio::test]
async fn a_clone_that_hangs_is_killed_with_its_job() {
    let repository = repository(|dir| std::fs::write(dir.join("a"), "A").unwrap());
    let mut scripted = plan(&repository, |_| {});
    let (tell, told) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel();
    scripted.before = Some(Box::new(move |call| {
        if call.method == Method::GET && call.path.contains("info/refs") {
            tell.send(()).unwrap();
            gone.recv_timeout(LIMIT).unwrap();
        }
        None
    }));
    let harness = Harness::start_with(scripted, Vec::new(), |config| {
        config.max_runtime = Some(std::time::Duration::from_millis(500));
    });
    tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
    // Git gets no answer until its job has ended.
    eventually("the sandbox's end", || harness.runtime.opened()[0].closed.then_some(())).await;
    go.send(()).unwrap();
    let (_, body) = harness.marked().await;
    assert_eq!(body["end"]["reason"], "timeout");
    harness.end().await;
}

#[tokio::test]
async fn step_scripts_are_no_part_of_what_the_job_changed() {
    let repository = repository(|dir| std::fs::write(dir.join("a"), "A").unwrap());
    let changes = |workspace: &Path| {
        std::fs::write(workspace.join("new"), "N").unwrap();
        assert!(workspace.join(".sourcegraph-executor").is_dir());
        assert_eq!(git(workspace, &["status", "--porcelain", "--untracked-files=all"]), "?? new");
        assert_eq!(git(workspace, &["add", "--all", "--dry-run"]), "add 'new'");
    };
    let harness = Harness::start(plan(&repository, |_| {}), vec![vec![Act::Do(changes)]]);
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markComplete", "{body}");
    harness.end().await;
}

#[tokio::test]
async fn a_repository_that_the_jobs_disk_has_no_room_for_fills_it() {
    let test = "a_repository_that_the_jobs_disk_has_no_room_for_fills_it";
    let Some(disk) = SmallDisk::mount(test, 16 << 20) else { return };
    let repository = repository(|dir| {
        let mut random = std::fs::File::open("/dev/urandom").unwrap().take(8 << 20);
        std::io::copy(&mut random, &mut std::fs::File::create(dir.join("large")).unwrap()).unwrap();
    });
    let harness = Harness::start_in(&disk.path(), plan(&repository, |_| {}), Vec::new(), |config| {
        config.limits.disk = Some(16 << 20);
        disk.fill(1 << 20);
    });
    let (mark, body) = harness.marked().await;
    assert_eq!(
        (mark.as_str(), &body["end"]),
        ("markErrored", &json!({"reason": "disk_full", "limit": 16 << 20}))
    );
    let message = body["errorMessage"].as_str().unwrap();
    assert!(
        message.starts_with("creating workspace: failed setup.git.fetch: command failed with exit code "),
        "{message}"
    );
    harness.end().await;
}
