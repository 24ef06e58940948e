//! How a step of a batch job says which step comes next.

use super::bench::Bench;
use testkit::stock_server::{Record, State, StockJob};

/// Six steps of two workspaces' worth, of which the first runs `first`.
fn job(id: i64, first: &str) -> StockJob {
    let job = StockJob::new("batches", id).step("step.0.pre", &[first]);
    let keys = ["step.0.run", "step.0.post", "step.1.pre", "step.1.run", "step.1.post"];
    keys.into_iter().fold(job, |job, key| job.step(key, &["ls /data"]))
}

fn skip_to(next: &str) -> String {
    format!("echo '{{\"nextStep\":\"{next}\"}}' > skip.json")
}

/// The keys of the steps that ran, without what all of them begin with.
fn steps(record: &Record) -> Vec<&str> {
    record.keys().into_iter().filter_map(|key| key.strip_prefix("step.docker.step.")).collect()
}

const ALL: [&str; 6] = ["0.pre", "0.run", "0.post", "1.pre", "1.run", "1.post"];

#[test]
fn a_pre_step_can_leave_out_those_that_follow() {
    let Some(mut bench) = Bench::new("a_pre_step_can_leave_out_those_that_follow") else { return };
    bench.server.give(job(1, &skip_to("step.1.pre")));
    bench.server.give(job(2, "true"));
    bench.server.give(job(3, "echo '{\"nextStep\":\"step.1.run\",\"other\":1}' > skip.json"));
    bench.start();
    let record = bench.completed(1);
    assert_eq!(steps(&record), ["0.pre", "1.pre", "1.run", "1.post"]);
    let listed = &record.entry("step.docker.step.1.pre").unwrap().out;
    assert!(!listed.contains("skip.json"), "the file is taken away: {listed}");
    assert_eq!(steps(&bench.completed(2)), ALL);
    assert_eq!(steps(&bench.completed(3)), ["0.pre", "1.run", "1.post"]);
    bench.end();
}

#[test]
fn only_a_pre_step_that_succeeds_is_asked() {
    let Some(mut bench) = Bench::new("only_a_pre_step_that_succeeds_is_asked") else { return };
    bench.server.give(
        StockJob::new("batches", 1)
            .step("step.0.run", &[&skip_to("step.1.post")])
            .step("step.1.post", &["true"])
            .step("last", &["cat skip.json"]),
    );
    bench.server.give(job(2, &format!("{}; false", skip_to("step.1.pre"))));
    bench.start();
    let record = bench.completed(1);
    assert_eq!(
        record.keys()[1..4],
        ["step.docker.step.0.run", "step.docker.step.1.post", "step.docker.last"]
    );
    let record = bench.ended("batches", 2);
    assert_eq!((record.state, &steps(&record)[..]), (State::Errored, &["0.pre"][..]));
    bench.end();
}

#[test]
fn a_skip_file_that_makes_no_sense_fails_the_job() {
    let Some(mut bench) = Bench::new("a_skip_file_that_makes_no_sense_fails_the_job") else { return };
    bench.server.give(job(1, "echo no-json > skip.json"));
    // A deliberate difference: a stock executor leaves out every step that remains, and the job completes.
    bench.server.give(job(2, &skip_to("step.7.pre")));
    bench.server.give(job(3, &skip_to("step.0.pre")));
    bench.start();
    let message = |id| {
        let record = bench.ended("batches", id);
        assert_eq!((record.state, &steps(&record)[..]), (State::Errored, &["0.pre"][..]), "job {id}");
        record.message.unwrap()
    };
    assert!(message(1).starts_with("checking for skip file: unmarshalling skip file: "), "{}", message(1));
    assert!(message(2).contains("\"step.7.pre\""), "{}", message(2));
    assert!(message(3).contains("\"step.0.pre\""), "{}", message(3));
    bench.end();
}
