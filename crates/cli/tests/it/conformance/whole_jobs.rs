//! Whole jobs, in the words in which their queues hand them out.

use super::bench::{Bench, SECRET};
use super::repository::{NAME, Repository};
use serde_json::json;
use testkit::stock_server::{CLONED, Record, State, StockJob};

/// The job of one workspace with two steps. The second step's shell comes through `tee` twice, as it does there.
const BATCHES: &str = r#"{"version":2,"id":42,"token":"token-of-the-batches-job","repositoryName":"github.com/acme/app","repositoryDirectory":"repository",
"commit":"COMMIT","fetchTags":false,"shallowClone":true,"sparseCheckout":null,
"files":{"input.json":{"content":"eyJzdGVwcyI6W119","modifiedAt":"0001-01-01T00:00:00Z"},
"workspace-files/x.sh":{"bucket":"batch-changes","key":"c3BlYw/ZmlsZQ","modifiedAt":"2023-01-02T03:04:05Z"}},
"dockerSteps":[
{"key":"step.0.pre","image":"busybox","commands":["cat input.json; echo","echo 'cat main.txt; echo $TOKEN >&2' > step0.sh; chmod +x step0.sh"],"dir":".","env":["TOKEN=s3cret-of-the-user"]},
{"key":"step.0.run","image":"busybox","commands":["{ set +x; } 2>/dev/null","{ set -eo pipefail; } 2>/dev/null",
"(exec \"../../step0.sh\" | tee ../../stdout0.log) 3>&1 1>&2 2>&3 | tee ../../stderr0.log"],"dir":"repository/src","env":null},
{"key":"step.0.post","image":"busybox","commands":["cat stdout0.log workspace-files/x.sh","echo $TOKEN"],"dir":".","env":["TOKEN=s3cret-of-the-user"]}],
"cliSteps":null,"redactedValues":{"s3cret-of-the-user":"${{ secrets.TOKEN }}"},"dockerAuthConfig":{}}"#;

#[test]
fn a_batches_job_runs_from_its_clone_to_its_last_step() {
    let Some(mut bench) = Bench::new("a_batches_job_runs_from_its_clone_to_its_last_step") else { return };
    run_batches_job(&mut bench, &[]);
    bench.end();
}

/// Runs that job by an executor with these variables besides.
pub(super) fn run_batches_job(bench: &mut Bench, env: &[(&str, &str)]) {
    let repository = Repository::served_by(bench);
    bench.server.keep_file("batch-changes/c3BlYw/ZmlsZQ", b"the workspace file\n");
    let payload = BATCHES.replace("COMMIT", &repository.commits[1]);
    bench.server.give(
        StockJob::new("batches", 42)
            .token("token-of-the-batches-job")
            .set("repositoryName", json!(NAME))
            .raw(&payload),
    );
    bench.start_with(&[&[("EXECUTOR_QUEUE_NAME", "batches")], env].concat());
    let record = bench.completed(42);
    let steps =
        ["step.docker.step.0.pre", "step.docker.step.0.run", "step.docker.step.0.post", "teardown.fs"];
    assert_eq!(record.keys(), [&CLONED[..], &steps].concat());
    all_went_well(&record);
    let files = &record.entry("setup.fs.extras").unwrap().out;
    for file in [
        "input.json",
        "workspace-files/x.sh",
        &format!("42.0_github.com_acme_app@{}.sh", repository.commits[1]),
    ] {
        assert!(
            files.lines().any(|line| line.starts_with("Wrote ") && line.contains(file)),
            "{file}: {files}"
        );
    }
    assert!(out(&record, "step.docker.step.0.pre").contains("stdout: {\"steps\":[]}\n"));
    let run = out(&record, "step.docker.step.0.run");
    assert!(run.lines().any(|line| line == "stderr: two") && !run.contains("stderr: + "), "{run}");
    let post = out(&record, "step.docker.step.0.post");
    for line in ["stdout: two", "stdout: the workspace file", "stdout: ${{ secrets.TOKEN }}"] {
        assert!(post.lines().any(|seen| seen == line), "{line:?} in {post}");
    }
    assert!(record.entries.iter().all(|entry| !entry.out.contains("s3cret-of-the-user")));
}

/// The job of one index, as an instance writes it for an old executor.
const CODEINTEL: &str = r#"{"id":7,"token":"token-of-the-index-job","repositoryName":"github.com/acme/app","repositoryDirectory":"",
"commit":"COMMIT","fetchTags":true,"shallowClone":true,"sparseCheckout":null,"files":{},
"dockerSteps":[
{"key":"pre-index.0","image":"busybox","commands":["echo $VM_MEM_MB on $VM_CPUS"],"dir":"src","env":["VM_CPUS=4","VM_MEM_MB=12288"]},
{"key":"indexer","image":"busybox","commands":["cat main.txt > ../dump.scip","'echo' 'indexed' 'all of it'"],"dir":"src","env":["VM_CPUS=4"]},
{"key":"upload","image":"busybox","commands":["cat dump.scip; echo $SRC_ENDPOINT $SRC_HEADER_AUTHORIZATION"],"dir":"",
"env":["SRC_ENDPOINT=https://instance.example","SRC_HEADER_AUTHORIZATION=token-executor SECRET"]}],
"cliSteps":null,"redactedValues":{"token-executor SECRET":"token-executor REDACTED","SECRET":"PASSWORD_REMOVED"}}"#;

#[test]
fn a_codeintel_job_runs_from_its_clone_to_its_upload() {
    let Some(mut bench) = Bench::new("a_codeintel_job_runs_from_its_clone_to_its_upload") else { return };
    run_codeintel_job(&mut bench, &[]);
    bench.end();
}

/// Runs that job by an executor with these variables besides.
pub(super) fn run_codeintel_job(bench: &mut Bench, env: &[(&str, &str)]) {
    let repository = Repository::served_by(bench);
    let payload = CODEINTEL.replace("COMMIT", &repository.commits[0]).replace("SECRET", SECRET);
    bench.server.give(
        StockJob::new("codeintel", 7)
            .token("token-of-the-index-job")
            .set("repositoryName", json!(NAME))
            .raw(&payload),
    );
    bench.start_with(&[&[("EXECUTOR_QUEUE_NAME", "codeintel")], env].concat());
    let record = bench.ended("codeintel", 7);
    assert_eq!(record.state, State::Completed, "{record:#?}");
    let steps = ["step.docker.pre-index.0", "step.docker.indexer", "step.docker.upload", "teardown.fs"];
    assert_eq!(record.keys()[record.entries.len() - 4..], steps);
    all_went_well(&record);
    assert!(out(&record, "step.docker.pre-index.0").contains("stdout: 12288 on 4\n"));
    assert!(out(&record, "step.docker.indexer").contains("stdout: indexed all of it\n"));
    let upload = out(&record, "step.docker.upload");
    assert!(upload.contains("stdout: one\n"), "{upload}");
    assert!(upload.contains("stdout: https://instance.example token-executor REDACTED\n"), "{upload}");
    assert!(record.entries.iter().all(|entry| !entry.out.contains(SECRET)), "{record:#?}");
}

fn out(record: &Record, key: &str) -> String {
    record.entry(key).unwrap().out.clone()
}

/// Every entry has ended, with 0.
fn all_went_well(record: &Record) {
    for entry in &record.entries {
        assert!(entry.exit_code == Some(0) && entry.duration_ms.is_some(), "{entry:#?}");
    }
}
