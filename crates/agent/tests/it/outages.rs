//! Lost answers and a control plane that is away.

use crate::support::{Act, Harness, Plan, STRANGE, eventually, job, step};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_util::sync::CancellationToken;

fn plan(ours: bool) -> Plan {
    Plan { jobs: [job(1, &[step("a")]).to_string()].into(), ours, ..Plan::default() }
}

fn numbered(from: usize, to: usize) -> String {
    (from..to).flat_map(|n| ["line ".to_owned(), n.to_string(), "\n".to_owned()]).collect()
}

#[tokio::test]
async fn a_control_plane_that_goes_away_and_comes_back_gets_every_byte_once() {
    for ours in [true, false] {
        let (first, second) = (CancellationToken::new(), CancellationToken::new());
        let bytes = |from, to| Act::Bytes(runtimes::Stream::Stdout, numbered(from, to).into_bytes());
        let acts = vec![
            bytes(0, 1_000),
            Act::Await(first.clone()),
            bytes(1_000, 50_000),
            Act::Await(second.clone()),
            bytes(50_000, 60_000),
        ];
        let mut harness = Harness::start(plan(ours), vec![acts]);
        eventually("the first lines", || {
            let entry = harness.plane.plan().entry("step.docker.a")?;
            entry.out.ends_with("line 999\n").then_some(())
        })
        .await;
        harness.plane.go_away();
        first.cancel();
        // The job goes on without the control plane, to its very end.
        second.cancel();
        eventually("the sandbox's end", || harness.runtime.opened()[0].closed.then_some(())).await;
        harness.plane.come_back();
        assert_eq!(harness.marked().await.0, "markComplete");
        let expect = numbered(0, 60_000).replace("line", "stdout: line");
        let entry = harness.plane.plan().entry("step.docker.a").unwrap();
        assert!(entry.out == expect, "{} bytes instead of {}", entry.out.len(), expect.len());
        assert_eq!(entry.exit_code, Some(0));
        harness.end().await;
    }
}

#[tokio::test]
async fn lost_answers_double_no_byte() {
    let mut scripted = plan(true);
    let lost = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&lost);
    // Every other append is served, but its answer says it was not.
    scripted.after = Some(Box::new(move |call| {
        let lose =
            call.name() == "appendExecutionLog" && count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        lose.then(|| StatusCode::BAD_GATEWAY.into_response())
    }));
    let go = CancellationToken::new();
    let text = numbered(0, 300_000);
    let acts = vec![Act::Await(go.clone()), Act::Bytes(runtimes::Stream::Stdout, text.clone().into_bytes())];
    let harness = Harness::start(scripted, vec![acts]);
    eventually("the entry", || harness.plane.plan().entry("step.docker.a")).await;
    go.cancel();
    assert_eq!(harness.marked().await.0, "markComplete");
    let entry = harness.plane.plan().entry("step.docker.a").unwrap();
    assert!(entry.out == text.replace("line", "stdout: line"), "{} bytes", entry.out.len());
    assert!(lost.load(Ordering::Relaxed) >= 4, "several chunks were sent");
    harness.end().await;
}

#[tokio::test]
async fn a_gap_is_filled_from_where_the_control_plane_says_it_is() {
    let scripted = plan(true);
    let go = CancellationToken::new();
    let acts = vec![Act::Out("first\n"), Act::Await(go.clone()), Act::Out("second\n")];
    let harness = Harness::start(scripted, vec![acts]);
    eventually("the first line", || {
        harness.plane.plan().entry("step.docker.a").filter(|entry| entry.out == "stdout: first\n")
    })
    .await;
    // It was restored from a backup that did not have all of the text.
    {
        let mut plan = harness.plane.plan();
        let entry = plan.entries.iter_mut().find(|entry| entry.key == "step.docker.a").unwrap();
        entry.out.truncate(3);
    }
    go.cancel();
    harness.marked().await;
    assert_eq!(harness.plane.plan().entry("step.docker.a").unwrap().out, "stdout: first\nstdout: second\n");
    harness.end().await;
}

#[tokio::test]
async fn a_final_call_is_tried_until_it_is_heard() {
    let mut scripted = plan(true);
    let mut failures = 3;
    scripted.before = Some(Box::new(move |call| {
        if call.name() != "markComplete" || failures == 0 {
            return None;
        }
        failures -= 1;
        Some(StatusCode::TOO_MANY_REQUESTS.into_response())
    }));
    let harness = Harness::start(scripted, Vec::new());
    eventually("four tries", || (harness.plane.plan().marks().len() == 4).then_some(())).await;
    assert_eq!(harness.end().await.completed, 1);
}

#[tokio::test]
async fn a_final_call_that_the_control_plane_refuses_is_not_repeated() {
    let mut scripted = plan(true);
    scripted.before = Some(Box::new(|call| {
        (call.name() == "markComplete").then(|| (StatusCode::NOT_FOUND, "null").into_response())
    }));
    let harness = Harness::start(scripted, Vec::new());
    eventually("the job's end", || {
        let plan = harness.plane.plan();
        let last = plan.calls.iter().rposition(|call| call.name() == "markComplete")?;
        // It went back to asking for jobs.
        plan.calls[last..].iter().any(|call| call.name() == "dequeue").then_some(())
    })
    .await;
    assert_eq!(harness.plane.plan().marks().len(), 1);
    harness.end().await;
}

/// A proxy's rollout, a sign-in page, a gateway without routes.
#[tokio::test]
async fn a_final_call_that_others_answer_is_made_again() {
    for strange in STRANGE {
        let mut scripted = plan(true);
        let mut failures = 2;
        scripted.before = Some(Box::new(move |call| {
            let fail = call.name() == "markComplete" && failures > 0;
            failures -= i32::from(fail);
            fail.then(strange)
        }));
        let harness = Harness::start(scripted, Vec::new());
        eventually("three tries", || (harness.plane.plan().marks().len() == 3).then_some(())).await;
        assert_eq!(harness.end().await.completed, 1);
    }
}

#[tokio::test]
async fn a_dequeue_that_fails_is_not_sent_again_at_once() {
    let mut scripted = plan(true);
    let mut failures = 2;
    scripted.before = Some(Box::new(move |call| {
        if call.name() != "dequeue" || failures == 0 {
            return None;
        }
        failures -= 1;
        Some(StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }));
    let began = std::time::Instant::now();
    let harness = Harness::start_with(scripted, Vec::new(), |config| {
        config.poll_interval = std::time::Duration::from_millis(100);
    });
    harness.marked().await;
    // Two pauses of at least half of 100 and 200 ms.
    assert!(began.elapsed().as_millis() >= 150);
    harness.end().await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let mut scripted = plan(true);
    let mut first = true;
    scripted.before = Some(Box::new(move |call| {
        if call.name() == "dequeue" && std::mem::take(&mut first) {
            let to = [("location", "http://127.0.0.1:1/steal")];
            return Some((StatusCode::TEMPORARY_REDIRECT, to).into_response());
        }
        None
    }));
    let harness = Harness::start(scripted, Vec::new());
    assert_eq!(harness.marked().await.0, "markComplete");
    harness.end().await;
}
