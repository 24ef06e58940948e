use crate::harness::Bench;
use runtimes::{Cause, ExitStatus, Limits};

const MEMORY: u64 = 48 << 20;
const DISK: u64 = 32 << 20;

pub(crate) async fn a_fork_bomb_meets_the_limit_of_processes(bench: &mut Bench) {
    let mut sandbox =
        bench.open(Limits { pids: Some(32), memory: Some(256 << 20), ..Limits::default() }).await;
    let ran = sandbox.try_sh("bomb() { bomb | bomb & }; bomb; sleep 1; exit 0").await;
    assert!(ran.stderr.contains("fork"), "{ran:?}");
    let counted = "i=0; while [ $i -lt 100 ]; do sleep 30 & i=$((i+1)); done 2>/dev/null; exit 3";
    let ran = sandbox.try_sh(counted).await;
    assert_ne!(ran.exit.status, ExitStatus::Code(0), "a hundred processes were started: {ran:?}");
    sandbox.sh("true").await;
    sandbox.close().await;
}

pub(crate) async fn a_memory_hog_is_named(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits { memory: Some(MEMORY), ..Limits::default() }).await;
    for script in [
        "exec tail -c 209715200 /dev/zero",
        // The hog is a grandchild, and the step fails because of it.
        "sh -c 'tail -c 209715200 /dev/zero >/dev/null; exit $?'; exit 3",
        // Files in memory count too.
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=200 2>/dev/null",
    ] {
        let ran = sandbox.try_sh(script).await;
        assert_ne!(ran.exit.status, ExitStatus::Code(0), "{script}");
        let Some(Cause::OutOfMemory { limit, peak }) = ran.exit.cause else { panic!("{script}: {ran:?}") };
        assert_eq!(limit, MEMORY);
        assert!((MEMORY / 2..=MEMORY).contains(&peak), "{script}: {peak}");
    }
    let ran = sandbox.try_sh("tail -c 209715200 /dev/zero > /dev/null; exit 0").await;
    assert_eq!(
        (ran.exit.status, ran.exit.cause),
        (ExitStatus::Code(0), None),
        "a step that copes has succeeded"
    );
    let ran = sandbox.try_sh("exit 5").await;
    assert_eq!(
        (ran.exit.status, ran.exit.cause),
        (ExitStatus::Code(5), None),
        "the step before is not blamed"
    );
    sandbox.close().await;
}

pub(crate) async fn a_full_disk_is_named_and_stays_the_jobs_own(bench: &mut Bench) {
    let limits = Limits { disk: Some(DISK), ..Limits::default() };
    for place in ["/data/big", "/root/big", "/tmp/big"] {
        let mut sandbox = bench.open(limits).await;
        let ran = sandbox.try_sh(&format!("cat /dev/zero > {place}")).await;
        assert!(ran.stderr.contains("No space left"), "{place}: {ran:?}");
        assert_eq!(ran.exit.cause, Some(Cause::DiskFull { limit: DISK }), "{place}");
        sandbox.close().await;
    }
    let mut sandbox = bench.open(limits).await;
    let ran = sandbox.try_sh("i=0; while mkdir $i; do i=$((i+1)); done 2>/dev/null; exit 1").await;
    assert_eq!(ran.exit.cause, Some(Cause::DiskFull { limit: DISK }), "files run out as well");
    sandbox.close().await;
    let mut next = bench.open(limits).await;
    next.sh("head -c 8388608 /dev/zero > /data/fits").await;
    next.close().await;
}

pub(crate) async fn cpu_time_is_rationed(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits { cpus: Some(0.25), ..Limits::default() }).await;
    let ran = sandbox.try_sh("timeout 1 sh -c 'while :; do :; done'; true").await;
    let (cpu, wall) = (ran.exit.usage.cpu.unwrap(), ran.exit.usage.wall);
    assert!(cpu.as_secs_f64() < wall.as_secs_f64() * 0.25 + 0.15, "{cpu:?} of {wall:?}");
    sandbox.close().await;
}
