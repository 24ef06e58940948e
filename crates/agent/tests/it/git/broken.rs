//! Clones from control planes that are away, break off, or hang.

use crate::support::repository::{names, plan, repository};
use crate::support::{Harness, LIMIT, eventually};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

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

/// An answer that begins and never ends: with a packet that is not there whole, so that there is nothing yet that git could think
/// about.
fn endless() -> Response {
    let begin = futures_util::stream::iter([Ok::<_, std::io::Error>("003f")]);
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
