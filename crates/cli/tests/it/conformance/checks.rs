//! `executor validate`, and what is said at start, against a stock instance.

use super::bench::{Bench, SECRET};
use crate::support::text;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use testkit::stock_server::{Fault, RECOMMENDED_SRC};

/// Tells which src the instance recommends.
const SRC_VERSION: &str = "/.api/src-cli/version";

/// Its exit code and all it said.
fn validate(bench: &Bench) -> (Option<i32>, String) {
    let output = bench.command("validate").env("EXECUTOR_QUEUE_NAME", "batches").output().unwrap();
    (output.status.code(), text(&output))
}

#[test]
fn the_shared_secret_is_tried() {
    let Some(bench) = Bench::new("the_shared_secret_is_tried") else { return };
    let (code, said) = validate(&bench);
    assert_eq!(code, Some(0), "{said}");
    let tests = bench.server.named("/.executors/test/auth");
    assert_eq!(tests.len(), 1, "{said}");
    assert_eq!((tests[0].method.as_str(), tests[0].text().as_str()), ("GET", "null"));
    assert_eq!(tests[0].header("content-type"), Some("application/json"));
    bench.server.fault("/.executors/test/auth", [Fault::status(401), Fault::status(404)]);
    for told in [
        "failed to authorize with frontend, is executors.accessToken set correctly in the site-config?",
        "failed to validate authorization token: unexpected status code 404",
    ] {
        let (code, said) = validate(&bench);
        assert!(code == Some(1) && said.contains(told), "{told:?} in {said}");
    }
    bench.check();
}

/// A directory of programs: git as it is, and these scripts.
fn programs(dir: &Path, scripts: &[(&str, &str)]) {
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir(dir).unwrap();
    for (name, script) in [("git", "echo git version 2.47.0")].iter().chain(scripts) {
        let program = dir.join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Where steps of src run on this host, it is judged after git, and before the host and the token.
#[test]
fn src_is_judged_with_the_documented_words() {
    const NO_DOCKER: &str = "docker not found in PATH, is it installed?\nCheck out \
                             https://docs.docker.com/get-docker/ on how to install.";
    const NO_SRC: &str = "src not found in PATH, is it installed?\nRun executor install src-cli, or refer to \
                          https://github.com/sourcegraph/src-cli to install src-cli yourself.";
    let Some(bench) = Bench::new("src_is_judged_with_the_documented_words") else { return };
    let bin = bench.dir.path().join("bin");
    let judge = |args: &[&str], scripts: &[(&str, &str)]| {
        programs(&bin, scripts);
        let output = bench
            .command(args[0])
            .args(&args[1..])
            .env("EXECUTOR_QUEUE_NAME", "batches")
            .env("EXECUTOR_RUNTIME", "docker")
            .env("EXECUTOR_SRC_STEPS", "true")
            .env("PATH", &bin)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let said = String::from_utf8(output.stderr).unwrap();
        said.trim_end().strip_prefix("executor: ").unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    let docker = ("docker", "exit 1");
    for args in [&["validate"][..], &["run", "--verify"]] {
        let both = format!("2 errors occurred:\n\t* {NO_DOCKER}\n\t* {NO_SRC}");
        assert_eq!(judge(args, &[]), both, "{args:?}");
        assert_eq!(judge(args, &[docker]), NO_SRC, "{args:?}");
        assert_eq!(
            judge(args, &[docker, ("src", "echo broken; exit 3")]),
            "failed to get src-cli version, is it installed?: 'src version -client-only': broken: exit status: 3"
        );
        assert_eq!(
            judge(args, &[docker, ("src", "echo Current version: 5.4.9")]),
            format!(
                "installed src-cli is not the recommended version, consider switching actual=5.4.9, \
                 recommended={RECOMMENDED_SRC}"
            )
        );
        bench.server.fault(SRC_VERSION, [Fault::status(503)]);
        assert_eq!(
            judge(args, &[docker, ("src", "echo Current version: 5.5.0")]),
            "cannot retrieve latest compatible src-cli version: unexpected status code 503"
        );
    }
    let asked = bench.server.named(SRC_VERSION);
    assert_eq!((asked.len(), asked[0].method.as_str(), asked[0].text().as_str()), (10, "GET", "null"));
    assert_eq!(asked[0].header("authorization"), Some(format!("token-executor {SECRET}").as_str()));
    assert_eq!(bench.server.named("/.executors/test/auth").len(), 0, "the first that fails is the last");
    bench.check();
}

/// An instance in its default settings sends calls of src to whoever serves this queue.
#[test]
fn an_executor_that_runs_no_src_says_so_before_its_first_job() {
    const REFUSED: &str = "jobs of the queue batches are calls of src unless the instance's site configuration has \
                           \"batchChanges.nativeServerSideExecution\": true, and those are refused here; ";
    const UNTOLD: &str =
        "note: the control plane did not tell whether it sends calls of src, which are refused here; ";
    let test = "an_executor_that_runs_no_src_says_so_before_its_first_job";
    let Some(mut bench) = Bench::new(test) else { return };
    let warning = format!("warning: {REFUSED}");
    for args in [&["validate"][..], &["run", "--verify"], &["run"]] {
        let strict = bench
            .command(args[0])
            .args(&args[1..])
            .envs([("EXECUTOR_QUEUE_NAMES", "codeintel,batches"), ("EXECUTOR_STRICT", "true")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&strict.stderr);
        assert_eq!(strict.status.code(), Some(1), "{args:?}: {said}");
        let refusal = format!("executor: refused under EXECUTOR_STRICT: {REFUSED}");
        assert!(said.starts_with(&refusal) && said.lines().count() == 1, "{args:?}: {said}");
    }
    let validate = |queue: &str, changes: &[(&str, &str)]| {
        let mut command = bench.command("validate");
        let output =
            command.env("EXECUTOR_QUEUE_NAME", queue).envs(changes.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        text(&output)
    };
    let said = validate("batches", &[]);
    assert!(said.contains(&warning) && said.contains("All checks passed!"), "{said}");
    for quiet in [
        validate("codeintel", &[]),
        validate("batches", &[("EXECUTOR_SRC_STEPS", "false"), ("EXECUTOR_STRICT", "false")]),
    ] {
        assert!(!quiet.contains("src"), "{quiet}");
    }
    bench.server.fault(SRC_VERSION, [Fault::status(503)]);
    let said = validate("batches", &[]);
    assert!(said.contains(UNTOLD), "{said}");
    bench.start();
    let lines = bench.agent().lines();
    assert!(lines.iter().any(|line| line.starts_with(&warning)), "{lines:?}");
    // Told to leave before it has reached the instance, it says that it never did.
    bench.heard("dequeue", 1);
    bench.end();
}
