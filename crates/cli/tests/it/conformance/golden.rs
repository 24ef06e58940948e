//! Each call byte for byte: the files in `golden` are requests as they must be, but for names, times and secrets
//! that differ from run to run. `Host` and `Content-Length` are HTTP's own.

use super::bench::{Bench, HOST, SECRET};
use super::gate::Gate;
use super::repository::{NAME, Repository};
use crate::support::{SOON, wait};
use serde_json::json;
use testkit::stock_server::{Fault, Hold, Request, State, StockJob};

/// Headers that are HTTP's own, or git's choice.
const NOT_OURS: [&str; 3] = ["host", "content-length", "accept-encoding"];

/// A request as the golden files write it.
fn shown(request: &Request, bench: &Bench) -> String {
    let ours = request.headers.iter().filter(|(name, _)| !NOT_OURS.contains(&name.as_str()));
    let mut headers: Vec<String> = ours.map(|(name, value)| format!("{name}: {value}\n")).collect();
    headers.sort();
    let (body, telemetry) = match request.call() {
        "git-upload-pack" => ("<what git says>".to_owned(), false),
        call => (request.text(), matches!(call, "heartbeat" | "ping")),
    };
    let text = format!("{} {}\n{}\n{body}\n", request.method, request.target, headers.concat());
    let name = bench.heard("ping", 1)[0].json()["executorName"].as_str().unwrap().to_owned();
    assert!(name.starts_with(&format!("{HOST}-")), "{name}");
    let mut text = text.replace(&name, "<executor>").replace(SECRET, "<shared secret>");
    for (before, after, stands_for, applies) in [
        ("\"startTime\":\"", "\"", "<time>", true),
        ("\"durationMs\":", "}", "<milliseconds>", true),
        ("\"-C\",\"", "\"", "<workspace>", true),
        (".sh in ", "\\n", "<duration>", true),
        ("_app@", ".sh", "<commit>", true),
        ("\"architecture\":\"", "\"", "<architecture>", telemetry),
        ("\"gitVersion\":\"", "\"", "<version>", telemetry),
        ("\"srcCliVersion\":\"", "\"", "<version or nothing>", telemetry),
        ("\"prometheusMetrics\":\"", "\"}\n", "<metrics or nothing>", request.call() == "heartbeat"),
    ] {
        if applies {
            text = between(&text, before, after, stands_for);
        }
    }
    text
}

/// `text` with `stands_for` in place of whatever is there between `before` and `after`.
fn between(text: &str, before: &str, after: &str, stands_for: &str) -> String {
    let mut parts = text.split(before);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.find(after).map_or("", |end| &part[end..]);
        shown.extend([before, stands_for, rest]);
    }
    shown
}

/// Compares with what is in the golden file.
macro_rules! golden {
    ($bench:expr, $name:literal, $request:expr) => {
        let seen = shown(&$request, &$bench);
        let expected = include_str!(concat!("golden/", $name, ".http"));
        assert!(seen == expected, "{}:\n{seen}\n--- and not\n{expected}", $name);
    };
}

/// The first request of `call` whose body says `key: value`.
fn saying(bench: &Bench, call: &str, key: &str, value: &serde_json::Value) -> Request {
    wait(SOON, &format!("{call} with {key}: {value}"), || {
        bench.server.named(call).into_iter().find(|request| request.json()[key] == *value)
    })
}

#[test]
fn the_calls_of_one_queue_are_as_documented() {
    let Some(mut bench) = Bench::new("the_calls_of_one_queue_are_as_documented") else { return };
    let repository = Repository::served_by(&bench);
    bench.server.keep_file("batch-changes/c3BlYw/ZmlsZQ", b"a file");
    bench.start();
    golden!(bench, "ping", bench.heard("ping", 1)[0]);
    golden!(bench, "heartbeat-idle", bench.heard("heartbeat", 1)[0]);
    golden!(bench, "dequeue", bench.heard("dequeue", 1)[0]);

    let gate = Gate::new();
    let commit = &repository.commits[1];
    bench.server.give(
        StockJob::new("batches", 1)
            .token("token-of-job-1")
            .set("repositoryName", json!(NAME))
            .set("commit", json!(commit))
            .stored_file("x", "batch-changes", "c3BlYw/ZmlsZQ", "0001-01-01T00:00:00Z")
            .step("a", &["true"]),
    );
    bench.server.give(StockJob::new("batches", 2).token("token-of-job-2").step("a", &["exit 3"]));
    bench.server.give(StockJob::new("batches", 3).token("token-of-job-3").step("", &[&gate.script()]));
    bench.completed(1);
    golden!(bench, "file", bench.heard("file", 1)[0]);
    golden!(bench, "info-refs", bench.heard("info/refs", 1)[0]);
    golden!(bench, "git-upload-pack", bench.heard("git-upload-pack", 1)[0]);
    golden!(bench, "mark-complete", bench.heard("markComplete", 1)[0]);
    assert_eq!(bench.ended("batches", 2).state, State::Errored);
    golden!(bench, "mark-errored", bench.heard("markErrored", 1)[0]);

    gate.reached();
    bench.server.cancel("batches", 3);
    golden!(bench, "heartbeat", saying(&bench, "heartbeat", "jobIds", &json!([3])));
    assert_eq!(bench.ended("batches", 3).state, State::Canceled);
    golden!(bench, "mark-failed", bench.heard("markFailed", 1)[0]);
    bench.end();
}

#[test]
fn a_log_entry_is_told_as_it_stands() {
    let Some(mut bench) = Bench::new("a_log_entry_is_told_as_it_stands") else { return };
    let repository = Repository::served_by(&bench);
    let (gates, hold) = ([Gate::new(), Gate::new()], Hold::default());
    bench.server.fault("addExecutionLogEntry", [Fault::Held(hold.clone())]);
    let [first, second] = gates.each_ref().map(Gate::script);
    bench.server.give(
        StockJob::new("batches", 1)
            .token("token-of-job-1")
            .set("repositoryName", json!(NAME))
            .set("commit", json!(repository.commits[1]))
            .step("a", &["{ set +x; } 2>/dev/null", &first, "echo begun", &second]),
    );
    bench.start();
    // Everything before the step has ended before the instance hears of it.
    gates[0].reached();
    hold.release();
    let added = |key| saying(&bench, "addExecutionLogEntry", "key", &json!(key));
    golden!(bench, "add-log-entry", added("setup.git.disable-gc"));
    golden!(bench, "add-log-entry-without-command", added("setup.fs.extras"));
    golden!(bench, "add-running-log-entry", added("step.docker.a"));
    let updated = |exit_code| {
        wait(SOON, "an update of the step", || {
            let updates = bench.server.named("updateExecutionLogEntry").into_iter();
            let mut bodies = updates.map(|update| (update.json(), update));
            bodies.find(|(body, _)| body["key"] == "step.docker.a" && body["exitCode"] == exit_code)
        })
    };
    gates[0].open();
    golden!(bench, "update-running-log-entry", updated(json!(null)).1);
    gates[1].open();
    golden!(bench, "update-log-entry", updated(json!(0)).1);
    bench.completed(1);
    bench.end();
}

#[test]
fn the_calls_of_several_queues_are_as_documented() {
    let Some(mut bench) = Bench::new("the_calls_of_several_queues_are_as_documented") else { return };
    bench.start_with(&[("EXECUTOR_QUEUE_NAMES", "codeintel,batches"), ("EXECUTOR_MAXIMUM_NUM_JOBS", "2")]);
    golden!(bench, "ping-several", bench.heard("ping", 1)[0]);
    golden!(bench, "heartbeat-idle-several", bench.heard("heartbeat", 1)[0]);
    golden!(bench, "dequeue-several", bench.heard("dequeue", 1)[0]);
    let gates = [Gate::new(), Gate::new()];
    for (queue, gate) in ["batches", "codeintel"].into_iter().zip(&gates) {
        bench
            .server
            .give(StockJob::new(queue, 7).token(&format!("token-of-{queue}")).step("a", &[&gate.script()]));
    }
    gates.iter().for_each(Gate::reached);
    let groups =
        json!([{"queueName": "batches", "jobIds": ["7"]}, {"queueName": "codeintel", "jobIds": ["7"]}]);
    golden!(bench, "heartbeat-several", saying(&bench, "heartbeat", "jobIdsByQueue", &groups));
    gates.iter().for_each(Gate::open);
    for queue in ["batches", "codeintel"] {
        assert_eq!(bench.ended(queue, 7).state, State::Completed);
    }
    let marks = bench.heard("markComplete", 2);
    let mark = marks.into_iter().find(|mark| mark.path().contains("/codeintel/")).unwrap();
    golden!(bench, "mark-complete-codeintel", mark);
    bench.end();
}

#[test]
fn the_path_and_the_query_of_the_instance_s_url_are_kept() {
    let Some(mut bench) = Bench::below("the_path_and_the_query_of_the_instance_s_url_are_kept", "/sub/path")
    else {
        return;
    };
    bench.server.give(StockJob::new("batches", 1).step("", &["true"]));
    let url = format!("{}//?tenant=1", bench.server.url());
    bench.start_with(&[("EXECUTOR_QUEUE_NAME", "batches"), ("EXECUTOR_FRONTEND_URL", &url)]);
    bench.completed(1);
    for request in bench.server.requests() {
        let target = &request.target;
        let below = ["/sub/path/.executors/queue/batches/", "/sub/path/.api/src-cli/version?"];
        let is_below = below.iter().any(|path| target.starts_with(path));
        assert!(is_below && target.ends_with("?tenant=1"), "{target}");
    }
    bench.end();
}
