//! What arrives of a job's output.

use crate::support::{Act, Call, Entry, Harness, Plan, STRANGE, eventually, job, step};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use runtimes::Stream;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wire::additions::NO_ROOM;

fn plan(ours: bool, payload: &Value) -> Plan {
    Plan { jobs: [payload.to_string()].into(), ours, ..Plan::default() }
}

/// The entry of step `a` after a job that does `acts`, for both kinds of control plane.
async fn logged(ours: bool, payload: Value, acts: Vec<Act>) -> Entry {
    let harness = Harness::start(plan(ours, &payload), vec![acts]);
    harness.marked().await;
    let entry = harness.plane.plan().entry("step.docker.a").unwrap();
    let (puts, appends) = {
        let plan = harness.plane.plan();
        (plan.named("updateExecutionLogEntry").len(), plan.named("appendExecutionLog").len())
    };
    assert!(if ours { puts == 0 } else { appends == 0 }, "{puts} puts, {appends} appends");
    harness.end().await;
    entry
}

/// Resident memory of this process at its peak, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn both_kinds_of_control_plane_get_the_same_text() {
    for ours in [false, true] {
        let acts = vec![
            Act::Out("one\ntw"),
            Act::Err("oops\n"),
            Act::Out("o\n"),
            Act::Bytes(Stream::Stdout, b"bad \xff \xe2\x82".to_vec()),
            Act::Bytes(Stream::Stdout, b"\xac end".to_vec()),
        ];
        let entry = logged(ours, job(1, &[step("a")]), acts).await;
        assert_eq!(entry.out, "stdout: one\nstderr: oops\nstdout: two\nstdout: bad \u{fffd} € end\n");
        assert_eq!(entry.exit_code, Some(0));
    }
}

#[tokio::test]
async fn a_follower_sees_a_prompt_before_its_line_ends() {
    let go = CancellationToken::new();
    let acts = vec![Act::Out("password: "), Act::Await(go.clone()), Act::Out("ok\n")];
    let harness = Harness::start(plan(true, &job(1, &[step("a")])), vec![acts]);
    eventually("the prompt", || {
        harness.plane.plan().entry("step.docker.a").filter(|entry| entry.out == "stdout: password: ")
    })
    .await;
    go.cancel();
    harness.marked().await;
    assert_eq!(harness.plane.plan().entry("step.docker.a").unwrap().out, "stdout: password: ok\n");
    harness.end().await;
}

#[tokio::test]
async fn secrets_split_over_writes_streams_and_lines_do_not_get_out() {
    let mut payload = job(1, &[step("a")]);
    let pem = "-----BEGIN KEY-----\nAAAABBBBCCCC\n-----END KEY-----";
    payload["redactedValues"] = json!({"s3cr3t-value": "${{ secrets.A }}", (pem): "PEM"});
    let acts = vec![
        Act::Out("x s3cr"),
        Act::Err("in between\n"),
        Act::Out("3t-value y\n"),
        Act::Out("-----BEGIN KEY-----\nAAAA"),
        Act::Out("BBBBCCCC\n-----END KEY-----\n"),
        Act::Out("hunter2hunter2 job-token-0123\n"),
    ];
    for ours in [false, true] {
        let entry = logged(ours, payload.clone(), acts.clone()).await;
        assert_eq!(
            entry.out,
            "stderr: in between\nstdout: x ${{ secrets.A }} y\nstdout: PEM\nstdout: SECRET_REMOVED SECRET_REMOVED\n"
        );
    }
}

#[tokio::test]
async fn a_secret_that_is_too_short_is_warned_of_once() {
    let mut payload = job(1, &[step("a"), step("b")]);
    payload["redactedValues"] = json!({"4711": "${{ secrets.PIN }}", "long enough": "${{ secrets.LONG }}"});
    let harness = Harness::start(plan(true, &payload), Vec::new());
    harness.marked().await;
    let entries = harness.plane.plan().entries.clone();
    let all: String = entries.iter().map(|entry| entry.out.as_str()).collect();
    let warnings: Vec<&str> = all.lines().filter(|line| line.starts_with("Warning: ")).collect();
    assert_eq!(warnings.len(), 1, "{all}");
    assert!(warnings[0].contains("${{ secrets.PIN }}") && !warnings[0].contains("4711"), "{all}");
    assert!(entries[0].key == "setup.fs.extras" && entries[0].out.starts_with("Warning: "), "{all}");
    harness.end().await;
}

#[tokio::test]
async fn a_secret_does_not_get_out_through_arguments_and_messages() {
    let mut payload = job(1, &[step("a")]);
    payload["dockerSteps"][0]["dir"] = json!("../s3cr3t-value");
    payload["redactedValues"] = json!({"s3cr3t-value": "HIDDEN"});
    let harness = Harness::start(plan(true, &payload), Vec::new());
    let (_, body) = harness.marked().await;
    let message = body["errorMessage"].as_str().unwrap();
    assert!(message.contains("HIDDEN") && !message.contains("s3cr3t"), "{message}");
    harness.end().await;
}

#[tokio::test]
async fn a_flood_is_cut_in_the_middle_and_takes_no_memory() {
    // Half goes to each kind, so that one process measures both.
    for ours in [true, false] {
        let before = peak_memory();
        let line = format!("{}\n", "x".repeat(999)).repeat(64);
        let times = 200_000_000 / line.len();
        let payload = job(1, &[step("a")]);
        let harness = Harness::start_with(
            plan(ours, &payload),
            vec![vec![Act::Flood(line.into_bytes(), times), Act::Out("the end\n")]],
            |config| config.log_cap = 4 << 20,
        );
        harness.marked().await;
        let out = harness.plane.plan().entry("step.docker.a").unwrap().out;
        assert!(out.len() <= 4 << 20, "{}", out.len());
        assert!(out.contains(" bytes of output are left out here; the limit is 4194304 bytes]\nstdout: x"));
        assert!(out.ends_with("stdout: the end\n"));
        let grown = peak_memory() - before;
        // The control plane of the test keeps the text and handles its JSON in this process too.
        assert!(grown < 64 << 20, "{grown} bytes more");
        harness.end().await;
    }
}

/// What files that have no name any more take of the disk, of those that this process has open.
fn unnamed_on_disk() -> u64 {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let unnamed = open.filter(|entry| {
        std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().ends_with(" (deleted)"))
    });
    unnamed.filter_map(|entry| entry.path().metadata().ok()).map(|file| file.blocks() * 512).sum()
}

#[tokio::test]
async fn a_job_of_many_long_steps_keeps_to_its_share_of_the_disk() {
    const LIMIT: u64 = 2 << 20;
    let keys: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
    let steps: Vec<Value> = keys.iter().map(|key| step(key)).collect();
    let line = format!("{}\n", "x".repeat(999)).repeat(64).into_bytes();
    let acts = || vec![Act::Out("the begin\n"), Act::Flood(line.clone(), 16), Act::Out("the end\n")];
    for ours in [true, false] {
        let held = unnamed_on_disk();
        let acts = keys.iter().map(|_| acts()).collect();
        let mut harness =
            Harness::start_with(plan(ours, &job(1, &steps)), acts, |config| config.job_log_cap = LIMIT);
        eventually("the job", || harness.plane.plan().entries.first().cloned()).await;
        harness.plane.go_away();
        eventually("the sandbox's end", || harness.runtime.opened().first()?.closed.then_some(())).await;
        let taken = unnamed_on_disk() - held;
        // A block at the end of each file may be half empty.
        assert!(taken <= LIMIT + 12 * 4_096, "{taken} bytes on disk");
        harness.plane.come_back();
        assert_eq!(harness.marked().await.0, "markComplete");
        let entries: Vec<Entry> = {
            let plan = harness.plane.plan();
            keys.iter().map(|key| plan.entry(&format!("step.docker.{key}")).unwrap()).collect()
        };
        let told = format!("the limit of what waits of a job's whole log is {LIMIT} bytes]\n");
        for Entry { out, key, exit_code, .. } in &entries {
            assert!(out.starts_with("stdout: the begin\n") && out.ends_with("stdout: the end\n"), "{key}");
            assert_eq!(*exit_code, Some(0), "{key}");
        }
        let cut = entries.iter().filter(|entry| entry.out.contains(&told)).count();
        assert!((10..12).contains(&cut), "{cut} entries are cut");
        harness.end().await;
    }
}

#[tokio::test]
async fn a_line_of_64_mib_arrives_whole() {
    let piece = vec![b'y'; 1 << 20];
    let payload = job(1, &[step("a")]);
    let harness = Harness::start_with(
        plan(true, &payload),
        vec![vec![Act::Flood(piece, 64), Act::Out("\nnext\n")]],
        |config| config.log_cap = 80 << 20,
    );
    harness.marked().await;
    let out = harness.plane.plan().entry("step.docker.a").unwrap().out;
    let (long, next) = out.split_once('\n').unwrap();
    assert_eq!((long.len(), next), ("stdout: ".len() + (64 << 20), "stdout: next\n"));
    assert!(long["stdout: ".len()..].bytes().all(|byte| byte == b'y'));
    harness.end().await;
}

#[tokio::test]
async fn a_long_text_is_streamed_to_a_stock_control_plane() {
    let line = "ü \"quoted\" \\ \u{1}\n".repeat(1_000);
    let entry = logged(false, job(1, &[step("a")]), vec![Act::Flood(line.clone().into_bytes(), 200)]).await;
    let expect: String = line.repeat(200).lines().flat_map(|line| ["stdout: ", line, "\n"]).collect();
    assert!(entry.out == expect, "{} bytes instead of {}", entry.out.len(), expect.len());
}

#[tokio::test]
async fn a_control_plane_that_takes_no_more_text_does_not_fail_the_job() {
    for ours in [true, false] {
        let go = CancellationToken::new();
        let mut scripted = plan(ours, &job(1, &[step("a")]));
        scripted.before = Some(Box::new(|call| {
            let text = call.body["chunk"].as_str().or(call.body["out"].as_str()).unwrap_or_default();
            text.contains("too much").then(|| StatusCode::PAYLOAD_TOO_LARGE.into_response())
        }));
        let acts = vec![Act::Out("some\n"), Act::Await(go.clone()), Act::Out("too much\n")];
        let harness = Harness::start(scripted, vec![acts]);
        eventually("the first text", || {
            harness.plane.plan().entry("step.docker.a").filter(|entry| entry.out == "stdout: some\n")
        })
        .await;
        go.cancel();
        assert_eq!(harness.marked().await.0, "markComplete");
        let entry = harness.plane.plan().entry("step.docker.a").unwrap();
        assert_eq!(
            entry.out,
            "stdout: some\n\n[executor: the control plane takes no more output of this entry]\n"
        );
        assert_eq!(entry.exit_code, Some(0));
        harness.end().await;
    }
}

/// Answers like a control plane of ours whose disk has too little room for text.
fn no_room_for_text(call: &Call) -> Option<Response> {
    let text = call.body["chunk"].as_str().or(call.body["out"].as_str()).unwrap_or_default();
    let has_text = !text.is_empty() && !text.starts_with("\n[executor: ");
    let refused = (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")], NO_ROOM);
    has_text.then(|| refused.into_response())
}

#[tokio::test]
async fn text_that_there_is_no_room_for_waits_until_there_is() {
    let full = Arc::new(AtomicBool::new(true));
    let mut scripted = plan(true, &job(1, &[step("a")]));
    let is_full = Arc::clone(&full);
    scripted.before =
        Some(Box::new(move |call| is_full.load(Ordering::Relaxed).then(|| no_room_for_text(call)).flatten()));
    let harness = Harness::start(scripted, vec![vec![Act::Out("some\n")]]);
    eventually("refusals", || harness.plane.plan().named("appendExecutionLog").get(3).map(drop)).await;
    full.store(false, Ordering::Relaxed);
    assert_eq!(harness.marked().await.0, "markComplete");
    let entry = harness.plane.plan().entry("step.docker.a").unwrap();
    assert_eq!((entry.out.as_str(), entry.exit_code), ("stdout: some\n", Some(0)));
    harness.end().await;
}

#[tokio::test]
async fn text_that_was_waited_with_in_vain_is_marked_as_missing() {
    let mut scripted = plan(true, &job(1, &[step("a")]));
    scripted.before = Some(Box::new(no_room_for_text));
    let patience = Duration::from_millis(300);
    let acts = vec![vec![Act::Out("some\n")]];
    let harness = Harness::start_with(scripted, acts, |config| config.patience = patience);
    assert_eq!(harness.marked().await.0, "markComplete");
    let entry = harness.plane.plan().entry("step.docker.a").unwrap();
    assert_eq!(entry.out, "\n[executor: the control plane takes no more output of this entry]\n");
    assert_eq!(entry.exit_code, Some(0));
    harness.end().await;
}

#[tokio::test]
async fn a_log_that_is_refused_for_good_does_not_fail_the_job() {
    let mut scripted = plan(true, &job(1, &[step("a")]));
    scripted.before = Some(Box::new(move |call| {
        let refused = (StatusCode::BAD_REQUEST, "Failed to unmarshal payload: no such thing\n");
        call.name().ends_with("LogEntry").then(|| refused.into_response())
    }));
    let harness = Harness::start(scripted, vec![vec![Act::Out("x\n")]]);
    assert_eq!(harness.marked().await.0, "markComplete");
    harness.end().await;
}

/// Whether the job is somebody else's is for heartbeats to say, which have nothing against it.
#[tokio::test]
async fn a_log_that_is_somebody_elses_stops_no_job() {
    for (code, body) in [
        (StatusCode::UNAUTHORIZED, "invalid token\n"),
        (StatusCode::INTERNAL_SERVER_ERROR, r#"{"error":"unknown job"}"#),
    ] {
        let mut scripted = plan(false, &job(1, &[step("a")]));
        scripted.before = Some(Box::new(move |call| {
            let refuse = call.name().ends_with("LogEntry") && call.body["key"] == "step.docker.a";
            refuse.then(|| (code, body).into_response())
        }));
        let go = CancellationToken::new();
        let acts = vec![Act::Out("begun\n"), Act::Await(go.clone()), Act::Out("ended\n")];
        let harness = Harness::start(scripted, vec![acts]);
        eventually("the call", || {
            let adds = harness.plane.plan().named("addExecutionLogEntry");
            adds.iter().any(|call| call.body["key"] == "step.docker.a").then_some(())
        })
        .await;
        go.cancel();
        assert_eq!(harness.marked().await.0, "markComplete");
        let adds = harness.plane.plan().named("addExecutionLogEntry");
        let of_step = adds.iter().filter(|call| call.body["key"] == "step.docker.a").count();
        assert_eq!(of_step, 1, "it is final for the entry");
        assert!(harness.plane.plan().entry("teardown.fs").is_some(), "and for no other");
        harness.end().await;
    }
}

/// What proxies, firewalls and sign-in pages say in the control plane's place.
#[tokio::test]
async fn a_log_that_others_answer_for_loses_nothing() {
    for ours in [true, false] {
        for answer in STRANGE {
            let mut scripted = plan(ours, &job(1, &[step("a")]));
            let mut left =
                [("addExecutionLogEntry", 1), ("appendExecutionLog", 2), ("updateExecutionLogEntry", 2)];
            scripted.before = Some(Box::new(move |call| {
                let of_step = call.body["key"] == "step.docker.a" || call.name() == "appendExecutionLog";
                let (_, left) = left.iter_mut().find(|(name, _)| *name == call.name())?;
                (of_step && *left > 0).then(|| {
                    *left -= 1;
                    answer()
                })
            }));
            let go = CancellationToken::new();
            let acts = vec![Act::Out("begun\n"), Act::Await(go.clone()), Act::Out("ended\n")];
            let harness = Harness::start(scripted, vec![acts]);
            eventually("the entry", || harness.plane.plan().entry("step.docker.a")).await;
            go.cancel();
            assert_eq!(harness.marked().await.0, "markComplete");
            let entry = harness.plane.plan().entry("step.docker.a").unwrap();
            assert_eq!((entry.out.as_str(), entry.exit_code), ("stdout: begun\nstdout: ended\n", Some(0)));
            let puts = harness.plane.plan().named("updateExecutionLogEntry").len();
            assert!(!ours || puts == 0, "{puts} puts: appending was given up");
            harness.end().await;
        }
    }
}

#[tokio::test]
async fn a_control_plane_that_forgot_how_to_append_gets_whole_texts() {
    let mut scripted = plan(true, &job(1, &[step("a")]));
    scripted.before = Some(Box::new(|call| {
        (call.name() == "appendExecutionLog").then(|| StatusCode::NOT_FOUND.into_response())
    }));
    let go = CancellationToken::new();
    let harness = Harness::start(scripted, vec![vec![Act::Await(go.clone()), Act::Out("x\n")]]);
    eventually("the entry", || harness.plane.plan().entry("step.docker.a")).await;
    go.cancel();
    harness.marked().await;
    assert_eq!(harness.plane.plan().entry("step.docker.a").unwrap().out, "stdout: x\n");
    harness.end().await;
}
