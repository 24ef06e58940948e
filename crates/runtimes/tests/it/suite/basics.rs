use crate::harness::{Bench, Kept, SPARE_DISK, cgroups_of, names_in, path_of, step};
use runtimes::{Cause, ExitStatus, Limits, Step};
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub(crate) async fn the_program_is_told_with_its_version(bench: &mut Bench) {
    let path = path_of(bench.family);
    let said = std::process::Command::new(&path).arg("--version").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let version = said.lines().next().unwrap().trim();
    assert!(version.starts_with(bench.family) && version.contains('.'), "{version}");
    let findings = bench.runtime.preflight().await;
    let told = findings.iter().find(|finding| finding.id == "oci.runtime").unwrap();
    let expected = format!("{version} at {path}");
    assert_eq!(told.seen.get(..expected.len()), Some(expected.as_str()), "{told:?}");
}

pub(crate) async fn environment_directory_and_user(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    let env = vec!["GREETING=hello world".into(), "EQUALS=a=b".into()];
    let argv = ["sh", "-c", "echo $GREETING/$EQUALS; pwd; id -u; env | wc -l"];
    let ran = sandbox.run_step(Step { cwd: "/data/sub/dir".into(), env, ..step(&argv) }).await.unwrap();
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines[..3], ["hello world/a=b", "/data/sub/dir", "0"], "{ran:?}");
    // Nothing of the agent's environment: PATH, HOME, HOSTNAME, PWD, SHLVL and the two above.
    assert_eq!(lines[3], "7", "{ran:?}");
    assert!(sandbox.workspace().join("sub/dir").is_dir());
    sandbox.close().await;
}

pub(crate) async fn steps_share_the_workspace_and_nothing_else(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits { disk: Some(SPARE_DISK), ..Limits::default() }).await;
    std::fs::write(sandbox.workspace().join("in"), "from the host").unwrap();
    let written =
        sandbox.sh("cat in; echo out > out; echo x > /mark; echo y > /etc/passwd; rm /bin/ls; ls /").await;
    assert!(written.starts_with("from the host"));
    assert_eq!(std::fs::read_to_string(sandbox.workspace().join("out")).unwrap(), "out\n");
    sandbox.sh("test -e out && test ! -e /mark && test -e /bin/ls && ! grep -q ^y /etc/passwd").await;
    sandbox.close().await;
    let mut other = bench.open(Limits { disk: Some(SPARE_DISK), ..Limits::default() }).await;
    assert_eq!(other.sh("ls -A /data").await, "");
    other.close().await;
}

pub(crate) async fn names_of_the_host(bench: &mut Bench) {
    let mut sandbox = bench.try_open("job-77", Limits::default()).await.unwrap();
    assert_eq!(sandbox.sh("hostname; cat /etc/hostname").await, "job-77\njob-77\n");
    assert!(sandbox.sh("cat /etc/hosts").await.contains("127.0.0.1\tlocalhost"));
    let interfaces = sandbox.sh("ls /sys/class/net").await;
    assert_eq!(interfaces.split_whitespace().filter(|name| *name != "lo").count(), 0, "{interfaces}");
    sandbox.close().await;
}

pub(crate) async fn a_warm_sandbox_is_a_fresh_one(bench: &mut Bench) {
    let limits = Limits { disk: Some(SPARE_DISK), memory: Some(64 << 20), pids: Some(64), cpus: Some(1.0) };
    for _ in 0..3 {
        bench.runtime.warm().await;
        let mut sandbox = bench.open(limits).await;
        let ran = sandbox.try_sh("ls -A /data; touch used").await;
        assert_eq!((ran.exit.status, ran.stdout.as_str()), (ExitStatus::Code(0), ""), "{ran:?}");
        assert!(ran.exit.usage.cpu.is_some() && ran.exit.usage.peak_memory.is_some());
        sandbox.close().await;
    }
}

pub(crate) async fn a_step_that_is_over_leaves_nothing_but_its_workspace(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    let instance = names_in(&bench.dir.join("state/instances")).pop().unwrap();
    let known = bench.dir.join("state/instances").join(instance).join("runtime");
    let below = |group: PathBuf| names_in(&group).into_iter().map(move |name| group.join(name));
    let groups_below = || -> Vec<_> {
        let sandboxes = cgroups_of(&bench.owner).into_iter().map(PathBuf::from).flat_map(below);
        sandboxes.flat_map(below).filter(|path| path.is_dir()).collect()
    };
    // Newer cruns keep what all steps share there as well.
    let of_steps = || names_in(&known).into_iter().filter(|name| !name.starts_with('.')).collect::<Vec<_>>();
    sandbox.sh("true").await;
    assert_eq!((of_steps(), groups_below()), (vec![], vec![]));
    let stop = CancellationToken::new();
    let mut out = Kept::default();
    let (exit, ()) = tokio::join!(sandbox.0.run(step(&["sleep", "60"]), &mut out, &stop), async {
        while of_steps().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    });
    assert_eq!(exit.unwrap().cause, Some(Cause::Stopped));
    assert_eq!((of_steps(), groups_below()), (vec![], vec![]));
    sandbox.close().await;
}
