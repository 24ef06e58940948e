//! What the kernel has once for all jobs, and for the host: no job takes it all.

use crate::harness::{Bench, TestSandbox};
use crate::probe;
use runtimes::{ExitStatus, Limits};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const ENOSYS: i32 = 38;
const IO_SETUP: u32 = 206;

/// What a program that makes this call ends with: 0 less what it returned.
async fn answer(sandbox: &mut TestSandbox, number: u32, arguments: [u32; 3]) -> i32 {
    let path = sandbox.workspace().join("probe");
    fs::write(&path, probe::program_of_three(number, arguments)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = sandbox.run(&["/data/probe"]).await.unwrap();
    let ExitStatus::Code(code) = ran.exit.status else { panic!("{ran:?}") };
    code
}

/// One process could have all that the host has.
pub(crate) async fn asynchronous_io_is_no_jobs(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    assert_eq!(answer(&mut sandbox, IO_SETUP, [1, 0, 0]).await, ENOSYS, "without a filter it is EFAULT");
    sandbox.close().await;
}

