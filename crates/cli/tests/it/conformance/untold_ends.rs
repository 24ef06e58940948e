//! A job has ended, its end can't be told yet, and the process that would tell it is killed.

use super::bench::Bench;
use super::gate::Gate;
use crate::adoption::kill;
use crate::support::{SOON, files_below, wait};
use testkit::stock_server::{Answer, Fault, StockJob};

/// More than an executor tries in the time of a test.
const MANY: usize = 10_000;
/// More than is kept in memory.
const LINES: usize = 5_000;

/// A job whose log and whose end the instance does not take yet; gives its supervisor once that has kept the end.
fn untold(bench: &mut Bench) -> u32 {
    let gate = Gate::new();
    let count = format!("i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line $i; done");
    let step = ["{ set +x; } 2>/dev/null", &gate.script(), &count];
    bench.server.give(StockJob::new("batches", 1).step("a", &step));
    bench.start();
    gate.reached();
    // Entries that were opened can be put as often as one likes.
    bench.heard("addExecutionLogEntry", 2);
    let unavailable = || std::iter::repeat_n(Fault::Instead(Answer::status(503)), MANY);
    bench.server.fault("updateExecutionLogEntry", unavailable());
    bench.server.fault("markComplete", unavailable());
    gate.open();
    let kept = |name: &'static str| {
        let jobs = bench.dir.path().join("agent-data/agent/jobs");
        files_below(&jobs, &|path| path.ends_with(name)).first().cloned()
    };
    // The last one is opened, so that it is not opened twice, after the end was kept.
    wait(SOON, "the end to be kept", || kept("end"));
    bench.heard("addExecutionLogEntry", 3);
    bench.supervisor()
}

/// It is completed once, with all of its log.
fn is_told_whole(mut bench: Bench) {
    bench.server.mend("updateExecutionLogEntry");
    bench.server.mend("markComplete");
    let record = bench.completed(1);
    let entry = record.entry("step.docker.a").unwrap();
    let lines: Vec<String> = (1..=LINES).map(|n| format!("stdout: line {n}")).collect();
    assert!(entry.out.lines().eq(lines.iter().map(String::as_str)), "{} bytes", entry.out.len());
    assert_eq!(entry.exit_code, Some(0));
    assert_eq!(record.entry("teardown.fs").unwrap().exit_code, Some(0));
    assert_eq!(bench.server.named("markErrored").len(), 0, "it was not handed back");
    bench.agent_stops();
    bench.check();
}

#[test]
fn an_end_whose_supervisor_is_killed_is_told_by_its_agent() {
    let Some(mut bench) = Bench::new("an_end_whose_supervisor_is_killed_is_told_by_its_agent") else {
        return;
    };
    kill(untold(&mut bench));
    is_told_whole(bench);
}

#[test]
fn an_end_whose_supervisor_and_agent_are_killed_is_told_by_the_next_agent() {
    let test = "an_end_whose_supervisor_and_agent_are_killed_is_told_by_the_next_agent";
    let Some(mut bench) = Bench::new(test) else { return };
    let supervisor = untold(&mut bench);
    bench.agent().kill();
    kill(supervisor);
    let before = bench.server.named("heartbeat").len();
    bench.start();
    // Until the end is told, the job is kept.
    let beats = bench.heard("heartbeat", before + 1);
    let named = beats[before..].iter().filter(|beat| beat.json()["jobIds"] == serde_json::json!([1]));
    assert!(named.count() >= 1, "{:?}", beats.last().map(testkit::stock_server::Request::text));
    is_told_whole(bench);
}
