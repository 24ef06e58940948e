//! Jobs of the queue `batches` as an instance in its default settings hands them out: one call of `src`, which
//! makes the containers.
//!
//! `src` itself can't be had here. A shell script stands in for it, with Docker's own client: it is asked, and
//! asks the engine, as documented.

use super::bench::Bench;
use super::repository::{NAME, Repository};
use crate::adoption::kill;
use crate::support::{SOON, files_below, text, wait};
use crate::ties::{mark, sleepers};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use testkit::stock_server::{Answer, CLONED, Fault, State, StockJob};
use testkit::{Engine, EngineKind};

/// The script, around what it does in the middle.
const SRC: &str = r#"#!/bin/sh
set -e
[ "$*" = 'version -client-only' ] && { echo 'Current version: 5.5.0'; exit; }
[ "$*" = 'batch exec -f input.json -repo repository -tmp .src-tmp' ] || { echo "odd call: $*" >&2; exit 64; }
cat input.json; echo
mkdir .src-tmp
DO
"#;

/// One step of a workspace.
const STEP: &str = r#"echo 'cat main.txt; echo "$TOKEN"; echo changed > main.txt' > .src-tmp/step0.sh
docker run --rm --init --workdir /work/src --mount "type=bind,source=$PWD/repository,target=/work" \
  --mount "type=bind,source=$PWD/.src-tmp/step0.sh,target=/tmp/step0.sh,readonly" --env TOKEN \
  --entrypoint /bin/sh -- busybox /tmp/step0.sh
git -C repository diff --stat
cat "$DOCKER_CONFIG/config.json""#;

/// A bench whose executor has an engine and a `src` that does `script`.
struct WithSrc {
    bench: Bench,
    engine: Engine,
}

impl WithSrc {
    fn new(test: &str, script: &str) -> Option<Self> {
        let engine = Engine::shared(test, EngineKind::Docker)?;
        let bench = Bench::new(test)?;
        engine.load("busybox", &testkit::image::busybox_image()?);
        let src = bench.dir.path().join("bin/src");
        fs::create_dir(src.parent().unwrap()).unwrap();
        fs::write(&src, SRC.replace("DO", script)).unwrap();
        fs::set_permissions(&src, fs::Permissions::from_mode(0o755)).unwrap();
        Some(Self { bench, engine })
    }

    /// Starts an executor that is told no more than the reference would be.
    fn start(&mut self) {
        let command = self.command("run");
        self.bench.start_command(command);
    }

    /// A command of an executor with an engine.
    #[expect(clippy::disallowed_methods, reason = "programs are found where the test finds them")]
    fn command(&self, name: &str) -> Command {
        let dir = self.bench.dir.path();
        let work = dir.join("work");
        fs::create_dir_all(&work).unwrap();
        let path = format!("{}:{}", dir.join("bin").display(), std::env::var("PATH").unwrap());
        let mut command = self.bench.command(name);
        command
            .env_remove("EXECUTOR_RUNTIME")
            .env("EXECUTOR_USE_FIRECRACKER", "false")
            .env("EXECUTOR_QUEUE_NAME", "batches")
            .env("DOCKER_HOST", self.engine.host())
            .env("EXECUTOR_DOCKER_NETWORK", "none")
            .env("EXECUTOR_DOCKER_SHARED_IMAGES", (!self.engine.knows_what_was_loaded()).to_string())
            .env("TMPDIR", work)
            .env("PATH", path);
        command
    }

    fn job(&self, id: i64) -> StockJob {
        let command = ["batch", "exec", "-f", "input.json", "-repo", "repository", "-tmp", ".src-tmp"];
        let repository = Repository::served_by(&self.bench);
        StockJob::new("batches", id)
            .set("repositoryName", json!(NAME))
            .set("repositoryDirectory", json!("repository"))
            .set("commit", json!(repository.commits[1]))
            .set(
                "cliSteps",
                json!([{ "key": "batch-exec", "command": command, "dir": ".", "env": ["TOKEN=s3cret-of-the-user"] }]),
            )
            .set("redactedValues", json!({ "s3cret-of-the-user": "${{ secrets.TOKEN }}" }))
            .set("dockerAuthConfig", json!({ "auths": { "r.example": { "auth": "dTpwNHNzd29yZA==" } } }))
            .file("input.json", b"{}")
    }

    fn end(mut self) {
        let work = self.bench.dir.path().join("work");
        self.bench.agent_stops();
        assert_eq!(fs::read_dir(work).unwrap().count(), 0);
        self.bench.check();
    }
}

#[test]
fn a_job_of_src_runs_its_containers_by_the_executors_engine() {
    let test = "a_job_of_src_runs_its_containers_by_the_executors_engine";
    let Some(mut with) = WithSrc::new(test, STEP) else { return };
    with.bench.server.give(with.job(1));
    with.start();
    let record = with.bench.completed(1);
    assert_eq!(record.keys(), [&CLONED[..], &["step.src.batch-exec", "teardown.fs"]].concat());
    let entry = record.entry("step.src.batch-exec").unwrap();
    assert_eq!(entry.command[1], "batch");
    let lines: Vec<&str> = entry.out.lines().collect();
    assert_eq!(lines[..3], ["stdout: {}", "stdout: two", "stdout: ${{ secrets.TOKEN }}"], "{}", entry.out);
    assert!(entry.out.contains("src/main.txt | 2 +-"), "{}", entry.out);
    assert!(entry.out.contains(r#"{"auths":{"r.example":{"auth":"SECRET_REMOVED"}}}"#), "{}", entry.out);
    assert!(!record.entries.iter().any(|entry| entry.out.contains("p4ssword")), "{record:#?}");
    let told = with.bench.server.named("heartbeat");
    assert_eq!(told[0].json()["srcCliVersion"], "5.5.0");
    with.end();
}

/// Whoever may give a job secrets chooses their names.
#[test]
fn a_secret_that_programs_on_the_host_would_heed_is_refused() {
    let test = "a_secret_that_programs_on_the_host_would_heed_is_refused";
    let Some(mut with) = WithSrc::new(test, "echo ran") else { return };
    let command = ["batch", "exec", "-f", "input.json", "-repo", "repository", "-tmp", ".src-tmp"];
    let env = ["LD_PRELOAD=repository/x.so"];
    let step = json!([{ "key": "batch-exec", "command": command, "dir": ".", "env": env }]);
    with.bench.server.give(with.job(1).set("cliSteps", step));
    with.start();
    let record = with.bench.ended("batches", 1);
    assert_eq!(record.entries, []);
    let message = record.message.unwrap();
    assert!(
        message.starts_with("failed to perform src-cli step: the step's variable LD_PRELOAD can't be given"),
        "{message}"
    );
    with.end();
}

/// A repository's own settings can name programs, which git starts wherever it runs.
#[test]
fn what_a_repository_has_git_start_sees_nothing_of_the_host() {
    let test = "what_a_repository_has_git_start_sees_nothing_of_the_host";
    let taken_over = r#"mkdir -p repository/.git/hooks
git -C repository config core.fsmonitor 'sh -c "ls /var /root; id -u; touch /usr/owned" 1>&2; false'
git -C repository status --short 2>&1
[ -e /etc/shadow ] && echo seen; echo /*"#;
    let Some(mut with) = WithSrc::new(test, taken_over) else { return };
    with.bench.server.give(with.job(1));
    with.start();
    let record = with.bench.completed(1);
    let out = &record.entry("step.src.batch-exec").unwrap().out;
    assert!(out.contains("'/var': No such file") || out.contains("/var: No such file"), "{out}");
    assert!(out.contains("Read-only file system"), "{out}");
    assert!(!std::path::Path::new("/usr/owned").exists());
    assert!(!out.contains("stdout: seen"), "{out}");
    with.end();
}

#[test]
fn a_job_of_src_that_is_canceled_takes_its_containers_along() {
    let test = "a_job_of_src_that_is_canceled_takes_its_containers_along";
    let wait = "docker run --detach busybox sleep 600; docker run busybox sh -c 'echo begun; sleep 600'";
    let Some(mut with) = WithSrc::new(test, wait) else { return };
    with.bench.server.give(with.job(1));
    with.start();
    with.bench.logged(1, "step.src.batch-exec", "begun");
    with.bench.server.cancel("batches", 1);
    assert_eq!(with.bench.ended("batches", 1).state, State::Canceled);
    with.end();
}

/// Whoever takes the job next finds nothing of it at work.
#[test]
fn a_step_of_src_goes_with_the_supervisor_that_is_killed() {
    let test = "a_step_of_src_goes_with_the_supervisor_that_is_killed";
    let mark = mark();
    let script = format!("(setsid sleep {mark} > /dev/null 2>&1 &); echo begun; sleep {mark}");
    let Some(mut with) = WithSrc::new(test, &script) else { return };
    with.bench.server.give(with.job(1));
    with.start();
    with.bench.logged(1, "step.src.batch-exec", "begun");
    let sleeping = wait(SOON, "what src starts", || Some(sleepers(&mark)).filter(|all| all.len() == 2));
    let records =
        files_below(&with.bench.dir.path().join("agent-data/agent/jobs"), &|path| path.ends_with("job.json"));
    let record: serde_json::Value = serde_json::from_slice(&fs::read(&records[0]).unwrap()).unwrap();
    kill(record["pid"].as_u64().unwrap().try_into().unwrap());
    let record = with.bench.ended("batches", 1);
    assert_eq!(sleepers(&mark), Vec::<String>::new(), "of {sleeping:?}");
    assert_eq!(record.state, State::Errored);
    assert_eq!(record.message.unwrap(), "the process that ran the job was killed on its executor");
    with.end();
}

#[test]
fn a_step_of_src_that_fails_is_told_as_documented() {
    let Some(mut with) = WithSrc::new("a_step_of_src_that_fails_is_told_as_documented", "exit 3") else {
        return;
    };
    with.bench.server.give(with.job(1));
    with.start();
    let record = with.bench.ended("batches", 1);
    let message = record.message.as_deref().unwrap();
    assert_eq!(message, "failed to perform src-cli step: command failed with exit code 3");
    assert_eq!(record.entry("step.src.batch-exec").unwrap().exit_code, Some(3));
    with.end();
}

/// A patch release that is behind does what it is asked for, and an instance that recommends none sends no such steps.
#[test]
fn a_src_that_is_behind_is_a_warning_and_none_is_needed_where_none_is_recommended() {
    let test = "a_src_that_is_behind_is_a_warning_and_none_is_needed_where_none_is_recommended";
    let Some(with) = WithSrc::new(test, "true") else { return };
    let validate = || {
        let output = with.command("validate").env("SRC_LOG_LEVEL", "warn").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert!(
            String::from_utf8_lossy(&output.stdout).ends_with("All checks passed!\n"),
            "{}",
            text(&output)
        );
        text(&output)
    };
    let newer = Answer::json(&json!({ "version": "5.5.3" }));
    with.bench.server.fault("/.api/src-cli/version", [Fault::Instead(newer), Fault::status(404)]);
    let warning =
        "consider upgrading actual=5.5.0, latest=5.5.3: installed src-cli is not the latest version";
    assert!(validate().contains(warning));
    fs::remove_file(with.bench.dir.path().join("bin/src")).unwrap();
    assert!(!validate().contains("src"));
    with.bench.check();
}

/// A deliberate difference: `src` runs on the host, so only whoever had it there already gets it unasked.
#[test]
fn a_job_of_src_is_refused_before_anything_is_made_where_it_may_not_run() {
    let test = "a_job_of_src_is_refused_before_anything_is_made_where_it_may_not_run";
    let Some(mut bench) = Bench::new(test) else { return };
    let src = json!([{"key": "batch-exec", "command": ["batch", "exec", "-f", "input.json"], "dir": ".", "env": []}]);
    bench.server.give(StockJob::new("batches", 1).set("cliSteps", src).file("input.json", b"{}"));
    bench.server.give(StockJob::new("batches", 2).step("", &["true"]));
    bench.start();
    let record = bench.ended("batches", 1);
    assert_eq!(record.state, State::Errored, "{record:#?}");
    assert!(record.message.unwrap().contains("batchChanges.nativeServerSideExecution"));
    assert_eq!(record.entries, []);
    bench.completed(2);
    bench.end();
}
