//! Clones by the real git, from a real repository, through the agent's proxy.

mod broken;

use crate::support::repository::{git, names, plan, repository};
use crate::support::{Act, Harness, LIMIT};
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use testkit::SmallDisk;
use testkit::stock_server::CLONED;

#[tokio::test]
async fn a_repository_is_cloned_with_the_documented_entries() {
    let repository = repository(|dir| {
        std::fs::create_dir(dir.join("src")).unwrap();
        std::fs::write(dir.join("src/a.txt"), "A").unwrap();
    });
    let change = |payload: &mut Value| {
        payload["repositoryDirectory"] = json!("repo/here");
        payload["shallowClone"] = json!(true);
    };
    let harness = Harness::start(plan(&repository, change), Vec::new());
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markComplete", "{body}: {:#?}", harness.plane.plan().entries);
    let opened = harness.runtime.opened()[0].clone();
    assert_eq!(names(&opened.files), ["repo/here/src/a.txt"]);
    let script = opened.files[0].0.clone();
    assert_eq!(script, format!(".sourcegraph-executor/1.0_github.com_foo_bar@{}.sh", repository.commit));

    let entries = harness.plane.plan().entries.clone();
    let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, [&CLONED[..], &["step.docker.a", "teardown.fs"]].concat());
    assert!(entries.iter().all(|entry| entry.exit_code == Some(0)), "{entries:?}");
    assert!(entries[0].out.starts_with("stdout: Initialized empty Git repository"), "{}", entries[0].out);
    assert_eq!(entries[0].command[0], "git");
    assert_eq!(entries[5].command[6], "github.com/foo/bar");
    harness.end().await;
}

#[tokio::test]
async fn a_sparse_checkout_has_only_what_was_asked_for() {
    let repository = repository(|dir| {
        std::fs::create_dir(dir.join("keep")).unwrap();
        std::fs::write(dir.join("keep/a"), "A").unwrap();
        std::fs::write(dir.join("drop"), "B").unwrap();
    });
    let change = |payload: &mut Value| payload["sparseCheckout"] = json!(["/keep/"]);
    let harness = Harness::start(plan(&repository, change), Vec::new());
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markComplete", "{body}: {:#?}", harness.plane.plan().entries);
    assert_eq!(names(&harness.runtime.opened()[0].files), ["keep/a"]);
    harness.end().await;
}

#[tokio::test]
async fn an_unknown_commit_reads_clearly() {
    let repository = repository(|dir| std::fs::write(dir.join("a"), "A").unwrap());
    let commit = "0123456789012345678901234567890123456789";
    let change = |payload: &mut Value| payload["commit"] = json!(commit);
    let harness = Harness::start(plan(&repository, change), Vec::new());
    let (mark, body) = harness.marked().await;
    let message = body["errorMessage"].as_str().unwrap();
    assert_eq!((mark.as_str(), &body["end"]["reason"]), ("markErrored", &json!("checkout")));
    assert!(
        message.starts_with("creating workspace: failed setup.git.fetch: command failed with exit code "),
        "{message}"
    );
    assert!(
        message.ends_with(&format!("(repository github.com/foo/bar has no commit {commit})")),
        "{message}"
    );
    assert!(harness.runtime.opened()[0].closed);
    harness.end().await;
}

#[tokio::test]
async fn arguments_that_git_could_misread_do_not_reach_it() {
    let repository = repository(|dir| std::fs::write(dir.join("a"), "A").unwrap());
    for (key, value) in [
        ("commit", "--upload-pack=touch /tmp/pwned"),
        ("commit", ""),
        ("repositoryName", "-x"),
        ("repositoryName", "github.com/../../secret"),
        ("repositoryDirectory", "../out"),
    ] {
        let change = |payload: &mut Value| payload[key] = json!(value);
        let harness = Harness::start(plan(&repository, change), Vec::new());
        assert_eq!(harness.marked().await.1["end"]["reason"], "bad_job", "{key} {value}");
        assert!(harness.plane.plan().entry("setup.git.init").is_none());
        harness.end().await;
    }
}

#[tokio::test]
async fn a_symlink_in_the_repository_leads_no_file_outside() {
    let outside = tempfile::tempdir().unwrap();
    let repository = repository(|dir| {
        std::os::unix::fs::symlink(outside.path(), dir.join("out")).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.join(".sourcegraph-executor")).unwrap();
    });
    for files in [json!({"out/file": {"content": ""}}), json!({})] {
        let change = |payload: &mut Value| payload["files"] = files;
        let harness = Harness::start(plan(&repository, change), Vec::new());
        let (_, body) = harness.marked().await;
        let message = body["errorMessage"].as_str().unwrap();
        assert!(
            message.starts_with("creating workspace: refusing to write outside of working directory"),
            "{message}"
        );
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        harness.end().await;
    }
}

#[tokio::test]
async fn the_proxy_serves_our_git_alone_and_only_while_it_clones() {
    let repository = repository(|dir| std::fs::write(dir.join("a"), "A").unwrap());
    let mut scripted = plan(&repository, |_| {});
    let extra = scripted.extra.take().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel();
    // While git waits for an answer, somebody else on this host tries its luck.
    scripted.extra = Some(Box::new(move |call, body| {
        if call.path.contains("info/refs") {
            tell.send(()).unwrap();
            gone.recv_timeout(LIMIT).unwrap();
        }
        extra(call, body)
    }));
    let harness = Harness::start(scripted, Vec::new());
    tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
    let config = harness.runtime.opened()[0].workspace.join(".git/config");
    let config = std::fs::read_to_string(config).unwrap();
    let url = config.lines().find_map(|line| line.trim().strip_prefix("url = ")).unwrap().to_owned();
    assert!(!config.contains("x-executor-clone"), "the nonce is in no file");
    let client = reqwest::Client::new();
    let path = format!("{url}/info/refs?service=git-upload-pack");
    let answer = client.get(&path).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    let answer = client.get(&path).header("x-executor-clone", "0".repeat(32)).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    go.send(()).unwrap();
    assert_eq!(harness.marked().await.0, "markComplete");
    assert!(client.get(&path).send().await.is_err(), "the proxy is gone, kept connections included");
    harness.end().await;
}

#[tokio::test]
async fn step_scripts_are_no_part_of_what_the_job_changed() {
    let repository = repository(|dir| std::fs::write(dir.join("a"), "A").unwrap());
    let changes = |workspace: &Path| {
        std::fs::write(workspace.join("new"), "N").unwrap();
        assert!(workspace.join(".sourcegraph-executor").is_dir());
        assert_eq!(git(workspace, &["status", "--porcelain", "--untracked-files=all"]), "?? new");
        assert_eq!(git(workspace, &["add", "--all", "--dry-run"]), "add 'new'");
    };
    let harness = Harness::start(plan(&repository, |_| {}), vec![vec![Act::Do(changes)]]);
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markComplete", "{body}");
    harness.end().await;
}

#[tokio::test]
async fn a_repository_that_the_jobs_disk_has_no_room_for_fills_it() {
    let test = "a_repository_that_the_jobs_disk_has_no_room_for_fills_it";
    let Some(disk) = SmallDisk::mount(test, 16 << 20) else { return };
    let repository = repository(|dir| {
        let mut random = std::fs::File::open("/dev/urandom").unwrap().take(8 << 20);
        std::io::copy(&mut random, &mut std::fs::File::create(dir.join("large")).unwrap()).unwrap();
    });
    let harness = Harness::start_in(&disk.path(), plan(&repository, |_| {}), Vec::new(), |config| {
        config.limits.disk = Some(16 << 20);
        disk.fill(1 << 20);
    });
    let (mark, body) = harness.marked().await;
    assert_eq!(
        (mark.as_str(), &body["end"]),
        ("markErrored", &json!({"reason": "disk_full", "limit": 16 << 20}))
    );
    let message = body["errorMessage"].as_str().unwrap();
    assert!(
        message.starts_with("creating workspace: failed setup.git.fetch: command failed with exit code "),
        "{message}"
    );
    harness.end().await;
}
