use crate::harness::{Bench, TestSandbox};
use images::RegistryCredentials;
use runtimes::oci::OciRuntime;
use runtimes::{Cause, ExitStatus, Limits, Runtime, RuntimeError, SandboxSpec};
use std::fs::File;
use testkit::SmallDisk;

/// Large enough that filling it takes longer than a look at it may be late.
const DISK: u64 = 96 << 20;
const HOST_DISK: u64 = 64 << 20;

pub(crate) async fn a_disk_that_was_full_is_named_when_the_step_has_cleaned_up(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits { disk: Some(DISK), ..Limits::default() }).await;
    let full = Some(Cause::DiskFull { limit: DISK });
    for place in ["/data/big", "/root/big"] {
        for (code, expected) in [(1, full), (0, None)] {
            let script = format!("dd if=/dev/zero of={place} bs=4k; rm {place}; exit {code}");
            let ran = sandbox.try_sh(&script).await;
            assert!(ran.stderr.contains("No space left"), "{ran:?}");
            assert_eq!((ran.exit.status, ran.exit.cause), (ExitStatus::Code(code), expected), "{place}");
        }
    }
    let ran = sandbox.try_sh("head -c 8388608 /dev/zero > /data/fits; exit 1").await;
    assert_eq!(ran.exit.cause, None, "the step before is not blamed");
    sandbox.close().await;
}

/// A runtime whose jobs' disks lie on a small disk.
fn on_small_disk(bench: &Bench, disk: &SmallDisk) -> OciRuntime {
    let mut options = bench.options();
    options.state_dir = disk.path().join("state");
    OciRuntime::new(options, bench.store()).unwrap()
}

async fn open(runtime: &OciRuntime) -> Result<TestSandbox, RuntimeError> {
    let limits = Limits { disk: Some(4 * HOST_DISK), ..Limits::default() };
    let spec = SandboxSpec { name: "job-1".into(), limits, credentials: RegistryCredentials::default() };
    Ok(TestSandbox(runtime.open(spec).await?))
}

fn assert_host_full<T: std::fmt::Debug>(ended: Result<T, RuntimeError>, disk: &SmallDisk, what: &str) {
    match ended {
        Err(RuntimeError::HostDiskFull { path, free }) => {
            assert!(
                path == disk.path().join("state") && free < 16 << 20,
                "{what}: {free} at {}",
                path.display()
            );
        }
        other => panic!("{what}: {other:?}"),
    }
}

pub(crate) async fn a_full_disk_of_the_host_is_not_the_jobs_fault(bench: &mut Bench) {
    let Some(disk) = SmallDisk::mount("a_full_disk_of_the_host_is_not_the_jobs_fault", HOST_DISK) else {
        return;
    };
    let runtime = on_small_disk(bench, &disk);
    for (what, script) in [
        ("a step that is told", "dd if=/dev/zero of=big bs=1M count=128 conv=fsync"),
        ("a step that is not told", "head -c 134217728 /dev/zero > big; sync; exit 0"),
        ("a step that has cleaned up", "dd if=/dev/zero of=big bs=1M count=128 conv=fsync || rm big; exit 1"),
    ] {
        let mut sandbox = open(&runtime).await.unwrap();
        assert_host_full(sandbox.run(&["sh", "-c", script]).await, &disk, what);
        sandbox.close().await;
    }
    let mut sandbox = open(&runtime).await.unwrap();
    let ran = sandbox.try_sh("exit 3").await;
    assert_eq!((ran.exit.status, ran.exit.cause), (ExitStatus::Code(3), None), "there is room again");

    disk.fill(8 << 20);
    sandbox.sh("true").await;
    disk.fill(0);
    assert_host_full(open(&runtime).await.map(|_| ()), &disk, "a sandbox that can't be made");
    disk.make_room();
    sandbox.close().await;
    open(&runtime).await.unwrap().close().await;
    drop(runtime);
    crate::harness::wait_until_none("state files", || {
        crate::harness::names_in(&disk.path().join("state/instances"))
    });
}

pub(crate) async fn a_host_s_disk_that_takes_no_more_files_is_not_the_jobs_fault(bench: &mut Bench) {
    let test = "a_host_s_disk_that_takes_no_more_files_is_not_the_jobs_fault";
    let Some(disk) = SmallDisk::mount(test, HOST_DISK) else { return };
    let runtime = on_small_disk(bench, &disk);
    open(&runtime).await.unwrap().close().await;
    let many = disk.use_up_files();
    match open(&runtime).await.map(|_| ()) {
        Err(RuntimeError::HostInodesFull { path, limit, used }) => {
            assert!(path == disk.path().join("state") && used > limit - 16, "{used} of {limit}");
        }
        other => panic!("{other:?}"),
    }
    drop(many);
    open(&runtime).await.unwrap().close().await;
}

pub(crate) async fn the_room_of_a_closed_sandbox_is_free_at_once(bench: &mut Bench) {
    let Some(disk) = SmallDisk::mount("the_room_of_a_closed_sandbox_is_free_at_once", HOST_DISK) else {
        return;
    };
    let runtime = on_small_disk(bench, &disk);
    let mut sandbox = open(&runtime).await.unwrap();
    sandbox.sh("head -c 33554432 /dev/zero > big; sync").await;
    let filled = disk.free();
    // As a process does that is on its way out.
    let user = File::open(sandbox.workspace().join("big")).unwrap();
    sandbox.close().await;
    let freed = disk.free() - filled;
    assert!(freed >= 32 << 20, "{freed} bytes");
    drop(user);
}
