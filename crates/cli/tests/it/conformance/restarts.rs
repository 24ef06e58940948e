//! An executor that is killed while a job runs, in front of an instance that knows nothing of leases.

use super::bench::Bench;
use super::gate::Gate;
use crate::adoption::kill;
use crate::leftovers::nothing_is_left;
use crate::support::wait;
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::stock_server::{State, StockJob};

#[test]
fn an_executor_that_is_started_again_goes_on_with_its_job() {
    let Some(mut bench) = Bench::new("an_executor_that_is_started_again_goes_on_with_its_job") else {
        return;
    };
    let gate = Gate::new();
    bench.server.give(StockJob::new("batches", 1).step("a", &["echo begun", &gate.script(), "echo went-on"]));
    bench.start();
    gate.reached();
    let first = bench.heard("dequeue", 1)[0].json()["executorName"].clone();
    bench.agent().kill();
    let before = bench.server.named("heartbeat").len();
    bench.start();
    // Its name is the same, and so its first word of what runs keeps the job.
    let beats = bench.heard("heartbeat", before + 2);
    let told = beats[before..].iter().find(|beat| beat.json()["jobIds"] == json!([1]));
    let told = told.expect("its first heartbeats name the job").json();
    assert_eq!(told["executorName"], first);
    gate.open();
    let record = bench.completed(1);
    let step = record.entry("step.docker.a").unwrap();
    assert!(step.out.contains("stdout: begun\n") && step.out.contains("stdout: went-on\n"), "{step:?}");
    assert_eq!(bench.server.named("markComplete").len(), 1);
    bench.end();
}

/// An instance knows nothing of processes of ours: it is told what became of its job, in the documented way.
#[test]
fn a_job_whose_process_is_killed_is_errored_at_once() {
    let Some(mut bench) = Bench::new("a_job_whose_process_is_killed_is_errored_at_once") else { return };
    let gate = Gate::new();
    bench.server.give(StockJob::new("batches", 1).step("a", &["echo begun", &gate.script()]));
    bench.start();
    gate.reached();
    bench.logged(1, "step.docker.a", "stdout: begun\n");
    let supervisor = bench.supervisor();
    let killed = Instant::now();
    kill(supervisor);
    let record = bench.ended("batches", 1);
    let took = killed.elapsed();
    assert_eq!(record.state, State::Errored, "{record:#?}");
    assert_eq!(record.message.as_deref(), Some("the process that ran the job was killed on its executor"));
    assert!(took < Duration::from_secs(20), "{took:?}, but such an instance waits for 25 s itself");
    assert!(!gate.is_reached(), "the step was ended before that was told");
    assert!(record.entry("step.docker.a").unwrap().out.contains("stdout: begun\n"), "{record:#?}");
    // Its place is free, and nobody says more of it.
    bench.server.give(StockJob::new("batches", 2).step("b", &["echo next"]));
    bench.completed(2);
    assert_eq!(bench.server.named("markErrored").len(), 1);
    assert_eq!(bench.server.named("markFailed").len(), 0);
    bench.end();
}

/// Such an instance gives a job away after 25 s without a heartbeat.
#[test]
fn a_job_that_is_left_alone_ends_before_it_is_given_away() {
    let Some(mut bench) = Bench::new("a_job_that_is_left_alone_ends_before_it_is_given_away") else { return };
    let gate = Gate::new();
    bench.server.give(StockJob::new("batches", 1).step("a", &[&gate.script()]));
    bench.start();
    gate.reached();
    bench.heard("heartbeat", 2);
    bench.agent().kill();
    wait(Duration::from_secs(30), "the end of the step", || (!gate.is_reached()).then_some(()));
    let gone = Instant::now();
    // The instance counts from the last one it heard, even if the agent never knew that it was answered.
    let since = gone.duration_since(bench.server.named("heartbeat").last().unwrap().at);
    assert!(since < Duration::from_secs(25), "it is given away by now: {since:?}");
    assert!(since > Duration::from_secs(10), "an agent that returns in time finds the job: {since:?}");
    nothing_is_left(bench.dir.path());
    let record = bench.server.record("batches", 1).unwrap();
    assert_eq!((record.state, record.message), (State::Processing, None), "nothing is said of its end");
}
