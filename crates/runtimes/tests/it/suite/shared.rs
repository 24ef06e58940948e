//! What the kernel has once for all jobs, and for the host: no job takes it all.

use crate::harness::{Bench, TestSandbox};
use crate::probe;
use runtimes::{ExitStatus, Limits};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Pseudo-terminals of one job; what containers have together is 3,072.
const TERMINALS: &str = "256\n";
const ENOSYS: i32 = 38;
const EPERM: i32 = 1;
const IO_SETUP: u32 = 206;
const SOCKET: u32 = 41;
const NETLINK: u32 = 16;
const RAW: u32 = 3;

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

/// What lies in the queue of one that is for programs among themselves is nobody's memory.
pub(crate) async fn netlink_is_for_what_programs_need(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    // Engines may know no other error than the second for what is not allowed.
    let refused = [ENOSYS, EPERM];
    for (protocol, is_refused) in [(0, false), (2, true), (9, false), (15, false)] {
        let code = answer(&mut sandbox, SOCKET, [NETLINK, RAW, protocol]).await;
        assert_eq!(refused.contains(&code), is_refused, "protocol {protocol}: {code}");
    }
    sandbox.close().await;
}

/// Opens until it is refused, seven at a time, as a shell has so many descriptors to give; 300 at most.
pub(crate) async fn pseudo_terminals_are_left_for_others(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    let script = "n=0
        open() {
            for d in 3 4 5 6 7 8 9; do
                [ $n -lt 300 ] || return 0
                eval \"exec $d<>/dev/ptmx\"
                n=$((n+1)); echo $n > /data/opened
            done
            (open)
        }
        (open) 2>/dev/null; cat /data/opened";
    assert_eq!(sandbox.sh(script).await, TERMINALS);
    sandbox.close().await;
}
