//! An instance that refuses calls for a while. What it refuses has not been done, so all of it arrives later, once.

use super::bench::Bench;
use super::repository::{NAME, Repository};
use crate::support::{SOON, wait};
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::stock_server::{Answer, CLONED, Fault, State, StockJob};

/// What an instance and the proxies in front of it answer when they can't.
fn storm() -> [Fault; 3] {
    [
        Fault::Instead(Answer::error(500, "dbworkerstore: no connection")),
        Fault::Instead(Answer::status(503).with("Content-Type", "text/html").body("<h1>Unavailable</h1>")),
        Fault::retry_after(429, "0"),
    ]
}

/// What gateways, firewalls and sign-in pages answer in an instance's place.
fn strange() -> Vec<Fault> {
    let page =
        |status| Answer::status(status).with("Content-Type", "text/html").body("<html>not here</html>");
    let elsewhere = Answer::status(302).with("Location", "/login");
    let empty = [401, 403, 404, 410].map(Answer::status);
    let all = empty.into_iter().chain([401, 403, 404].map(page)).chain([elsewhere]);
    all.map(Fault::Instead).collect()
}

/// A job that needs every call there is.
fn job(repository: &Repository) -> StockJob {
    numbered_job(1, repository)
}

fn numbered_job(id: i64, repository: &Repository) -> StockJob {
    StockJob::new("batches", id)
        .set("repositoryName", json!(NAME))
        .set("commit", json!(repository.commits[1]))
        .stored_file("stored", "batch-changes", "a/b", "0001-01-01T00:00:00Z")
        .step(
            "a",
            &[
                "{ set +x; } 2>/dev/null",
                "cat stored src/main.txt; for i in 1 2 3 4; do echo $i; usleep 400000; done",
            ],
        )
}

const SAID: &str = "stdout: stored\nstdout: two\nstdout: 1\nstdout: 2\nstdout: 3\nstdout: 4\n";

#[test]
fn calls_that_are_refused_for_a_while_are_made_again() {
    let Some(mut bench) = Bench::new("calls_that_are_refused_for_a_while_are_made_again") else { return };
    let repository = Repository::served_by(&bench);
    bench.server.keep_file("batch-changes/a/b", b"stored\n");
    let calls = ["addExecutionLogEntry", "updateExecutionLogEntry", "file", "info/refs", "markComplete"];
    for call in calls {
        bench.server.fault(call, storm());
    }
    bench.server.fault("ping", [Fault::status(503)]);
    bench.server.give(job(&repository));
    bench.start();
    let record = bench.completed(1);
    let steps = ["step.docker.a", "teardown.fs"];
    assert_eq!(record.keys(), [&CLONED[..], &steps].concat());
    assert_eq!(record.entry("step.docker.a").unwrap().out, SAID);
    for call in calls {
        assert_eq!(bench.server.faults_left(call), 0, "{call}");
    }
    assert_eq!(bench.server.named("markComplete").len(), 4, "three were refused");
    bench.end();
}

/// A deliberate difference: a stock executor drops a job whose log, or whose end, is refused by whoever it may be.
#[test]
fn calls_that_something_else_answers_are_made_again() {
    let Some(mut bench) = Bench::new("calls_that_something_else_answers_are_made_again") else { return };
    let repository = Repository::served_by(&bench);
    bench.server.keep_file("batch-changes/a/b", b"stored\n");
    let page = || [Fault::Instead(Answer::text("<html>sign in</html>"))];
    let calls =
        ["addExecutionLogEntry", "updateExecutionLogEntry", "info/refs", "git-upload-pack", "markComplete"];
    for call in calls {
        bench.server.fault(call, page().into_iter().chain(strange()));
    }
    // What is said with 200 is what the file holds.
    bench.server.fault("file", strange());
    // Several share what goes wrong, so that none pauses for long.
    let jobs = 1..=4;
    for id in jobs.clone() {
        bench.server.give(numbered_job(id, &repository));
    }
    bench.start_with(&[("EXECUTOR_QUEUE_NAME", "batches"), ("EXECUTOR_MAXIMUM_NUM_JOBS", "4")]);
    for id in jobs {
        let record = bench.completed(id);
        let step = record.entry("step.docker.a").unwrap();
        assert_eq!((step.out.as_str(), step.exit_code), (SAID, Some(0)));
        assert!(record.entry("teardown.fs").is_some(), "{:?}", record.keys());
    }
    for call in calls.into_iter().chain(["file"]) {
        assert_eq!(bench.server.faults_left(call), 0, "{call}");
    }
    assert!(bench.log().contains("something seems to have answered in the control plane's place"));
    bench.end();
}

/// Git does not take a broken clone up again by itself. A deliberate difference: the fetch is made again, as another
/// log entry; a stock executor fails the job.
#[test]
fn a_clone_that_the_instance_breaks_is_made_again() {
    let Some(mut bench) = Bench::new("a_clone_that_the_instance_breaks_is_made_again") else { return };
    let repository = Repository::served_by(&bench);
    bench.server.keep_file("batch-changes/a/b", b"stored\n");
    bench.server.fault("git-upload-pack", [Fault::status(502), Fault::Reset, Fault::None, Fault::ServedCut]);
    bench.server.give(job(&repository));
    bench.start();
    let record = bench.completed(1);
    let fetches: Vec<_> = record.entries.iter().filter(|entry| entry.key == "setup.git.fetch").collect();
    assert!(fetches.len() > 1, "{:?}", record.keys());
    let (last, broken) = fetches.split_last().unwrap();
    assert_eq!(last.exit_code, Some(0));
    assert!(broken.iter().all(|fetch| fetch.exit_code.is_some_and(|code| code != 0)), "{broken:#?}");
    assert_eq!(record.entry("step.docker.a").unwrap().out, SAID);
    bench.end();
}

/// A deliberate difference, as above.
#[test]
fn a_clone_that_is_asked_to_come_later_is_made_later() {
    let Some(mut bench) = Bench::new("a_clone_that_is_asked_to_come_later_is_made_later") else { return };
    let repository = Repository::served_by(&bench);
    bench.server.keep_file("batch-changes/a/b", b"stored\n");
    for call in ["info/refs", "git-upload-pack"] {
        bench.server.fault(call, [Fault::retry_after(429, "1")]);
    }
    bench.server.give(job(&repository));
    bench.start();
    let record = bench.completed(1);
    for call in ["info/refs", "git-upload-pack"] {
        let [first, again, ..] = &bench.heard(call, 2)[..] else { unreachable!("there are two") };
        assert!(again.at.duration_since(first.at) >= Duration::from_secs(1), "{call}");
    }
    // Refs are asked for again behind git's back; of objects git has to be told.
    let fetches: Vec<_> = record.entries.iter().filter(|entry| entry.key == "setup.git.fetch").collect();
    let [broken, last] = &fetches[..] else { panic!("{:?}", record.keys()) };
    assert!(broken.out.contains("answered with status 429"), "{broken:#?}");
    assert_eq!((broken.exit_code.is_some_and(|code| code != 0), last.exit_code), (true, Some(0)));
    bench.end();
}

#[test]
fn a_pause_that_is_asked_for_is_kept() {
    let Some(mut bench) = Bench::new("a_pause_that_is_asked_for_is_kept") else { return };
    let second = Duration::from_secs(1);
    bench.server.fault("dequeue", [Fault::retry_after(503, "1")]);
    bench.server.fault("addExecutionLogEntry", [Fault::retry_after(503, "1")]);
    // A date has whole seconds, so one that is four seconds away asks for more than three.
    let date = jiff::Timestamp::now() + 4 * second;
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let asked = Instant::now();
    bench.server.fault("markComplete", [Fault::retry_after(429, &date)]);
    bench.server.give(StockJob::new("batches", 1).step("", &["true"]));
    bench.start();
    bench.completed(1);
    for call in ["dequeue", "addExecutionLogEntry"] {
        let [first, again, ..] = &bench.heard(call, 2)[..] else { unreachable!("there are two") };
        assert!(again.at.duration_since(first.at) >= second, "{call}");
    }
    assert!(bench.heard("markComplete", 2)[1].at.duration_since(asked) >= 3 * second);
    bench.end();
}

#[test]
fn a_final_call_that_is_refused_for_good_is_made_once() {
    let Some(mut bench) = Bench::new("a_final_call_that_is_refused_for_good_is_made_once") else { return };
    let unreadable = "Failed to unmarshal payload: unexpected end of JSON input\n";
    for (id, status, said) in [(1, 400, unreadable), (2, 401, "invalid token\n"), (3, 404, "null")] {
        bench.server.fault("markComplete", [Fault::Instead(Answer::status(status).body(said))]);
        bench.server.give(StockJob::new("batches", id).step("", &["true"]));
    }
    bench.server.give(StockJob::new("batches", 4).step("", &["true"]));
    bench.start();
    bench.completed(4);
    assert_eq!(bench.server.named("markComplete").len(), 4);
    for id in 1..=3 {
        assert_eq!(bench.server.record("batches", id).unwrap().state, State::Processing, "job {id}");
    }
    bench.end();
}

/// A deliberate difference: a stock executor fails a job for a log entry that was refused.
#[test]
fn a_log_entry_that_is_refused_for_good_fails_no_job() {
    let Some(mut bench) = Bench::new("a_log_entry_that_is_refused_for_good_fails_no_job") else { return };
    let unreadable = || Fault::Instead(Answer::status(400).body("Failed to unmarshal payload: EOF\n"));
    bench.server.fault("addExecutionLogEntry", [unreadable(), Fault::None, unreadable()]);
    bench.server.fault("updateExecutionLogEntry", [413, 413, 413].map(Fault::status));
    bench.server.give(StockJob::new("batches", 1).step("a", &["echo begun; sleep 2"]).step("b", &["true"]));
    bench.start();
    let record = bench.completed(1);
    assert_eq!(record.keys(), ["step.docker.a", "teardown.fs"]);
    wait(SOON, "the executor's word on it", || {
        bench.log().contains("failed to deliver a log entry").then_some(())
    });
    bench.end();
}

#[test]
fn a_log_entry_without_a_number_fails_no_job() {
    let Some(mut bench) = Bench::new("a_log_entry_without_a_number_fails_no_job") else { return };
    bench.server.fault("addExecutionLogEntry", [Fault::None, Fault::status(204)]);
    bench.server.give(StockJob::new("batches", 1).step("a", &["echo begun; sleep 2; echo ended"]));
    bench.start();
    assert_eq!(bench.completed(1).keys(), ["setup.fs.extras", "teardown.fs"]);
    bench.end();
}
