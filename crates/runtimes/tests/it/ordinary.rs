//! The same tests as an ordinary user: as root of a user namespace, whose other users `/etc/subuid` gives it.
//!
//! Such a test runs in a process of its own, that of this program, under a user that is made up: what names it
//! is mounted over the host's files where only that process sees it.

use crate::harness::{Bench, find, names_in, run_here, wait_until_none};
use runtimes::oci::OwnUsers;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

/// Says to this program that it is that process.
const INSIDE: &str = "EXECUTOR_TEST_ORDINARY";
/// The user and its group, and another group that it is in.
const USER: u32 = 61_384;
const GROUP: u32 = 61_385;
/// Its other users, in the range that distributions give from.
const FIRST: u32 = 0x6000_0000;
const COUNT: u32 = 1 << 16;

/// Takes a directory, this program, and arguments for it.
const AS_USER: &str = r#"set -e
dir=$1 user=$2 group=$3 program=$4; shift 4
mount --bind "$dir/passwd" /etc/passwd
mount --bind "$dir/given" /etc/subuid
mount --bind "$dir/given" /etc/subgid
mount --bind "$program" "$dir/program"
exec setpriv --reuid "$user" --regid "$user" --groups "$group" -- \
    unshare --user --map-root-user --map-auto -- "$dir/program" "$@""#;

/// Runs the test that this thread is, as an ordinary user.
pub(crate) fn run(name: &str, family: &'static str, test: impl AsyncFnOnce(&mut Bench)) {
    if is_inside() {
        return run_here(family, OwnUsers::Never, test);
    }
    for part in [family, "busybox", "newuidmap", "newgidmap", "unshare", "setpriv"] {
        if find(part).is_none() {
            return testkit::missing_part(name, part);
        }
    }
    if !testkit::have_root() {
        return testkit::missing_part(name, "root");
    }
    let dir = tempfile::tempdir().unwrap();
    let user = USER + std::process::id();
    make_up(user, dir.path());
    let test = std::thread::current().name().unwrap().to_owned();
    let ran = Command::new("unshare")
        .args(["--mount", "--", "sh", "-c", AS_USER, "sh"])
        .arg(dir.path())
        .args([user.to_string(), GROUP.to_string()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(INSIDE, "true")
        .env("TMPDIR", dir.path().join("tmp"))
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && said.contains("1 passed"), "{}: {said}", ran.status);
    wait_until_none("processes of the user", || processes_of(user));
}

#[expect(clippy::disallowed_methods, reason = "this process was started with it")]
fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Writes down a user, and gives it a place of its own below `dir`.
fn make_up(user: u32, dir: &Path) {
    // The numbers of tests that run at the same time are not the same: they count each other's processes.
    let first = FIRST + (user - USER) % (1 << 12) * COUNT;
    let known = fs::read_to_string("/etc/passwd").unwrap();
    fs::write(dir.join("passwd"), format!("{known}ordinary:x:{user}:{user}::/:/bin/sh\n")).unwrap();
    fs::write(dir.join("given"), format!("ordinary:{first}:{COUNT}\n")).unwrap();
    fs::write(dir.join("program"), "").unwrap();
    fs::create_dir(dir.join("tmp")).unwrap();
    chown(dir.join("tmp"), Some(user), Some(user)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    fs::set_permissions(dir, mode).unwrap();
}

/// Those that are the user's or one of its others'.
fn processes_of(user: u32) -> Vec<String> {
    let first = FIRST + (user - USER) % (1 << 12) * COUNT;
    let is_its = |pid: &String| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        // It has ended, and the host's first process, which takes its time, has not taken note yet.
        let is_forgotten = status.contains("\nState:\tZ") && status.contains("\nPPid:\t1\n");
        let uid = status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok());
        !is_forgotten && uid.is_some_and(|uid: u32| uid == user || (first..first + COUNT).contains(&uid))
    };
    names_in(Path::new("/proc")).into_iter().filter(is_its).collect()
}
