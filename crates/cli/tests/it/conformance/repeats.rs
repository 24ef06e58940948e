//! The same job more than once.

use super::bench::Bench;
use super::gate::Gate;
use crate::support::{SOON, wait};
use serde_json::json;
use testkit::stock_server::{State, StockJob};

/// The instance had not heard of the job for too long, put it back and gave it to the same executor again. A
/// deliberate difference: a stock executor does not run the second copy and does not report it either, so the job
/// ends as the first copy does, whose token is dead.
#[test]
fn a_job_that_is_handed_out_again_begins_anew_under_its_new_token() {
    let Some(mut bench) = Bench::new("a_job_that_is_handed_out_again_begins_anew_under_its_new_token") else {
        return;
    };
    let (first, second) = (Gate::new(), Gate::new());
    let job = |token: &str, gate: &Gate| {
        let commands = [&*format!("echo under {}", token.len()), &gate.script(), "echo to-its-end"];
        StockJob::new("batches", 1).token(token).step("a", &commands)
    };
    bench.server.give(job("first", &first));
    bench.start_with(&[("EXECUTOR_QUEUE_NAME", "batches"), ("EXECUTOR_MAXIMUM_NUM_JOBS", "2")]);
    first.reached();
    bench.server.give(job("the-second", &second));
    second.reached();
    assert!(!first.is_reached(), "the two never run beside each other");
    assert_eq!(bench.server.named("markComplete").len() + bench.server.named("markErrored").len(), 0);
    second.open();
    let record = bench.completed(1);
    let out = &record.entry("step.docker.a").unwrap().out;
    assert!(out.contains("stdout: under 10\n") && out.contains("stdout: to-its-end\n"), "{out}");
    let marks = bench.heard("markComplete", 1);
    assert_eq!((marks.len(), marks[0].header("authorization")), (1, Some("Bearer the-second")));
    bench.end();
}

/// Ids are unique only within their queue.
#[test]
fn the_same_number_in_two_queues_is_two_jobs() {
    let Some(mut bench) = Bench::new("the_same_number_in_two_queues_is_two_jobs") else { return };
    let gates = [Gate::new(), Gate::new()];
    for (queue, gate) in ["batches", "codeintel"].into_iter().zip(&gates) {
        bench.server.give(StockJob::new(queue, 3).token(queue).step("a", &[&gate.script()]));
    }
    bench.start_with(&[("EXECUTOR_QUEUE_NAMES", "batches,codeintel"), ("EXECUTOR_MAXIMUM_NUM_JOBS", "2")]);
    gates.iter().for_each(Gate::reached);
    bench.server.cancel("codeintel", 3);
    assert_eq!(bench.ended("codeintel", 3).state, State::Canceled);
    assert!(gates[0].is_reached(), "the other goes on");
    gates[0].open();
    bench.completed(3);
    let beats = bench.server.named("heartbeat");
    let both =
        beats.iter().any(|beat| beat.json()["jobIdsByQueue"].as_array().is_some_and(|all| all.len() == 2));
    assert!(both, "{beats:#?}");
    bench.end();
}

/// A log call says so long before the next heartbeat does.
#[test]
fn a_job_that_was_given_to_another_executor_is_dropped_without_a_final_call() {
    let name = "a_job_that_was_given_to_another_executor_is_dropped_without_a_final_call";
    let Some(mut bench) = Bench::new(name) else { return };
    let gate = Gate::new();
    bench.server.give(
        StockJob::new("batches", 1).step("a", &["(while :; do echo more; sleep 1; done) &", &gate.script()]),
    );
    bench.start();
    gate.reached();
    bench.server.give_away("batches", 1);
    wait(SOON, "the step's end", || (!gate.is_reached()).then_some(()));
    bench.server.give(StockJob::new("batches", 2).step("", &["true"]));
    bench.completed(2);
    let record = bench.server.record("batches", 1).unwrap();
    assert_eq!((record.state, record.message), (State::Processing, None));
    let marks = ["markComplete", "markErrored", "markFailed"].map(|call| bench.server.named(call));
    assert!(marks.iter().flatten().all(|mark| mark.json()["jobId"] != json!(1)), "{marks:#?}");
    bench.end();
}
