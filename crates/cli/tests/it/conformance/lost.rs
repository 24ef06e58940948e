//! Answers that get lost: the instance has done what it was asked, and the executor can't know.

use super::bench::Bench;
use super::gate::Gate;
use super::repository::{NAME, Repository};
use serde_json::json;
use testkit::stock_server::{Fault, State, StockJob};

/// What a step prints: numbered lines for a while.
const COUNT: &str =
    "{ set +x; } 2>/dev/null; i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; usleep 50000; done";

fn counted() -> String {
    numbered("stdout: line ", 60)
}

fn numbered(before: &str, count: usize) -> String {
    (1..=count).flat_map(|n| [before.to_owned(), n.to_string(), "\n".to_owned()]).collect()
}

/// Replacing an entry as a whole can be repeated.
#[test]
fn a_lost_update_doubles_nothing() {
    let Some(mut bench) = Bench::new("a_lost_update_doubles_nothing") else { return };
    bench.server.fault(
        "updateExecutionLogEntry",
        [Fault::ServedReset, Fault::Reset, Fault::ServedCut, Fault::None, Fault::ServedReset],
    );
    bench.server.give(StockJob::new("batches", 1).step("a", &[COUNT]));
    bench.start();
    let record = bench.completed(1);
    assert_eq!(record.keys(), ["setup.fs.extras", "step.docker.a", "teardown.fs"]);
    let entry = record.entry("step.docker.a").unwrap();
    assert_eq!((entry.out.as_str(), entry.exit_code), (counted().as_str(), Some(0)));
    assert_eq!(bench.server.faults_left("updateExecutionLogEntry"), 0);
    bench.end();
}

/// Opening an entry can't be repeated on a stock instance: it then has two, of the same key and start. The first
/// stays as it was opened; everything goes to the second.
#[test]
fn a_lost_opening_leaves_an_entry_without_an_end_and_loses_no_text() {
    let Some(mut bench) = Bench::new("a_lost_opening_leaves_an_entry_without_an_end_and_loses_no_text")
    else {
        return;
    };
    // That of the step: the one before it is opened in good order.
    bench.server.fault("addExecutionLogEntry", [Fault::None, Fault::ServedCut]);
    let gate = Gate::new();
    bench
        .server
        .give(StockJob::new("batches", 1).step("a", &["{ set +x; } 2>/dev/null", &gate.script(), COUNT]));
    bench.start();
    gate.open();
    let record = bench.completed(1);
    assert_eq!(record.keys(), ["setup.fs.extras", "step.docker.a", "step.docker.a", "teardown.fs"]);
    let [_, first, second, _] = &record.entries[..] else { unreachable!("there are four") };
    assert_eq!(first.start_time, second.start_time);
    assert_eq!((first.updates, first.exit_code), (0, None));
    assert!(second.out.starts_with(&first.out) && second.exit_code == Some(0), "{second:#?}");
    assert_eq!(second.out, counted());
    bench.end();
}

/// The second time the job is not the executor's any more: its token has died with its end.
#[test]
fn a_lost_final_call_ends_a_job_once() {
    let Some(mut bench) = Bench::new("a_lost_final_call_ends_a_job_once") else { return };
    bench.server.fault("markComplete", [Fault::Reset, Fault::ServedReset]);
    bench.server.fault("markErrored", [Fault::ServedCut]);
    bench.server.give(StockJob::new("batches", 1).step("", &["true"]));
    bench.server.give(StockJob::new("batches", 2).step("", &["false"]));
    bench.server.give(StockJob::new("batches", 3).step("", &["true"]));
    bench.start();
    bench.completed(3);
    assert_eq!(bench.server.record("batches", 1).unwrap().state, State::Completed);
    assert_eq!(bench.server.record("batches", 2).unwrap().state, State::Errored);
    let count = |call| bench.server.named(call).len();
    assert_eq!((count("markComplete"), count("markErrored"), count("markFailed")), (4, 2, 0));
    bench.end();
}

#[test]
fn a_file_that_was_cut_is_downloaded_whole() {
    let Some(mut bench) = Bench::new("a_file_that_was_cut_is_downloaded_whole") else { return };
    bench.server.keep_file("batch-changes/a/b", numbered("", 50_000).as_bytes());
    bench.server.fault("file", [Fault::ServedCut, Fault::Reset, Fault::ServedCut]);
    let job = StockJob::new("batches", 1).stored_file("x", "batch-changes", "a/b", "0001-01-01T00:00:00Z");
    bench
        .server
        .give(job.step("a", &["{ set +x; } 2>/dev/null; tail -n 1 x; wc -l < x; sort -n -u x | wc -l"]));
    bench.start();
    let record = bench.completed(1);
    assert_eq!(record.entry("step.docker.a").unwrap().out, "stdout: 50000\n".repeat(3));
    bench.end();
}

#[test]
fn refs_that_got_lost_are_asked_for_again() {
    let Some(mut bench) = Bench::new("refs_that_got_lost_are_asked_for_again") else { return };
    let repository = Repository::served_by(&bench);
    bench.server.fault("info/refs", [Fault::Reset, Fault::ServedReset]);
    let job = StockJob::new("batches", 1).set("repositoryName", json!(NAME));
    bench.server.give(
        job.set("commit", json!(repository.commits[0]))
            .step("a", &["{ set +x; } 2>/dev/null", "cat src/main.txt"]),
    );
    bench.start();
    let record = bench.completed(1);
    assert_eq!(record.entry("step.docker.a").unwrap().out, "stdout: one\n");
    assert_eq!(bench.server.named("info/refs").len(), 3);
    bench.end();
}
