//! Files that come with a job.

use super::bench::Bench;
use serde_json::json;
use testkit::stock_server::{Fault, State, StockJob};

/// Mode, time of modification and size, as a step sees them.
const STAT: &str = "stat -c '%n %a %Y %s'";
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Their mode is a deliberate difference: 0777 there.
#[test]
fn files_are_written_with_their_bytes_their_mode_and_their_time() {
    let Some(mut bench) = Bench::new("files_are_written_with_their_bytes_their_mode_and_their_time") else {
        return;
    };
    bench.server.keep_file("batch-changes/c3BlYw/ZmlsZQ", b"\x00\xff from the bucket");
    let script = format!(
        "{{ set +x; }} 2>/dev/null; {STAT} a b/c/d stored empty; cat stored | od -An -tx1 -N4; od -An -tx1 a"
    );
    bench.server.give(
        StockJob::new("batches", 1)
            .file_of("a", b"\x00\xfe\xff\n", "2023-01-02T03:04:05Z")
            .file_of("b/c/d", b"deep", "2023-01-02T05:04:05.5+02:00")
            .stored_file("stored", "batch-changes", "c3BlYw/ZmlsZQ", "2023-01-02T03:04:06Z")
            .file("empty", b"")
            .step("s", &[&script]),
    );
    bench.start();
    let record = bench.completed(1);
    let out = &record.entry("step.docker.s").unwrap().out;
    for line in [
        "stdout: a 755 1672628645 4",
        "stdout: b/c/d 755 1672628645 4",
        "stdout: stored 755 1672628646 18",
        "stdout:  00 ff 20 66",
        "stdout:  00 fe ff 0a",
    ] {
        assert!(out.lines().any(|seen| seen == line), "{line:?} in {out}");
    }
    // A time that was never set is not set.
    let empty = out.lines().find(|line| line.starts_with("stdout: empty 755 ")).unwrap();
    let time: i64 = empty.split(' ').nth(3).unwrap().parse().unwrap();
    assert!((jiff::Timestamp::now().as_second() - time).abs() < 600, "{empty}");
    let extras = record.entry("setup.fs.extras").unwrap();
    assert!(extras.command.is_null() && extras.out.lines().count() == 5, "{extras:#?}");
    assert!(
        extras.out.lines().all(|line| line.starts_with("Wrote ") && line.contains(" in ")),
        "{extras:#?}"
    );
    bench.end();
}

/// Bucket and key win over a content; one of them alone is nothing.
#[test]
fn where_a_file_is_depends_on_bucket_and_key_together() {
    let Some(mut bench) = Bench::new("where_a_file_is_depends_on_bucket_and_key_together") else { return };
    bench.server.keep_file("batch-changes/k", b"stored");
    let content = "aW5saW5l";
    let files = json!({
        "both": {"content": content, "bucket": "batch-changes", "key": "k", "modifiedAt": ZERO_TIME},
        "bucket": {"content": content, "bucket": "batch-changes", "modifiedAt": ZERO_TIME},
        "key": {"content": content, "bucket": "", "key": "k"},
        "neither": {},
    });
    let script = "{ set +x; } 2>/dev/null; for f in both bucket key neither; do echo $f=$(cat $f); done";
    bench.server.give(StockJob::new("batches", 1).set("files", files).step("s", &[script]));
    bench.start();
    let record = bench.completed(1);
    let expected = "stdout: both=stored\nstdout: bucket=inline\nstdout: key=inline\nstdout: neither=\n";
    assert_eq!(record.entry("step.docker.s").unwrap().out, expected);
    assert_eq!(bench.server.named("file").len(), 1);
    bench.end();
}

#[test]
fn a_job_whose_files_cannot_be_had_or_written_fails() {
    let Some(mut bench) = Bench::new("a_job_whose_files_cannot_be_had_or_written_fails") else { return };
    let stored = |id, key| StockJob::new("batches", id).stored_file("f", "batch-changes", key, ZERO_TIME);
    bench.server.give(stored(1, "not-there").step("s", &["true"]));
    bench.server.give(stored(2, "../../test/auth").step("s", &["true"]));
    bench.server.give(StockJob::new("batches", 3).file("../outside", b"x").step("s", &["true"]));
    bench.server.give(StockJob::new("batches", 4).file("/etc/../../outside", b"x").step("s", &["true"]));
    bench.server.fault("file", [Fault::None]);
    bench.start();
    let message = |id| {
        let record = bench.ended("batches", id);
        assert_eq!(
            (record.state, &record.keys()[..]),
            (State::Errored, &["setup.fs.extras", "teardown.fs"][..])
        );
        assert_eq!(record.entries[0].exit_code, Some(1));
        record.message.unwrap()
    };
    assert!(message(1).starts_with("creating workspace: failed to get workspace files: "), "{}", message(1));
    assert!(message(2).starts_with("creating workspace: failed to get workspace files: "), "{}", message(2));
    assert!(message(3).contains("refusing to write outside of working directory"), "{}", message(3));
    assert!(message(4).contains("refusing to write outside of working directory"), "{}", message(4));
    assert_eq!(bench.server.named("file").len(), 1, "only one of them is a file's name");
    assert!(!bench.server.requests().iter().any(|request| request.target.contains("auth")));
    bench.end();
}

#[test]
fn a_workspace_that_is_to_be_kept_is_kept() {
    let Some(mut bench) = Bench::new("a_workspace_that_is_to_be_kept_is_kept") else { return };
    bench.server.give(StockJob::new("batches", 1).step("s", &["echo made by the job > made"]));
    bench.start_with(&[("EXECUTOR_QUEUE_NAME", "batches"), ("EXECUTOR_KEEP_WORKSPACES", "true")]);
    let record = bench.completed(1);
    let told = record.entry("teardown.fs").unwrap();
    let kept = told
        .out
        .strip_prefix("Preserving workspace (")
        .and_then(|rest| rest.strip_suffix(") as per config\n"));
    let kept = kept.unwrap_or_else(|| panic!("{told:?}"));
    assert_eq!(std::fs::read_to_string(format!("{kept}/made")).unwrap(), "made by the job\n");
    bench.end();
}
