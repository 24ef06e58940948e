//! Beginning, limits, draining and stopping.

use crate::support::{Act, Harness, Plan, eventually, job, step};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

fn jobs(count: i64) -> Plan {
    let payloads = (1..=count).map(|id| job(id, &[step("a")]).to_string());
    Plan { jobs: payloads.collect(), ..Plan::default() }
}

async fn job_runs(harness: &Harness) {
    eventually("the step", || {
        harness.runtime.opened().first().is_some_and(|opened| !opened.steps.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn it_pings_until_the_control_plane_is_well() {
    let mut refusals = 1;
    let mut plan = jobs(1);
    plan.before = Some(Box::new(move |_| {
        refusals -= 1;
        (refusals >= 0).then(|| StatusCode::SERVICE_UNAVAILABLE.into_response())
    }));
    let harness = Harness::start(plan, Vec::new());
    assert_eq!(harness.marked().await.0, "markComplete");
    harness.end().await;
}

#[tokio::test]
async fn a_timeout_names_its_limit() {
    let harness = Harness::start_with(jobs(1), vec![vec![Act::UntilStopped]], |config| {
        config.max_runtime = Some(Duration::from_millis(250));
    });
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markErrored");
    assert_eq!(
        body["errorMessage"],
        "job exceeded maximum execution time of 250ms: context deadline exceeded"
    );
    assert_eq!(body["end"], json!({"reason": "timeout", "limit": 250}));
    harness.end().await;
}

#[tokio::test]
async fn the_first_signal_drains() {
    let go = CancellationToken::new();
    let harness = Harness::start(jobs(2), vec![vec![Act::Await(go.clone())]]);
    job_runs(&harness).await;
    harness.drain.cancel();
    go.cancel();
    let plan = harness.end().await;
    assert_eq!((plan.taken, plan.completed), (1, 1));
}

#[tokio::test]
async fn the_second_signal_stops_and_reports() {
    let harness = Harness::start(jobs(1), vec![vec![Act::UntilStopped]]);
    job_runs(&harness).await;
    harness.drain.cancel();
    harness.stop.cancel();
    let (mark, body) = harness.marked().await;
    assert_eq!((mark.as_str(), &body["end"]["reason"]), ("markErrored", &json!("executor_stopped")));
    assert!(harness.runtime.opened()[0].closed);
    assert_eq!(harness.left().await.completed, 0);
}

#[tokio::test]
async fn a_job_that_answers_a_dequeue_under_way_is_run_before_leaving() {
    let mut plan = jobs(1);
    let (reached, go) = (CancellationToken::new(), CancellationToken::new());
    let (tell, wait) = (reached.clone(), go.clone());
    plan.before = Some(Box::new(move |call| {
        if call.name() == "dequeue" {
            tell.cancel();
            // This thread is the control plane's own.
            let began = Instant::now();
            while !wait.is_cancelled() && began.elapsed() < Duration::from_secs(1) {
                std::thread::yield_now();
            }
        }
        None
    }));
    let harness = Harness::start(plan, Vec::new());
    reached.cancelled().await;
    harness.drain.cancel();
    go.cancel();
    assert_eq!(harness.left().await.completed, 1);
}

#[tokio::test]
async fn it_leaves_after_as_many_jobs_as_it_was_told() {
    let harness = Harness::start_with(jobs(5), Vec::new(), |config| config.num_total_jobs = Some(2));
    assert_eq!(harness.left().await.taken, 2);
}

#[tokio::test]
async fn its_active_time_ends_also_while_it_waits_for_a_slot() {
    let go = CancellationToken::new();
    let harness = Harness::start_with(jobs(2), vec![vec![Act::Await(go.clone())]], |config| {
        config.max_active_time = Some(Duration::from_millis(300));
    });
    job_runs(&harness).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    go.cancel();
    assert_eq!(harness.left().await.taken, 1);
}

#[tokio::test]
async fn as_many_jobs_run_at_a_time_as_there_are_slots() {
    let go = CancellationToken::new();
    let harness =
        Harness::start_with(jobs(3), vec![vec![Act::Await(go.clone())]], |config| config.max_jobs = 2);
    eventually("two jobs", || (harness.runtime.opened().len() == 2).then_some(())).await;
    let dequeues = harness.plane.plan().named("dequeue").len();
    assert_eq!(dequeues, 2, "no dequeue without a free slot");
    go.cancel();
    eventually("the third", || (harness.plane.plan().marks().len() == 3).then_some(())).await;
    harness.end().await;
}

#[tokio::test]
async fn a_job_that_runs_already_is_not_run_twice() {
    let go = CancellationToken::new();
    let mut plan = jobs(1);
    plan.jobs.push_back(job(1, &[step("a")]).to_string());
    let harness = Harness::start_with(plan, vec![vec![Act::Await(go.clone())]], |config| config.max_jobs = 2);
    eventually("both handed out", || (harness.plane.plan().named("dequeue").len() >= 3).then_some(())).await;
    go.cancel();
    harness.marked().await;
    assert_eq!(harness.runtime.opened().len(), 1);
    assert_eq!(harness.end().await.taken, 1);
}

#[tokio::test]
async fn a_workspace_can_be_kept() {
    let write = |path: &std::path::Path| std::fs::write(path.join("result"), "42").unwrap();
    let harness = Harness::start_with(jobs(1), vec![vec![Act::Do(write)]], |config| {
        config.keep_workspaces = true;
        // A rename does not cross file systems.
        config.work_dir = std::env::temp_dir().join(format!("agent-kept-{}", std::process::id()));
    });
    harness.marked().await;
    let out = harness.plane.plan().entry("teardown.fs").unwrap().out;
    let kept = out.split_once('(').unwrap().1.split_once(')').unwrap().0.to_owned();
    assert_eq!(std::fs::read_to_string(format!("{kept}/result")).unwrap(), "42");
    harness.end().await;
    std::fs::remove_dir_all(std::path::Path::new(&kept).parent().unwrap().parent().unwrap()).unwrap();
}
