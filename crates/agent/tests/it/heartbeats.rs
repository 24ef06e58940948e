//! What heartbeats may and may not do to jobs.

use crate::support::{Act, Call, Harness, Plan, Told, eventually, job, step};
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn one_job() -> Plan {
    Plan { jobs: [job(1, &[step("a")]).to_string()].into(), ..Plan::default() }
}

async fn beats(harness: &Harness, more: usize) {
    let before = harness.plane.plan().named("heartbeat").len();
    eventually("heartbeats", || {
        (harness.plane.plan().named("heartbeat").len() >= before + more).then_some(())
    })
    .await;
}

async fn job_runs(harness: &Harness) {
    eventually("the step", || {
        harness.runtime.opened().first().is_some_and(|opened| !opened.steps.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn answers_that_say_nothing_of_jobs_stop_none() {
    let go = CancellationToken::new();
    let harness = Harness::start(one_job(), vec![vec![Act::Await(go.clone())]]);
    job_runs(&harness).await;
    for answer in [
        || StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        || StatusCode::NO_CONTENT.into_response(),
        || StatusCode::UNAUTHORIZED.into_response(),
        || "{}".into_response(),
        || "not json".into_response(),
        || r#"{"knownIds":[{}]}"#.into_response(),
        || r#"{"knownIDs":[1],"cancelIDs":["7"]}"#.into_response(),
    ] {
        harness.plane.plan().heartbeat = Some(Box::new(move |_| answer()));
        beats(&harness, 3).await;
    }
    go.cancel();
    assert_eq!(harness.marked().await.0, "markComplete");
    harness.end().await;
}

#[tokio::test]
async fn a_stock_control_plane_is_told_a_version_that_it_compares_to_nothing() {
    for ours in [false, true] {
        let plan = Plan { ours, ..Plan::default() };
        let harness = Harness::start_with(plan, Vec::new(), |config| {
            agent::ANNOUNCED_VERSION.clone_into(&mut config.version);
            "0.1.0".clone_into(&mut config.telemetry.executor_version);
        });
        let told = |what: &str, key: &str, version: &str| {
            let last = harness.plane.plan().named(what).pop();
            last.is_some_and(|call| call.body[key] == version).then_some(())
        };
        eventually("a dequeue", || told("dequeue", "version", "0.0.0+dev")).await;
        if ours {
            // It is known by its answer to that.
            eventually("the real version", || told("heartbeat", "executorVersion", "0.1.0")).await;
        } else {
            beats(&harness, 5).await;
            let heartbeats = harness.plane.plan().named("heartbeat");
            assert!(heartbeats.iter().all(|call| call.body["executorVersion"] != "0.1.0"), "{heartbeats:?}");
            assert_eq!(told("heartbeat", "executorVersion", "0.0.0+dev"), Some(()));
        }
        harness.end().await;
    }
}

#[tokio::test]
async fn a_cancellation_stops_the_job_and_is_final() {
    let harness = Harness::start(one_job(), vec![vec![Act::Out("begun\n"), Act::UntilStopped]]);
    job_runs(&harness).await;
    harness.plane.plan().heartbeat =
        Some(Box::new(|_| json!({"knownIds": ["1"], "cancelIds": ["1"]}).to_string().into_response()));
    let (mark, body) = harness.marked().await;
    assert_eq!((mark.as_str(), &body["end"]["reason"]), ("markFailed", &json!("canceled")));
    assert_eq!(body["errorMessage"], "the job was canceled");
    assert_eq!(harness.plane.plan().entry("step.docker.a").unwrap().out, "stdout: begun\n");
    harness.end().await;
}

#[tokio::test]
async fn a_job_that_is_not_ours_any_more_ends_without_a_word() {
    let harness = Harness::start(one_job(), vec![vec![Act::UntilStopped]]);
    job_runs(&harness).await;
    harness.plane.plan().heartbeat =
        Some(Box::new(|_| json!({"knownIds": [], "cancelIds": []}).to_string().into_response()));
    eventually("the sandbox's end", || harness.runtime.opened()[0].closed.then_some(())).await;
    // It goes back to asking for jobs, and says nothing of this one on the way.
    let dequeues = harness.plane.plan().named("dequeue").len();
    eventually("another dequeue", || (harness.plane.plan().named("dequeue").len() > dequeues).then_some(()))
        .await;
    assert!(harness.plane.plan().marks().is_empty());
    assert_eq!(harness.end().await.completed, 0);
}

/// An answer whose body comes when the test cancels `go`.
fn held(go: &CancellationToken, text: &'static str) -> Response {
    let go = go.clone();
    let body = futures_util::stream::once(async move {
        go.cancelled().await;
        Ok::<_, std::convert::Infallible>(text)
    });
    Body::from_stream(body).into_response()
}

#[tokio::test]
async fn an_answer_that_the_jobs_end_overtook_is_no_news() {
    for mark_is_slow in [false, true] {
        let told = Told::all();
        let (go, answer, mark) = <(CancellationToken, CancellationToken, CancellationToken)>::default();
        // A number of its own, should other tests run in the same process.
        let jobs = [job(77, &[step("a")]).to_string()].into();
        let (mut plan, mut first) = (Plan { jobs, ..Plan::default() }, true);
        let (answer_when, mark_when) = (answer.clone(), mark.clone());
        plan.heartbeat = Some(Box::new(move |ids| {
            if ids == ["77"] && std::mem::take(&mut first) {
                return held(&answer_when, r#"{"knownIds":[],"cancelIds":["77"]}"#);
            }
            json!({"knownIds": ids, "cancelIds": []}).to_string().into_response()
        }));
        plan.before = Some(Box::new(move |call| {
            (mark_is_slow && call.name() == "markComplete").then(|| held(&mark_when, ""))
        }));
        let harness = Harness::start(plan, vec![vec![Act::Await(go.clone())]]);
        eventually("a heartbeat with the job", || {
            let beats = harness.plane.plan().named("heartbeat");
            beats.iter().any(|call| call.body["jobIds"] == json!([77])).then_some(())
        })
        .await;
        go.cancel();
        harness.marked().await;
        if !mark_is_slow {
            eventually("another dequeue", || {
                let plan = harness.plane.plan();
                (plan.calls.last()?.name() == "dequeue").then_some(())
            })
            .await;
        }
        answer.cancel();
        // The next one goes out when the answer was dealt with.
        beats(&harness, 1).await;
        mark.cancel();
        assert_eq!(harness.end().await.completed, 1, "slow: {mark_is_slow}");
        let lines = told.lines();
        let of_job = lines.iter().filter(|line| line.contains("job=77"));
        let bad: Vec<_> = of_job.filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
        assert!(bad.is_empty(), "slow: {mark_is_slow}: {bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_blocked_runtime_does_not_stop_heartbeats() {
    let (tell, told) = mpsc::channel();
    let before = move |call: &Call| {
        if call.name() == "heartbeat" && call.body["jobIds"] == json!([1]) {
            // At the end nobody counts them.
            let _ = tell.send(());
        }
        None
    };
    let told = Mutex::new(told);
    // While the one worker thread waits, nothing else of the agent can run.
    let five_heartbeats = move || {
        let told = told.lock().unwrap();
        // Those from before do not count.
        while told.try_recv().is_ok() {}
        for _ in 0..5 {
            told.recv_timeout(Duration::from_secs(10)).expect("a heartbeat from beside the runtime");
        }
    };
    let plan = Plan { before: Some(Box::new(before)), ..one_job() };
    let harness = Harness::start(plan, vec![vec![Act::BlockThread(Arc::new(five_heartbeats))]]);
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markComplete", "{body}");
    harness.end().await;
}

#[tokio::test]
async fn heartbeats_go_on_while_the_last_job_drains() {
    let go = CancellationToken::new();
    let harness = Harness::start(one_job(), vec![vec![Act::Await(go.clone())]]);
    job_runs(&harness).await;
    harness.drain.cancel();
    beats(&harness, 5).await;
    go.cancel();
    assert_eq!(harness.end().await.completed, 1);
}

/// It makes no dequeues then, so that nothing else would tell. Stock control planes know nothing of it.
#[tokio::test]
async fn heartbeats_tell_a_control_plane_of_ours_why_no_jobs_are_asked_for() {
    let said = |harness: &Harness| {
        let beats = harness.plane.plan().named("heartbeat");
        beats.last().and_then(|beat| beat.header("executors-takes-none").map(str::to_owned))
    };
    for ours in [true, false] {
        let go = CancellationToken::new();
        let harness =
            Harness::start_with(Plan { ours, ..one_job() }, vec![vec![Act::Await(go.clone())]], |config| {
                config.max_jobs = 2;
            });
        job_runs(&harness).await;
        beats(&harness, 3).await;
        assert_eq!(said(&harness), None, "it asks for jobs");
        harness.drain.cancel();
        if ours {
            eventually("a word on it", || (said(&harness)? == "draining").then_some(())).await;
        } else {
            beats(&harness, 5).await;
            assert_eq!(said(&harness), None);
        }
        go.cancel();
        harness.left().await;
    }
    let low = Harness::start_with(Plan { ours: true, ..Plan::default() }, Vec::new(), |config| {
        config.disk_floor = Some(u64::MAX / 2);
    });
    eventually("a word on the disk", || (said(&low)? == "disk-floor").then_some(())).await;
    low.end().await;
}
