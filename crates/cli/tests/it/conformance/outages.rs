//! An instance that is gone for a while, with its port and every connection.

use super::bench::Bench;
use super::gate::Gate;
use crate::support::wait;
use std::time::{Duration, Instant};
use testkit::stock_server::{Record, StockJob};

/// How long the instance is gone: several of the pauses between two tries.
const GONE: Duration = Duration::from_secs(3);

/// Numbered lines, as long as the gate is closed and then a few more.
fn script(gate: &Gate) -> String {
    format!(
        "{{ set +x; }} 2>/dev/null; (while :; do i=$((i+1)); echo line $i; usleep 20000; done) & {}; kill $!; wait; echo end",
        gate.script()
    )
}

/// Nothing is missing from the step's lines, and nothing is doubled.
fn check(record: &Record) {
    assert_eq!(record.keys(), ["setup.fs.extras", "step.docker.a", "teardown.fs"]);
    let entry = record.entry("step.docker.a").unwrap();
    let lines: Vec<&str> = entry.out.lines().collect();
    let (last, counted) = lines.split_last().unwrap();
    assert_eq!(*last, "stdout: end");
    for (n, line) in counted.iter().enumerate() {
        assert_eq!(*line, format!("stdout: line {}", n + 1));
    }
    let seconds = entry.duration_ms.unwrap() as usize / 1000;
    assert!(counted.len() > 10 * seconds, "it printed all the time: {} lines in {seconds} s", counted.len());
}

#[test]
fn a_job_goes_on_while_the_instance_is_gone() {
    let Some(mut bench) = Bench::new("a_job_goes_on_while_the_instance_is_gone") else { return };
    let gate = Gate::new();
    bench.server.give(StockJob::new("batches", 1).step("a", &[&script(&gate)]));
    bench.start();
    bench.logged(1, "step.docker.a", "stdout: line 20\n");
    bench.server.go_away();
    let went = Instant::now();
    wait(GONE * 2, "the instance to be gone long enough", || (went.elapsed() > GONE).then_some(()));
    bench.server.come_back();
    gate.open();
    check(&bench.completed(1));
    bench.end();
}

#[test]
fn a_job_that_ended_while_the_instance_was_gone_is_told_later() {
    let Some(mut bench) = Bench::new("a_job_that_ended_while_the_instance_was_gone_is_told_later") else {
        return;
    };
    let gate = Gate::new();
    bench.server.give(StockJob::new("batches", 1).step("a", &[&script(&gate)]));
    bench.server.give(StockJob::new("batches", 2).step("", &["true"]));
    bench.start();
    bench.logged(1, "step.docker.a", "stdout: line 20\n");
    bench.server.go_away();
    gate.open();
    wait(GONE * 4, "the sandbox's end", || bench.log().contains("stage=\"sandbox closed\"").then_some(()));
    bench.server.come_back();
    check(&bench.completed(1));
    bench.completed(2);
    assert_eq!(bench.server.named("markComplete").len(), 2);
    bench.end();
}

#[test]
fn an_executor_waits_for_its_instance() {
    let Some(mut bench) = Bench::new("an_executor_waits_for_its_instance") else { return };
    bench.server.go_away();
    bench.server.give(StockJob::new("batches", 1).step("", &["true"]));
    bench.start();
    wait(GONE * 4, "a ping that fails", || bench.log().contains("can't be reached yet").then_some(()));
    bench.server.come_back();
    bench.completed(1);
    bench.end();
}

#[test]
fn an_executor_that_waits_for_its_instance_leaves_with_1_when_it_is_told_to() {
    let name = "an_executor_that_waits_for_its_instance_leaves_with_1_when_it_is_told_to";
    let Some(mut bench) = Bench::new(name) else { return };
    bench.server.go_away();
    bench.start();
    bench.agent().signal("TERM");
    assert_eq!(bench.agent().wait_exit().code(), Some(1));
    bench.check();
}
