//! A real repository, served as git does it.

use super::{Call, Plan, job, step};
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A bare repository with one commit.
pub(crate) struct Repository {
    root: TempDir,
    pub(crate) commit: String,
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
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

/// A job that clones it, from a control plane that serves it.
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

/// The names of what lies in a workspace, the step scripts aside.
pub(crate) fn names(files: &[(String, String)]) -> Vec<&str> {
    let names = files.iter().map(|(name, _)| name.as_str());
    names.filter(|name| !name.starts_with(".sourcegraph-executor/")).collect()
}
