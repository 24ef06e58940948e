//! The text of log entries, its pace, and what may not be in it.

use super::bench::{Bench, SECRET};
use super::repository::{NAME, Repository};
use serde_json::json;
use std::time::Duration;
use testkit::stock_server::{State, StockJob};

/// The shortest time between two updates of a running entry: a second there, less what a busy host takes.
const PACE: Duration = Duration::from_millis(800);

#[test]
fn a_running_entry_is_told_once_a_second_with_all_of_its_text() {
    let Some(mut bench) = Bench::new("a_running_entry_is_told_once_a_second_with_all_of_its_text") else {
        return;
    };
    let script = "{ set +x; } 2>/dev/null; i=0; while [ $i -lt 33 ]; do i=$((i+1)); echo $i; echo e$i >&2; usleep 100000; done";
    bench.server.give(StockJob::new("batches", 1).step("a", &[script]));
    bench.start();
    let record = bench.completed(1);
    let entry = record.entry("step.docker.a").unwrap();
    for (stream, before) in [("stdout: ", ""), ("stderr: ", "e")] {
        let lines: Vec<&str> = entry.out.lines().filter_map(|line| line.strip_prefix(stream)).collect();
        let expected: Vec<String> = (1..=33).map(|n| format!("{before}{n}")).collect();
        assert_eq!(lines, expected);
    }
    let mut updates = bench.server.named("updateExecutionLogEntry");
    updates.retain(|update| update.json()["key"] == "step.docker.a");
    let running: Vec<_> = updates.iter().filter(|update| update.json()["exitCode"].is_null()).collect();
    // On a busy host it runs for longer than it was told to.
    let took = usize::try_from(entry.duration_ms.unwrap()).unwrap();
    assert!((2..=took / 1_000 + 2).contains(&running.len()), "{} updates in {took} ms", running.len());
    for pair in running.windows(2) {
        let pause = pair[1].at.duration_since(pair[0].at);
        assert!(pause >= PACE, "{pause:?}");
    }
    assert_eq!(updates.len(), running.len() + 1);
    bench.end();
}

#[test]
fn secrets_do_not_get_out() {
    let Some(mut bench) = Bench::new("secrets_do_not_get_out") else { return };
    let repository = Repository::served_by(&bench);
    let token = "5ecre7-t0ken-of-the-job";
    let env =
        json!({"env": ["VALUE=s3cret-of-the-user", &format!("OURS={SECRET}"), &format!("TOKEN={token}")]});
    let split =
        "{ set +x; } 2>/dev/null; printf 'x s3cret-'; echo between >&2; usleep 300000; echo 'of-the-user y'";
    bench.server.give(
        StockJob::new("batches", 1)
            .token(token)
            .set("repositoryName", json!(NAME))
            .set("commit", json!(repository.commits[1]))
            .set(
                "redactedValues",
                json!({"s3cret-of-the-user": "${{ secrets.VALUE }}", "github.com/acme": "HIDDEN-NAME"}),
            )
            .step_with("env", &["env", "echo $VALUE >&2"], &env)
            .step_with("split", &[split], &env)
            .step_with("bad", &["true"], &json!({"dir": "../s3cret-of-the-user"})),
    );
    bench.start();
    let record = bench.ended("batches", 1);
    assert_eq!(record.state, State::Errored);
    let message = record.message.clone().unwrap();
    assert!(message.contains("${{ secrets.VALUE }}"), "{message}");
    let out = &record.entry("step.docker.env").unwrap().out;
    for line in [
        "stdout: VALUE=${{ secrets.VALUE }}",
        "stdout: OURS=SECRET_REMOVED",
        "stdout: TOKEN=SECRET_REMOVED",
        "stderr: ${{ secrets.VALUE }}",
    ] {
        assert!(out.lines().any(|seen| seen == line), "{line:?} in {out}");
    }
    let out = &record.entry("step.docker.split").unwrap().out;
    assert!(out.contains("stdout: x ${{ secrets.VALUE }} y\n"), "{out}");
    let remote = record.entry("setup.git.set-remote").unwrap();
    assert_eq!(remote.command[6], "HIDDEN-NAME/app", "arguments are redacted, too");
    let log = bench.log();
    for secret in ["s3cret-of-the-user", token] {
        let bodies = bench.server.requests();
        assert!(bodies.iter().all(|request| !request.text().contains(secret)), "{secret}");
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    bench.end();
}
