//! What the answers to heartbeats do to jobs. A heartbeat goes out every five seconds, so each answer gets an
//! executor of its own, and all of them work at the same time.

use super::bench::Bench;
use super::gate::Gate;
use crate::support::{SOON, wait};
use serde_json::{Value, json};
use testkit::stock_server::{Answer, Fault, State, StockJob};

const LOGIN_PAGE: &str = "<!doctype html><html><body>Sign in</body></html>";

/// Lets one job run into a heartbeat that goes as `fault` says, and then does `after`.
fn beaten(test: &str, fault: Fault, after: impl FnOnce(&Bench, &Gate)) {
    let Some(mut bench) = Bench::new(test) else { return };
    let gate = Gate::new();
    bench.server.give(StockJob::new("batches", 1).step("a", &["echo begun", &gate.script(), "echo went-on"]));
    bench.server.fault("markFailed", [Fault::status(503)]);
    bench.start();
    gate.reached();
    // Those that were sent before the job was there say nothing of it, and may be late.
    bench.server.fault("heartbeat", [fault]);
    wait(SOON, "the heartbeat", || (bench.server.faults_left("heartbeat") == 0).then_some(()));
    let beats = bench.server.named("heartbeat");
    assert_eq!(beats.last().unwrap().json()["jobIds"], json!([1]));
    after(&bench, &gate);
    bench.end();
}

/// Runs the cases side by side. A case that fails is told by its name.
fn all_at_once<T: Send>(cases: impl IntoIterator<Item = (&'static str, T)>, check: impl Fn(&str, T) + Sync) {
    std::thread::scope(|scope| {
        for (name, case) in cases {
            let check = &check;
            let thread = std::thread::Builder::new().name(name.to_owned());
            thread.spawn_scoped(scope, move || check(name, case)).unwrap();
        }
    });
}

#[test]
fn a_heartbeat_that_fails_stops_no_job() {
    let html =
        |status| Fault::Instead(Answer::status(status).with("Content-Type", "text/html").body(LOGIN_PAGE));
    let text = |text: &str| Fault::Instead(Answer::text(text));
    let cases = [
        ("a fault of the server", Fault::Instead(Answer::error(500, "dbworkerstore.UpsertHeartbeat: no"))),
        ("a wrong secret", Fault::status(401)),
        ("an instance that has no such call", html(404)),
        ("a login page", html(200)),
        ("garbage", text("\u{0}{]")),
        ("ids of no known type", text(r#"{"knownIds":[{}]}"#)),
        ("nothing said", Fault::status(204)),
        ("nothing said of jobs", text("{}")),
        ("a redirect", Fault::Instead(Answer::status(302).with("Location", "/elsewhere"))),
        ("a connection that is reset", Fault::ServedReset),
    ];
    all_at_once(cases, |name, fault| {
        beaten(name, fault, |bench, gate| {
            gate.open();
            let record = bench.completed(1);
            assert!(record.entry("step.docker.a").unwrap().out.contains("stdout: went-on\n"), "{record:#?}");
        });
    });
}

#[test]
fn a_job_that_is_not_known_is_dropped_without_a_final_call() {
    let cases = [
        ("an empty list", json!({"knownIds": [], "cancelIds": []})),
        ("null", json!({"knownIds": null, "cancelIds": null})),
        ("the ids of others", json!({"knownIds": ["2", 11], "cancelIds": []})),
        ("both at once", json!({"knownIds": [], "cancelIds": ["1"]})),
    ];
    all_at_once(cases, |name, answer: Value| {
        beaten(name, Fault::Instead(Answer::json(&answer)), |bench, _| {
            bench.server.give(StockJob::new("batches", 2).step("", &["true"]));
            bench.completed(2);
            let record = bench.server.record("batches", 1).unwrap();
            assert_eq!((record.state, record.message), (State::Processing, None));
        });
    });
}

#[test]
fn a_job_that_is_to_be_canceled_is_stopped_and_marked_as_failed() {
    let cases = [
        ("numbers", json!({"knownIds": [1], "cancelIds": [1]})),
        ("keys in another case", json!({"knownIDs": ["1"], "CANCELIDS": ["1"]})),
        ("nothing said of what is known", json!({"cancelIds": ["1"]})),
        ("a key that nobody knows", json!({"knownIds": ["1"], "cancelIds": ["9", "1"], "other": {"a": []}})),
    ];
    all_at_once(cases, |name, answer: Value| {
        beaten(name, Fault::Instead(Answer::json(&answer)), |bench, _| {
            let record = bench.ended("batches", 1);
            assert_eq!(record.state, State::Failed, "{record:#?}");
            assert_eq!(record.keys(), ["setup.fs.extras", "step.docker.a", "teardown.fs"]);
            let step = record.entry("step.docker.a").unwrap();
            assert!(
                step.out.contains("stdout: begun\n") && step.exit_code.is_some_and(|code| code != 0),
                "{step:?}"
            );
            assert_eq!(bench.server.named("markFailed").len(), 2, "the first was refused");
        });
    });
}
