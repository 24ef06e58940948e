//! The clone of a job's repository: which commands are told, in which order, and what they leave in the workspace.

use super::bench::Bench;
use super::repository::{NAME, Repository};
use serde_json::json;
use testkit::stock_server::{Record, State, StockJob};

/// Shows what a clone left. Busybox has no git, so the repository's own files have to tell.
const LOOK: &str = "{ set +x; } 2>/dev/null; cd /data/repo 2>/dev/null || cd /data; cat .git/HEAD .git/shallow; \
    grep url .git/config; ls .git/refs/tags; grep -o 'refs/tags/.*' .git/packed-refs; ls -d README src/main.txt docs/guide.txt; true";

fn job(id: i64, repository: &Repository) -> StockJob {
    StockJob::new("batches", id)
        .set("repositoryName", json!(NAME))
        .set("commit", json!(repository.commits[1]))
        .step("look", &[LOOK])
}

/// Key and arguments of each git command, with `R` for the directory.
fn commands(record: &Record) -> Vec<String> {
    let git = record.entries.iter().filter(|entry| entry.key.starts_with("setup.git."));
    let lines = git.map(|entry| {
        let argv: Vec<&str> =
            entry.command.as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
        let [git, c, _, rest @ ..] = &argv[..] else { panic!("{argv:?}") };
        let rest = rest.iter().map(|part| if part.starts_with("http://127.0.0.1:") { "URL" } else { part });
        format!("{}: {git} {c} R {}", entry.key, rest.collect::<Vec<_>>().join(" "))
    });
    lines.collect()
}

/// What the job's own step saw.
fn seen(record: &Record) -> Vec<String> {
    let out = &record.entry("step.docker.look").unwrap().out;
    out.lines().filter_map(|line| line.strip_prefix("stdout: ")).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_plain_clone_has_the_commit_and_its_history() {
    let Some(mut bench) = Bench::new("a_plain_clone_has_the_commit_and_its_history") else { return };
    let repository = Repository::served_by(&bench);
    let commit = &repository.commits[1];
    bench.server.give(job(1, &repository));
    bench.server.give(job(2, &repository).set("fetchTags", json!(true)));
    bench.start();
    let record = bench.completed(1);
    assert_eq!(
        commands(&record),
        [
            "setup.git.init: git -C R init".to_owned(),
            "setup.git.add-remote: git -C R remote add origin URL".to_owned(),
            "setup.git.disable-gc: git -C R config --local gc.auto 0".to_owned(),
            format!(
                "setup.git.fetch: git -C R -c protocol.version=2 fetch --progress --no-recurse-submodules origin {commit}"
            ),
            format!("setup.git.checkout: git -C R checkout --progress --force {commit}"),
            format!("setup.git.set-remote: git -C R remote set-url origin {NAME}"),
        ]
    );
    let all = ["README", "docs/guide.txt", "src/main.txt"];
    let url = format!("url = {NAME}");
    assert_eq!(seen(&record), [&[commit.as_str(), &url][..], &all].concat());
    let record = bench.completed(2);
    assert!(commands(&record)[3].contains(" --no-recurse-submodules --tags origin "));
    assert_eq!(seen(&record), [&[commit.as_str(), &url, "v1"][..], &all].concat());
    bench.end();
}

#[test]
fn a_shallow_clone_has_one_commit() {
    let Some(mut bench) = Bench::new("a_shallow_clone_has_one_commit") else { return };
    let repository = Repository::served_by(&bench);
    let commit = repository.commits[1].as_str();
    let below =
        |id| job(id, &repository).set("shallowClone", json!(true)).set("repositoryDirectory", json!("repo"));
    bench.server.give(below(1));
    bench.server.give(below(2).set("fetchTags", json!(true)));
    bench.start();
    let record = bench.completed(1);
    assert!(commands(&record)[3].contains(" --no-recurse-submodules --no-tags --depth=1 origin "));
    let path = record.entries[0].command[2].as_str().unwrap();
    assert!(path.ends_with("/repo"), "{path}");
    assert_eq!(seen(&record)[..2], [commit, commit], "it is where its history begins");
    let record = bench.completed(2);
    assert!(commands(&record)[3].contains(" --no-recurse-submodules --tags --depth=1 origin "));
    assert!(seen(&record).contains(&"v1".to_owned()));
    bench.end();
}

#[test]
fn a_sparse_clone_has_what_its_patterns_name() {
    let Some(mut bench) = Bench::new("a_sparse_clone_has_what_its_patterns_name") else { return };
    let repository = Repository::served_by(&bench);
    let commit = &repository.commits[1];
    let sparse = job(1, &repository)
        .set("shallowClone", json!(true))
        .set("sparseCheckout", json!(["/src/*", "/README"]));
    bench.server.give(sparse);
    bench.start();
    let record = bench.completed(1);
    assert_eq!(
        commands(&record)[3..],
        [
            format!(
                "setup.git.fetch: git -C R -c protocol.version=2 fetch --progress --no-recurse-submodules --no-tags --depth=1 \
                 --filter=blob:none origin {commit}"
            ),
            "setup.git.sparse-checkout-config: git -C R config --local core.sparseCheckout 1".to_owned(),
            "setup.git.sparse-checkout-set: git -C R sparse-checkout set --no-cone -- /src/* /README"
                .to_owned(),
            format!(
                "setup.git.checkout: git -C R -c protocol.version=2 checkout --progress --force {commit}"
            ),
            format!("setup.git.set-remote: git -C R remote set-url origin {NAME}"),
        ]
    );
    let files: Vec<String> =
        seen(&record).into_iter().filter(|line| line.contains(".txt") || line == "README").collect();
    assert_eq!(files, ["README", "src/main.txt"]);
    bench.end();
}

#[test]
fn a_commit_or_a_repository_that_is_not_there_fails_the_job() {
    let Some(mut bench) = Bench::new("a_commit_or_a_repository_that_is_not_there_fails_the_job") else {
        return;
    };
    let repository = Repository::served_by(&bench);
    bench.server.give(job(1, &repository).set("commit", json!("0".repeat(40).replace('0', "e"))));
    bench.server.give(job(2, &repository).set("repositoryName", json!("github.com/acme/other")));
    bench.start();
    for id in [1, 2] {
        let record = bench.ended("batches", id);
        assert_eq!(record.state, State::Errored);
        let message = record.message.clone().unwrap();
        assert!(
            message
                .starts_with("creating workspace: failed setup.git.fetch: command failed with exit code 128"),
            "{message}"
        );
        assert_eq!(record.keys()[3..], ["setup.git.fetch", "teardown.fs"]);
        assert_eq!(record.entry("setup.git.fetch").unwrap().exit_code, Some(128));
    }
    bench.end();
}
