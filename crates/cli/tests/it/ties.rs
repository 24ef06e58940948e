//! `kill -9` of a supervisor while a program on this host works for its job.

use crate::adoption::kill;
use crate::leftovers::nothing_is_left;
use crate::support::{SOON, System, wait};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// A git that fetches in a way of its own: it leaves something running, and where `DIR/stall` is, it asks a server that never
/// answers.
const GIT: &str = r#"#!/bin/sh
case " $* " in *" fetch "*)
  (setsid sh -c 'touch DIR/up; exec sleep MARK' > /dev/null 2>&1 < /dev/null &)
  until [ -e DIR/up ]; do :; done
  rm DIR/up
  [ -e DIR/stall ] && exec GIT -c http.proxy=http://SILENT "$@" ;;
esac
exec GIT "$@"
"#;

/// A number of seconds that nobody else sleeps for.
pub(crate) fn mark() -> String {
    static MARKS: AtomicU32 = AtomicU32::new(0);
    format!("6{:07}{:02}", std::process::id(), MARKS.fetch_add(1, Ordering::Relaxed))
}

/// The processes that sleep for so long.
pub(crate) fn sleepers(mark: &str) -> Vec<String> {
    processes(|line| line.starts_with(&format!("sleep {mark}")))
}

/// Numbers and command lines of those whose command line is such a one.
fn processes(wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let line = |entry: std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        wanted(&line).then(|| format!("{}: {line}", entry.file_name().display()))
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(line).collect()
}

/// Puts a git before the real one, and tells the search path for that.
#[expect(clippy::disallowed_methods, reason = "programs are found where the test finds them")]
fn git_of_its_own(dir: &Path, silent: &str, mark: &str) -> String {
    let path = std::env::var("PATH").unwrap();
    let real = std::env::split_paths(&path).map(|dir| dir.join("git")).find(|git| git.exists()).unwrap();
    let script = GIT.replace("DIR", &dir.display().to_string()).replace("SILENT", silent);
    let script = script.replace("MARK", mark).replace("GIT", &real.display().to_string());
    std::fs::write(dir.join("git"), script).unwrap();
    std::fs::set_permissions(dir.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{path}", dir.display())
}

#[test]
fn a_clone_whose_supervisor_is_killed_leaves_nothing_and_is_tried_again() {
    let test = "a_clone_whose_supervisor_is_killed_leaves_nothing_and_is_tried_again";
    let (dir, mark) = (tempfile::tempdir().unwrap(), mark());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let path = git_of_its_own(dir.path(), &address, &mark);
    let Some(mut system) = System::with(test, &[("PATH", &path)]) else { return };
    let (repository, _) = system.git_repository();
    system.ok(&["repo", "add", "app", &repository]);
    let agent = system.agent();
    std::fs::write(dir.path().join("stall"), "").unwrap();
    let args =
        ["job", "run", "--detach", "--image", "busybox", "--repo", "app", "--step", "cat sub/file.txt"];
    let id = system.ok(&args).trim().to_owned();
    // It has begun to ask, and waits for an answer.
    let (_asks, _) = silent.accept().unwrap();
    let left = wait(SOON, "what git leaves", || Some(sleepers(&mark)).filter(|left| !left.is_empty()));
    let begun = [left, processes(|line| line.contains(&address))].concat();
    assert!(begun.len() > 1, "{begun:?}");
    std::fs::remove_file(dir.path().join("stall")).unwrap();
    kill(system.supervisor_of(&id).unwrap());
    wait(SOON, "another attempt", || (system.show(&id)["attempt"] != 1).then_some(()));
    let still = processes(|_| true).into_iter().filter(|process| begun.contains(process));
    assert_eq!(still.collect::<Vec<_>>(), Vec::<String>::new(), "the first is over before the second begins");

    let job = system.wait_for_state(&id, "completed");
    assert_eq!(job["attempt"], 2, "{job}");
    assert!(system.ok(&["job", "logs", &id]).contains("two"));
    assert_eq!(sleepers(&mark), Vec::<String>::new(), "also of the one that has ended by itself");
    agent.stop();
    nothing_is_left(system.dir.path());
}
