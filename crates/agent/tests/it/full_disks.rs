//! A disk without room.

use crate::support::{Act, Harness, Plan, Told, eventually, job, step};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use runtimes::Stream;
use serde_json::{Value, json};
use testkit::SmallDisk;
use tokio_util::sync::CancellationToken;

const SIZE: u64 = 64 << 20;

fn plan(payloads: &[Value]) -> Plan {
    Plan { jobs: payloads.iter().map(Value::to_string).collect(), ..Plan::default() }
}

async fn beats(harness: &Harness, more: usize) {
    let count = || harness.plane.plan().named("heartbeat").len();
    let before = count();
    eventually("heartbeats", || (count() >= before + more).then_some(())).await;
}

#[tokio::test]
async fn no_job_is_asked_for_below_the_floor_and_those_that_run_go_on() {
    let Some(disk) = SmallDisk::mount("no_job_is_asked_for_below_the_floor_and_those_that_run_go_on", SIZE)
    else {
        return;
    };
    let told = Told::all();
    let here = disk.path().to_str().unwrap().to_owned();
    let said =
        |words: &str| told.lines().iter().filter(|line| line.contains(&here) && line.contains(words)).count();
    let go = CancellationToken::new();
    let harness =
        Harness::start_with(plan(&[job(1, &[step("a")])]), vec![vec![Act::Await(go.clone())]], |config| {
            config.work_dir = disk.path().join("work");
            config.disk_floor = Some(SIZE / 2);
            config.max_jobs = 2;
        });
    eventually("the job", || (!harness.runtime.opened().is_empty()).then_some(())).await;
    disk.fill(0);
    eventually("a word on it", || (said("no jobs are taken") > 0).then_some(())).await;
    let dequeues = harness.plane.plan().named("dequeue").len();
    harness.plane.plan().jobs.push_back(job(2, &[step("a")]).to_string());
    go.cancel();
    assert_eq!(harness.marked().await.0, "markComplete");
    beats(&harness, 5).await;
    assert_eq!(harness.plane.plan().named("dequeue").len(), dequeues, "it asks for jobs");

    disk.make_room();
    eventually("the second job's end", || (harness.plane.plan().marks().len() == 2).then_some(())).await;
    assert_eq!((said("no jobs are taken"), said("jobs are taken again")), (1, 1), "{:?}", told.lines());
    assert_eq!(harness.end().await.completed, 2);
}

#[tokio::test]
async fn the_floor_holds_on_disks_that_only_the_runtime_uses() {
    let test = "the_floor_holds_on_disks_that_only_the_runtime_uses";
    let Some(disk) = SmallDisk::mount(test, SIZE) else { return };
    let told = Told::all();
    let here = disk.path().to_str().unwrap().to_owned();
    let harness = Harness::start_with(plan(&[]), Vec::new(), |config| config.disk_floor = Some(SIZE / 2));
    *harness.runtime.fills.lock().unwrap() = vec!["/nowhere".into(), disk.path()];
    disk.fill(0);
    let is_full = |line: &&String| line.contains(&here) && line.contains("no jobs are taken");
    eventually("a word on it", || told.lines().iter().find(is_full).map(|_| ())).await;
    let dequeues = || harness.plane.plan().named("dequeue").len();
    let before = dequeues();
    harness.plane.plan().jobs.push_back(job(1, &[step("a")]).to_string());
    beats(&harness, 5).await;
    assert_eq!(dequeues(), before, "it asks for jobs");
    disk.make_room();
    assert_eq!(harness.marked().await.0, "markComplete");
    harness.end().await;
}

#[tokio::test]
async fn a_disk_that_fills_up_costs_a_running_job_log_text_and_nothing_else() {
    let test = "a_disk_that_fills_up_costs_a_running_job_log_text_and_nothing_else";
    let Some(disk) = SmallDisk::mount(test, SIZE) else { return };
    let (first, second) = <(CancellationToken, CancellationToken)>::default();
    let lines: String =
        (0..50_000).flat_map(|n| ["line ".to_owned(), n.to_string(), "\n".to_owned()]).collect();
    let acts = vec![
        Act::Await(first.clone()),
        Act::Bytes(Stream::Stdout, lines.clone().into_bytes()),
        Act::Await(second.clone()),
        Act::Out("the end\n"),
    ];
    let harness = Harness::start_with(plan(&[job(1, &[step("a")])]), vec![acts], |config| {
        config.work_dir = disk.path().join("work");
    });
    eventually("the step's entry", || harness.plane.plan().entry("step.docker.a")).await;
    disk.fill(0);
    first.cancel();
    beats(&harness, 5).await;
    second.cancel();
    assert_eq!(harness.marked().await.0, "markComplete");
    let out = harness.plane.plan().entry("step.docker.a").unwrap().out;
    let (head, rest) = out.split_once("[executor: ").unwrap();
    let (gap, tail) = rest.split_once('\n').unwrap();
    assert!(
        gap.ends_with("left out here; they could not be stored: No space left on device (os error 28)]"),
        "{gap}"
    );
    let whole = lines.replace("line", "stdout: line");
    assert!(whole.starts_with(head), "{head}");
    assert!(tail.ends_with("stdout: line 49999\nstdout: the end\n"), "{tail}");
    harness.end().await;
}

/// Whose disk a workspace is on.
#[derive(PartialEq)]
enum Whose {
    Jobs,
    /// The one that the agent itself uses.
    Agents,
    /// One that the runtime makes all workspaces on.
    Runtimes,
}

/// The end of a job whose workspace has no room for its file.
async fn end_of_large_file(disk: &SmallDisk, whose: &Whose) -> Value {
    let mut payload = job(1, &[step("a")]);
    payload["files"] = json!({"large": {"content": STANDARD.encode(vec![7; 1 << 20])}});
    let harness = Harness::start_in(&disk.path(), plan(&[]), Vec::new(), |config| {
        config.limits.disk = Some(SIZE);
        if *whose == Whose::Agents {
            config.work_dir = disk.path().join("work");
        }
        std::fs::create_dir_all(&config.work_dir).unwrap();
        // Enough for the workspace itself.
        disk.fill(64 << 10);
    });
    if *whose == Whose::Runtimes {
        *harness.runtime.fills.lock().unwrap() = vec!["/nowhere".into(), disk.path()];
    }
    harness.plane.plan().jobs.push_back(payload.to_string());
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markErrored", "{body}");
    assert!(body["errorMessage"].as_str().unwrap().contains("No space left on device"), "{body}");
    harness.end().await;
    body["end"].clone()
}

#[tokio::test]
async fn a_workspace_without_room_is_the_jobs_fault_only_on_a_disk_of_its_own() {
    let test = "a_workspace_without_room_is_the_jobs_fault_only_on_a_disk_of_its_own";
    let Some(disk) = SmallDisk::mount(test, SIZE) else { return };
    assert_eq!(end_of_large_file(&disk, &Whose::Jobs).await, json!({"reason": "disk_full", "limit": SIZE}));
    disk.make_room();
    for (whose, path) in [(Whose::Agents, disk.path().join("work")), (Whose::Runtimes, disk.path())] {
        let hosts = end_of_large_file(&disk, &whose).await;
        assert_eq!((&hosts["reason"], &hosts["path"]), (&json!("host_disk_full"), &json!(path)));
        assert!(hosts["observed"].as_u64().unwrap() < 1 << 20, "{hosts}");
        disk.make_room();
    }
}
