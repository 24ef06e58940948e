//! Beginning, limits, draining and stopping.

use crate::support::{Act, FakeRuntime, Harness, Plan, eventually, job, step};
use agent::{AgentConfig, AgentError, Orders};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;
use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
async fn what_still_runs_when_a_drain_has_to_end_is_handed_back() {
    let limit = Duration::from_secs(4);
    let harness = Harness::start_with(jobs(1), vec![vec![Act::UntilStopped]], |config| {
        config.drain_limit = Some(limit);
    });
    job_runs(&harness).await;
    let asked = Instant::now();
    harness.drain.cancel();
    let (mark, body) = harness.marked().await;
    let took = asked.elapsed();
    assert_eq!((mark.as_str(), &body["end"]["reason"]), ("markErrored", &json!("executor_stopped")));
    assert!(took > limit / 4 && took < limit, "{took:?}");
    assert_eq!(harness.left().await.completed, 0);
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
    let harness = Harness::start_with(jobs(2), vec![vec![Act::UntilStopped]], |config| {
        config.max_active_time = Some(Duration::from_millis(300));
        // The only slot is free again after that, by the same clock.
        config.max_runtime = Some(Duration::from_millis(600));
    });
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
async fn a_job_that_is_given_to_us_again_begins_anew_once_its_old_copy_is_closed() {
    let go = CancellationToken::new();
    let mut plan = jobs(0);
    let again = Arc::new(AtomicBool::new(false));
    let (now, mut handed) = (Arc::clone(&again), 0);
    plan.before = Some(Box::new(move |call| {
        if call.name() != "dequeue" || handed > i32::from(now.load(Ordering::Relaxed)) {
            return None;
        }
        handed += 1;
        let mut payload = job(1, &[step("a")]);
        payload["token"] = json!(format!("token-of-epoch-{handed}"));
        Some(payload.to_string().into_response())
    }));
    let harness = Harness::start_with(plan, vec![vec![Act::FirstIsSlowToStop(go.clone())]], |config| {
        config.max_jobs = 2;
    });
    job_runs(&harness).await;
    // A network cut was longer than the lease, and nobody else wanted the job.
    again.store(true, Ordering::Relaxed);
    let calls = eventually("the second copy", || {
        let plan = harness.plane.plan();
        // With both slots taken nothing more is asked for.
        let beats = plan.calls.iter().rev().take_while(|call| call.name() == "heartbeat").count();
        (beats > 5).then(|| plan.calls.clone())
    })
    .await;
    assert!(calls.iter().rev().take(5).all(|call| call.body["jobIds"] == json!([1])), "the lease is kept");
    go.cancel();
    assert_eq!(harness.marked().await.0, "markComplete");
    let marks = harness.plane.plan().marks();
    assert_eq!(marks.len(), 1, "nothing is told of the old copy: {marks:?}");
    assert_eq!(marks[0].header("authorization"), Some("Bearer token-of-epoch-2"));
    let opened = harness.runtime.opened().clone();
    assert_eq!(
        opened.iter().map(|opened| (opened.beside, opened.closed)).collect::<Vec<_>>(),
        [(0, true); 2]
    );
    let summary = harness.end().await;
    assert_eq!((summary.taken, summary.completed), (2, 1));
}

#[tokio::test]
async fn an_old_copy_that_can_not_tell_its_end_keeps_no_new_one_waiting() {
    let mut plan = jobs(1);
    let old = "Bearer job-token-0123";
    plan.before = Some(Box::new(move |call| {
        // As a network does that is cut for long, but not for good.
        (call.header("authorization") == Some(old)).then(|| StatusCode::BAD_GATEWAY.into_response())
    }));
    let harness = Harness::start_with(plan, Vec::new(), |config| config.max_jobs = 2);
    eventually("the old copy's end", || {
        harness.runtime.opened().first().is_some_and(|opened| opened.closed).then_some(())
    })
    .await;
    let mut payload = job(1, &[step("a")]);
    payload["token"] = json!("token-of-epoch-2");
    harness.plane.plan().jobs.push_back(payload.to_string());
    let (mark, _) = harness.marked().await;
    assert_eq!(mark, "markComplete");
    let marks = harness.plane.plan().marks();
    assert!(marks.iter().all(|mark| mark.header("authorization") != Some(old)), "{marks:?}");
    assert_eq!(harness.end().await.completed, 1);
}

/// Where a job's workspace was kept, in `work_dir`. A step wrote to it before.
async fn kept(work_dir: &Path) -> PathBuf {
    let write = |path: &Path| {
        std::fs::create_dir(path.join("dir")).unwrap();
        std::fs::write(path.join("dir/result"), "42").unwrap();
        std::fs::set_permissions(path.join("dir/result"), Permissions::from_mode(0o6755)).unwrap();
        std::os::unix::fs::symlink("/etc", path.join("dir/link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path.join("dir/pipe"),
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
    };
    let harness = Harness::start_with(jobs(1), vec![vec![Act::Do(write)]], |config| {
        config.keep_workspaces = true;
        work_dir.clone_into(&mut config.work_dir);
    });
    harness.marked().await;
    let out = harness.plane.plan().entry("teardown.fs").unwrap().out;
    let begin = "Preserving workspace (";
    let (kept, _) = out.split_once(begin).expect(&out).1.split_once(')').unwrap();
    assert!(harness.runtime.opened()[0].closed);
    harness.end().await;
    assert_eq!(std::fs::read_to_string(format!("{kept}/dir/result")).unwrap(), "42");
    let mode = std::fs::metadata(format!("{kept}/dir/result")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "it gives nobody the rights of its owner");
    assert_eq!(std::fs::read_link(format!("{kept}/dir/link")).unwrap(), Path::new("/etc"));
    let pipe = std::fs::symlink_metadata(format!("{kept}/dir/pipe")).unwrap();
    assert!(pipe.file_type().is_fifo());
    PathBuf::from(kept)
}

#[tokio::test]
async fn a_workspace_can_be_kept() {
    // The runtime of these tests has its workspaces there as well.
    let work_dir = tempfile::tempdir().unwrap();
    assert!(kept(work_dir.path()).await.starts_with(work_dir.path()));
}

#[tokio::test]
async fn a_workspace_on_a_volume_of_its_own_can_be_kept() {
    let memory = Path::new("/dev/shm");
    let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    if device(memory).is_none_or(|memory| Some(memory) == device(&std::env::temp_dir())) {
        testkit::missing_part(
            "a_workspace_on_a_volume_of_its_own_can_be_kept",
            "a second file system at /dev/shm",
        );
        return;
    }
    let work_dir = tempfile::tempdir_in(memory).unwrap();
    assert!(kept(work_dir.path()).await.starts_with(memory));
}

#[tokio::test]
async fn bad_registry_credentials_of_its_own_keep_it_from_beginning() {
    let url = "http://127.0.0.1:1".parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut config =
        AgentConfig::new(url, "hunter2hunter2".into(), "batches", "agent-1", dir.path().to_owned());
    config.docker_auth =
        serde_json::from_value(json!({"auths": {"registry.example": {"auth": "not-base64-%"}}})).unwrap();
    let runtime = Arc::new(FakeRuntime::new(Vec::new(), &std::env::temp_dir()));
    let Err(AgentError::Config(fault)) = agent::run(config, runtime, Orders::default()).await else {
        panic!("it began");
    };
    assert!(fault.contains("\"registry.example\"") && !fault.contains("not-base64"), "{fault}");
}
