//! Answers to a dequeue. One that fails is not asked for again at once, since a job may have been handed out in an
//! answer that got lost; nor does it keep the executor from asking later.

use super::bench::Bench;
use super::repository::{NAME, Repository};
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::stock_server::{Answer, Fault, State, StockJob, StockServer};

#[test]
fn an_answer_without_a_job_is_an_answer_like_any_other() {
    let Some(mut bench) = Bench::new("an_answer_without_a_job_is_an_answer_like_any_other") else { return };
    let instead = |answer: Answer| Fault::Instead(answer);
    let faults = [
        instead(Answer::error(500, "dbworkerstore.Dequeue: no")),
        Fault::status(404),
        Fault::status(401),
        // A pause in between, for the executor's patience to begin anew.
        Fault::None,
        instead(Answer::text("")),
        instead(Answer::text("null")),
        instead(Answer::text("[]")),
        instead(Answer::text("<html>")),
        Fault::None,
        Fault::Reset,
        instead(Answer::text(r#"{"id":"#)),
        instead(Answer::text(r#"{"version":2,"id":"one","token":"t"}"#)),
        Fault::retry_after(429, "0"),
        Fault::None,
    ];
    let count = faults.len();
    bench.server.fault("dequeue", faults);
    bench.start();
    bench.heard("dequeue", count);
    bench.server.give(StockJob::new("batches", 1).step("", &["true"]));
    bench.completed(1);
    assert_eq!(bench.server.faults_left("dequeue"), 0);
    for beat in bench.server.named("heartbeat") {
        assert_eq!(beat.json()["jobIds"], json!(null), "nothing runs");
    }
    bench.end();
}

#[test]
fn an_answer_without_an_end_is_not_read_to_its_end() {
    let Some(mut bench) = Bench::new("an_answer_without_an_end_is_not_read_to_its_end") else { return };
    bench.server.fault("dequeue", [Fault::Endless]);
    bench.server.give(StockJob::new("batches", 1).step("", &["true"]));
    bench.start();
    bench.completed(1);
    assert!(bench.log().contains("the answer is larger than "), "{}", bench.log());
    bench.end();
}

#[test]
fn an_idle_executor_asks_as_often_as_it_was_told() {
    let Some(mut bench) = Bench::new("an_idle_executor_asks_as_often_as_it_was_told") else { return };
    bench.start_with(&[("EXECUTOR_QUEUE_NAME", "batches"), ("EXECUTOR_QUEUE_POLL_INTERVAL", "2s")]);
    for pair in bench.heard("dequeue", 4).windows(2) {
        let pause = pair[1].at.duration_since(pair[0].at);
        // A fleet does not march in step; and a busy host is late now with one and now with the other.
        assert!(pause >= Duration::from_millis(1_250), "{pause:?}");
    }
    // With a job in hand there is no pause.
    for id in 1..=3 {
        bench.server.give(StockJob::new("batches", id).step("", &["true"]));
    }
    let given = Instant::now();
    bench.completed(3);
    // From the first job to the last each question is answered with one; before and after that it is idle.
    let marks = bench.heard("markComplete", 3);
    let questions = bench.server.named("dequeue");
    let between =
        questions.iter().filter(|question| question.at > given && question.at < marks[2].at).count();
    assert!(between <= 3, "{between} questions");
    let paused = marks[..2].iter().map(|mark| {
        let next = questions.iter().find(|question| question.at > mark.at).unwrap();
        next.at.duration_since(mark.at)
    });
    // A busy host may be late with one of them.
    assert!(paused.min().unwrap() < Duration::from_secs(1));
    bench.end();
}

/// A deliberate difference: credentials go nowhere but to the instance that was named. Whoever sends us elsewhere is not
/// the instance, so the call is made again.
#[test]
fn a_redirect_is_not_followed() {
    let Some(mut bench) = Bench::new("a_redirect_is_not_followed") else { return };
    let repository = Repository::served_by(&bench);
    bench.server.keep_file("batch-changes/a/b", b"stored");
    let elsewhere = StockServer::start("another-secret");
    let to = |status| {
        Fault::Instead(Answer::status(status).with("Location", &format!("{}/steal", elsewhere.url())))
    };
    bench.server.fault("dequeue", [301, 302, 307, 308].map(to));
    let redirected = ["addExecutionLogEntry", "file", "info/refs", "markComplete"];
    for (call, status) in redirected.into_iter().zip([308, 302, 301, 307]) {
        bench.server.fault(call, [to(status)]);
    }
    let job = StockJob::new("batches", 1).stored_file("x", "batch-changes", "a/b", "0001-01-01T00:00:00Z");
    let job = job.set("repositoryName", json!(NAME)).set("commit", json!(repository.commits[0]));
    bench.server.give(job.step("", &["true"]));
    bench.start();
    bench.completed(1);
    for call in redirected {
        assert_eq!(bench.server.faults_left(call), 0, "{call}");
    }
    assert!(elsewhere.requests().is_empty(), "{:#?}", elsewhere.requests());
    bench.end();
}

/// A deliberate difference: a stock executor sends the call again and is given a second job, while the first waits
/// for nobody. The instance's own rule for jobs without a heartbeat is what takes the first one back.
#[test]
fn a_job_whose_answer_got_lost_is_not_claimed() {
    let Some(mut bench) = Bench::new("a_job_whose_answer_got_lost_is_not_claimed") else { return };
    bench.server.fault("dequeue", [Fault::ServedReset, Fault::ServedCut]);
    for id in 1..=3 {
        bench.server.give(StockJob::new("batches", id).step("", &["true"]));
    }
    bench.start();
    bench.completed(3);
    for id in [1, 2] {
        let lost = bench.server.record("batches", id).unwrap();
        assert_eq!((lost.state, lost.entries.len()), (State::Processing, 0), "job {id}");
    }
    bench.end();
}

/// A deliberate difference: a stock executor says nothing, and the job is handed out again and again.
#[test]
fn a_job_that_cannot_be_read_is_handed_back() {
    let Some(mut bench) = Bench::new("a_job_that_cannot_be_read_is_handed_back") else { return };
    let payload = r#"{"version":2,"id":1,"token":"t0","files":{"a":{"content":"not base64!"}}}"#;
    bench.server.give(StockJob::new("batches", 1).token("t0").raw(payload));
    bench.server.give(StockJob::new("batches", 2).step("", &["true"]));
    bench.start();
    let record = bench.ended("batches", 1);
    assert_eq!(record.state, State::Failed);
    let message = record.message.unwrap();
    assert!(
        message.contains("could not read the job") && message.contains("\"a\" is not base64"),
        "{message}"
    );
    bench.completed(2);
    bench.end();
}
