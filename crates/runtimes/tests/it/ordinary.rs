//! The same tests as an ordinary user: as root of a user namespace, whose other users `/etc/subuid` gives it.
//!
//! Such a test runs in a process of its own, that of this program, under a user that is made up.

use crate::harness::{Bench, find, path_of, run_here, wait_until_none};
use runtimes::oci::{NetworkOptions, OwnUsers};
use std::fs;
use std::path::PathBuf;
use testkit::MadeUpUser;

/// Says to this program that it is that process.
const INSIDE: &str = "EXECUTOR_TEST_ORDINARY";
/// Says where it finds the runtime and what helps it, which may lie where no ordinary user comes to.
const PROGRAMS: &str = "EXECUTOR_TEST_PROGRAMS";
/// Makes the user root of a namespace.
const AS_ROOT: [&str; 5] = ["unshare", "--user", "--map-root-user", "--map-auto", "--"];

/// What helps a runtime, where it was built.
const HELPER: &str = env!("CARGO_BIN_EXE_runtimes-test-helper");

/// The same, for this process.
pub(crate) fn helper() -> PathBuf {
    programs().map_or_else(|| HELPER.into(), |programs| programs.join("helper"))
}

/// Runs the test that this thread is, as an ordinary user.
pub(crate) fn run(
    name: &str,
    family: &'static str,
    network: &NetworkOptions,
    test: impl AsyncFnOnce(&mut Bench),
) {
    if is_inside() {
        return run_here(family, OwnUsers::Never, network, test);
    }
    for part in [family, "busybox"] {
        if find(part).is_none() {
            return testkit::missing_part(name, part);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(user) = MadeUpUser::new(name, dir.path()) else { return };
    user.own_dir(&dir.path().join("tmp"));
    let programs = dir.path().join("programs");
    user.own_dir(&programs);
    fs::copy(path_of(family), programs.join(family)).unwrap();
    fs::copy(HELPER, programs.join("helper")).unwrap();
    let test = std::thread::current().name().unwrap().to_owned();
    let ran = user
        .command(&AS_ROOT, &std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(INSIDE, "true")
        .env(PROGRAMS, programs)
        .env("TMPDIR", dir.path().join("tmp"))
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && said.contains("1 passed"), "{}: {said}", ran.status);
    wait_until_none("processes of the user", || user.processes().iter().map(ToString::to_string).collect());
}

#[expect(clippy::disallowed_methods, reason = "this process was started with it")]
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Where programs are put for that process.
#[expect(clippy::disallowed_methods, reason = "this process was started with it")]
pub(crate) fn programs() -> Option<PathBuf> {
    std::env::var_os(PROGRAMS).map(PathBuf::from)
}
