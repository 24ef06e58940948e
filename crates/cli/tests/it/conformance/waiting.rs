//! An instance that takes its time. No call waits for another one, and no job for a call about it.

use super::bench::Bench;
use super::gate::Gate;
use crate::support::{SOON, wait};
use serde_json::json;
use testkit::stock_server::{Fault, Hold, State, StockJob};

#[test]
fn a_job_does_not_wait_for_its_log() {
    let Some(mut bench) = Bench::new("a_job_does_not_wait_for_its_log") else { return };
    let (gate, hold) = (Gate::new(), Hold::default());
    bench.server.fault("addExecutionLogEntry", [Fault::Held(hold.clone())]);
    bench.server.give(StockJob::new("batches", 1).step("a", &["echo begun"]).step("b", &[&gate.script()]));
    bench.start();
    gate.reached();
    assert_eq!(bench.server.named("addExecutionLogEntry").len(), 1, "the others wait for the first");
    hold.release();
    bench.logged(1, "step.docker.a", "stdout: begun\n");
    gate.open();
    bench.completed(1);
    bench.end();
}

#[test]
fn a_job_does_not_wait_for_a_heartbeat() {
    let Some(mut bench) = Bench::new("a_job_does_not_wait_for_a_heartbeat") else { return };
    let hold = Hold::default();
    bench.server.fault("heartbeat", [Fault::Held(hold.clone())]);
    bench.server.give(StockJob::new("batches", 1).step("a", &["true"]));
    bench.start();
    bench.completed(1);
    assert_eq!(bench.server.named("heartbeat").len(), 1);
    hold.release();
    bench.end();
}

#[test]
fn heartbeats_do_not_wait_for_a_dequeue() {
    let Some(mut bench) = Bench::new("heartbeats_do_not_wait_for_a_dequeue") else { return };
    let hold = Hold::default();
    bench.server.fault("dequeue", [Fault::Held(hold.clone())]);
    bench.server.give(StockJob::new("batches", 1).step("a", &["true"]));
    bench.start();
    let beats = bench.heard("heartbeat", 2);
    assert!(beats.iter().all(|beat| beat.json()["jobIds"] == json!(null)), "nobody knows of the job yet");
    assert_eq!(bench.server.named("dequeue").len(), 1, "one at a time");
    hold.release();
    bench.completed(1);
    bench.end();
}

#[test]
fn a_job_keeps_its_place_until_its_end_is_told() {
    let Some(mut bench) = Bench::new("a_job_keeps_its_place_until_its_end_is_told") else { return };
    let hold = Hold::default();
    bench.server.fault("markComplete", [Fault::Held(hold.clone())]);
    bench.server.keep_file("batch-changes/a", b"a");
    for id in [1, 2] {
        bench.server.give(StockJob::new("batches", id).step("a", &["true"]));
    }
    bench.start();
    assert_eq!(bench.ended("batches", 1).state, State::Completed);
    // The executor can't know yet, and its heartbeat says so.
    wait(SOON, "a heartbeat of a job that has ended", || {
        let beats = bench.server.named("heartbeat");
        beats.iter().any(|beat| beat.json()["jobIds"] == json!([1])).then_some(())
    });
    assert!(bench.server.record("batches", 2).is_none());
    hold.release();
    bench.completed(2);
    assert_eq!(bench.server.named("markComplete").len(), 2);
    bench.end();
}
