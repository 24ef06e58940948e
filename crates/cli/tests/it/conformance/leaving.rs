//! The ways in which an executor comes to its end.

use super::bench::Bench;
use super::gate::Gate;
use crate::support::{SOON, wait};
use serde_json::json;
use std::time::Instant;
use testkit::stock_server::{State, StockJob};

#[test]
fn the_first_signal_lets_jobs_end_under_heartbeats() {
    let Some(mut bench) = Bench::new("the_first_signal_lets_jobs_end_under_heartbeats") else { return };
    let gate = Gate::new();
    bench.server.give(StockJob::new("batches", 1).step("a", &[&gate.script(), "echo to-its-end"]));
    bench.start();
    gate.reached();
    bench.agent().signal("TERM");
    bench.agent().wait_for_line("draining: ");
    let drained = Instant::now();
    bench.server.give(StockJob::new("batches", 2).step("", &["true"]));
    wait(SOON, "a heartbeat while it drains", || {
        let beats = bench.server.named("heartbeat");
        beats.iter().any(|beat| beat.at > drained && beat.json()["jobIds"] == json!([1])).then_some(())
    });
    gate.open();
    let record = bench.completed(1);
    assert!(record.entry("step.docker.a").unwrap().out.contains("stdout: to-its-end\n"), "{record:#?}");
    assert!(bench.server.record("batches", 2).is_none(), "nothing new is taken");
    bench.left();
}

/// A deliberate difference: a stock executor leaves its jobs behind.
#[test]
fn the_second_signal_ends_jobs_and_tells_so() {
    let Some(mut bench) = Bench::new("the_second_signal_ends_jobs_and_tells_so") else { return };
    let gate = Gate::new();
    bench.server.give(StockJob::new("batches", 1).step("a", &[&gate.script()]));
    bench.start();
    gate.reached();
    for (signal, told) in [("HUP", "draining: "), ("INT", "stopping: ")] {
        bench.agent().signal(signal);
        bench.agent().wait_for_line(told);
    }
    let record = bench.ended("batches", 1);
    assert_eq!(record.state, State::Errored);
    assert!(record.message.as_ref().unwrap().contains("the executor was stopped"), "{:?}", record.message);
    assert_eq!(record.keys(), ["setup.fs.extras", "step.docker.a", "teardown.fs"]);
    bench.left();
}

#[test]
fn it_leaves_after_as_many_jobs_as_it_was_told() {
    let Some(mut bench) = Bench::new("it_leaves_after_as_many_jobs_as_it_was_told") else { return };
    for id in 1..=3 {
        bench.server.give(StockJob::new("batches", id).step("", &["true"]));
    }
    bench.start_with(&[("EXECUTOR_QUEUE_NAME", "batches"), ("EXECUTOR_NUM_TOTAL_JOBS", "2")]);
    assert!(bench.agent().wait_exit().success());
    for id in [1, 2] {
        bench.completed(id);
    }
    assert!(bench.server.record("batches", 3).is_none());
    bench.check();
}

#[test]
fn it_takes_no_more_jobs_after_its_active_time() {
    let Some(mut bench) = Bench::new("it_takes_no_more_jobs_after_its_active_time") else { return };
    let gate = Gate::new();
    bench.server.give(StockJob::new("batches", 1).step("a", &[&gate.script()]));
    bench.start_with(&[("EXECUTOR_QUEUE_NAME", "batches"), ("EXECUTOR_MAX_ACTIVE_TIME", "1s500ms")]);
    gate.reached();
    bench.server.give(StockJob::new("batches", 2).step("", &["true"]));
    wait(SOON, "the end of its active time", || bench.log().contains("active time is over").then_some(()));
    gate.open();
    assert!(bench.agent().wait_exit().success());
    bench.completed(1);
    assert!(bench.server.record("batches", 2).is_none());
    bench.check();
}

#[test]
fn a_job_that_takes_too_long_is_stopped_and_marked_as_errored() {
    let Some(mut bench) = Bench::new("a_job_that_takes_too_long_is_stopped_and_marked_as_errored") else {
        return;
    };
    bench.server.give(StockJob::new("batches", 1).step("a", &["echo begun; sleep 600"]));
    // It counts from when the job was taken, and a busy host needs some of it to get to the step.
    bench.start_with(&[("EXECUTOR_QUEUE_NAME", "batches"), ("EXECUTOR_MAXIMUM_RUNTIME_PER_JOB", "10s")]);
    let record = bench.ended("batches", 1);
    assert_eq!(record.state, State::Errored);
    let message = record.message.clone().unwrap();
    assert!(message.starts_with("job exceeded maximum execution time of 10s: "), "{message}");
    let step = record.entry("step.docker.a").unwrap();
    assert!(
        step.out.contains("stdout: begun\n") && step.exit_code.is_some_and(|code| code != 0),
        "{step:#?}"
    );
    bench.end();
}
