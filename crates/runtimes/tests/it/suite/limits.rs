use crate::harness::{Bench, loops_with};
use images::RegistryCredentials;
use runtimes::oci::OciRuntime;
use runtimes::{Cause, ExitStatus, Limits, Runtime, RuntimeError, SandboxSpec, Severity};
use std::process::Stdio;

const MEMORY: u64 = 48 << 20;
const DISK: u64 = 32 << 20;

/// `EXECUTOR_TEST_LAYOUT` says what a guest was given; elsewhere the mounts do.
pub(crate) async fn the_layout_of_control_groups_is_told(bench: &mut Bench) {
    let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let expected = match (mounts.contains(" - cgroup "), mounts.contains(" - cgroup2 ")) {
        _ if wanted_layout().is_some() => wanted_layout().unwrap(),
        (true, true) => "hybrid".to_owned(),
        (true, false) => "v1".to_owned(),
        (false, _) => "v2".to_owned(),
    };
    let findings = bench.runtime.preflight().await;
    let layout = findings.iter().find(|finding| finding.id == "cgroup.layout").unwrap();
    assert_eq!(layout.seen, format!("control groups: {expected}"));
    let missing = findings.iter().find(|finding| finding.id.starts_with("cgroup.") && finding != &layout);
    assert_eq!(missing, None);
}

#[expect(clippy::disallowed_methods, reason = "set by whoever made the guest")]
fn wanted_layout() -> Option<String> {
    std::env::var("EXECUTOR_TEST_LAYOUT").ok()
}

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

/// What works for a job on the host, such as git, is the job's in what it uses; what looks after it is not.
pub(crate) async fn programs_on_the_host_have_the_limits_of_their_job(bench: &mut Bench) {
    let limits = Limits { memory: Some(MEMORY), pids: Some(32), ..Limits::default() };
    let mut sandbox = bench.open(limits).await;
    let programs = sandbox.0.programs();
    let run = async |script: &str| {
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", script]).env_clear().env("PATH", "/usr/bin:/bin").stderr(Stdio::null());
        let mut program = programs.start(command).unwrap();
        let status = program.wait().await.unwrap();
        (status.code(), program.cause(status))
    };
    assert_eq!(run("[ $(cat /proc/self/oom_score_adj) = 1000 ]").await, (Some(0), None));
    // Of a pipe, all that is to be shown is kept.
    let hog = "head -c 209715200 /dev/zero | tail -c 209715200 > /dev/null";
    for script in [hog, &format!("{hog}; exit 3")] {
        let (code, cause) = run(script).await;
        let Some(Cause::OutOfMemory { limit: MEMORY, peak }) = cause else { panic!("{script}: {code:?}") };
        assert!((MEMORY / 2..=MEMORY).contains(&peak), "{script}: {peak}");
    }
    let (code, cause) = run("i=0; while [ $i -lt 100 ]; do sleep 30 & i=$((i+1)); done; exit 0").await;
    assert!(code != Some(0) && cause.is_none(), "a hundred processes were started: {code:?}, {cause:?}");
    assert_eq!(run("exit 5").await, (Some(5), None), "the one before is not blamed");
    sandbox.sh("true").await;
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
    let ran = sandbox.try_sh("i=0; while true > $i; do i=$((i+1)); done 2>/dev/null; exit 1").await;
    let Some(Cause::InodesFull { limit, used }) = ran.exit.cause else { panic!("{ran:?}") };
    assert!(used == limit && limit > 1_000, "{used} of {limit}");
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

pub(crate) async fn a_limit_that_can_not_be_enforced_is_said_or_refused(bench: &mut Bench) {
    for strict in [false, true] {
        let mut options = bench.options();
        options.search_path = "/nowhere".into();
        options.strict = strict;
        let without_disks = OciRuntime::new(options, bench.store()).unwrap();
        let findings = without_disks.preflight().await;
        let said = findings.iter().find(|finding| finding.id == "disk.limit").unwrap();
        assert!(said.severity == Severity::Warning && said.seen.contains("mkfs.ext4"), "{said:?}");
        let limits = Limits { disk: Some(DISK), ..Limits::default() };
        let spec = SandboxSpec { name: "job-1".into(), limits, credentials: RegistryCredentials::default() };
        match without_disks.open(spec).await {
            Ok(sandbox) => {
                assert!(!strict);
                sandbox.close().await.unwrap();
            }
            Err(refused) => {
                assert!(strict && matches!(refused, RuntimeError::Refused(_)), "{refused}");
                assert!(refused.to_string().contains("disk limit"), "{refused}");
            }
        }
        let unlimited = SandboxSpec {
            name: "job-2".into(),
            limits: Limits::default(),
            credentials: RegistryCredentials::default(),
        };
        without_disks.open(unlimited).await.unwrap().close().await.unwrap();
    }
}

pub(crate) async fn disks_made_side_by_side_are_each_limited(bench: &mut Bench) {
    let limits = Limits { disk: Some(DISK), ..Limits::default() };
    let (first, second) = tokio::join!(bench.try_open("job-1", limits), bench.try_open("job-2", limits));
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    for sandbox in [&mut first, &mut second] {
        let ran = sandbox.try_sh("cat /dev/zero > /data/big").await;
        assert_eq!(ran.exit.cause, Some(Cause::DiskFull { limit: DISK }));
    }
    // The disk of a job that is gone is free at once, although another job runs.
    let left = loops_with(&bench.dir.display().to_string()).len();
    let go = second.workspace().join("go");
    let ready = second.workspace().join("ready");
    std::fs::remove_file(second.workspace().join("big")).unwrap();
    let waits = "touch /data/ready; while [ ! -e /data/go ]; do sleep 0.01; done";
    let waiting = ["sh", "-c", waits];
    let (ran, still) = tokio::join!(second.run(&waiting), async {
        while !ready.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        first.close().await;
        let still = loops_with(&bench.dir.display().to_string()).len();
        std::fs::write(&go, "").unwrap();
        still
    });
    assert_eq!((left, still), (2, 1));
    assert_eq!(ran.unwrap().exit.status, ExitStatus::Code(0));
    second.close().await;
}

/// A limit that the kernel refuses takes back everything that was made for the sandbox.
pub(crate) async fn a_limit_that_can_not_be_set_leaves_nothing(bench: &mut Bench) {
    let impossible = Limits { memory: Some(1), disk: Some(DISK), ..Limits::default() };
    let error = bench.try_open("tiny", impossible).await.err().unwrap().to_string();
    assert!(error.contains("memory limit of 1 bytes is too small"), "{error}");
    // The kernel takes no more processes than there can be ids.
    let impossible = Limits { pids: Some(u64::MAX / 2), disk: Some(DISK), ..Limits::default() };
    let before = loops_with(&bench.dir.display().to_string());
    assert!(bench.try_open("huge", impossible).await.is_err());
    assert_eq!(loops_with(&bench.dir.display().to_string()), before);
}
